"""The real parts together, once for all tests of the viewer: Orthanc with real radiographs, the app in a process of its
own, OHIF with our extension, a browser.

The radiographs are those of the package, at sizes and pixel spacings that the viewer has to convert. Only the models'
boxes are known beforehand (server_with_boxes.py). MONAI_DGM_SCREENSHOTS names a folder for a picture of each step.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monai_dgm.data.examples import example_radiographs
from tests.apps.ohif.viewer import Study, Viewer, ask, wait_for
from tests.programs import Program, Programs

pytest.importorskip("monailabel", reason="MONAI Label is not installed (pip install -e '.[label]')")
pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")


@dataclass(frozen=True)
class Case:
    """A radiograph of the archive that tests use: the package's file, its size and pixel spacing here, and its date.

    Attributes:
        patient: id in the archive; two cases of one patient are a radiograph and its prior.
        file: name of the package's radiograph; "" for a pattern that is no chest.
        shape: (rows, cols).
        spacing: (row, column) in mm.
        date: of the study, YYYYMMDD.
    """

    patient: str
    file: str
    shape: tuple[int, int] = (400, 400)
    spacing: tuple[float, float] = (0.9, 0.9)
    date: str = "20260301"


# each test has cases of its own, so that no test depends on what another one labelled; those of the first two have
# pixels that are not square, and other aspects than the viewer's pane
CASES = {
    "edited": Case("edited", "00009863_043", (480, 400), (0.75, 0.9)),
    "reported": Case("reported", "00016705_006", (360, 420), (1.0, 0.86)),
    "negative": Case("negative", "00001582_019"),
    "reopened": Case("reopened", "00016184_040"),
    "unsaved": Case("unsaved", "00027470_006"),
    "mapped": Case("mapped", "00000032_010"),
    "pattern": Case("pattern", ""),
    "compared": Case("compared", "00016705_006"),
    "prior": Case("compared", "00003490_012", date="20250110"),
    **{f"more {i}": Case(f"more-{i}", file) for i, file in enumerate(("00002371_012", "00003412_000", "00016990_000"))},
}


@pytest.fixture(scope="session")
def app_dir(repository: Path) -> Iterator[Path]:
    folder = repository / "apps" / "radiology_dgm"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield folder


@pytest.fixture(scope="session")
def ohif_dir(app_dir: Path) -> Path:
    import fetch_ohif

    given = os.environ.get("MONAI_DGM_OHIF_DIR")
    try:
        return Path(given) if given else fetch_ohif.fetch()
    except fetch_ohif.FetchError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def orthanc(app_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    import pacs

    try:
        server = pacs.Orthanc(tmp_path_factory.mktemp("orthanc"))
        server.start()
    except pacs.PacsError as error:
        pytest.skip(str(error))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def studies(orthanc: Any) -> dict[str, Study]:
    """The archive's studies by the names of :data:`CASES`."""
    return {name: store(orthanc, name, case) for name, case in CASES.items()}


def store(orthanc: Any, name: str, case: Case) -> Study:
    """Put a case into the archive as a study of its own."""
    from PIL import Image

    from monai_dgm.labelling.dicom_objects.derived import encode_dicom
    from monai_dgm.labelling.dicom_objects.digital_xray import NIH, ExaminedPatient, write_digital_xray

    rows, cols = case.shape
    if case.file:
        file = Image.open(example_radiographs() / "images" / f"{case.file}.png")
        shown = np.asarray(file.resize((cols, rows), Image.Resampling.BICUBIC), dtype=np.float64)
    else:
        y, x = np.mgrid[:rows, :cols]
        shown = 127 + 100 * np.sin(x / 20) * np.cos(y / 33)
    levels = np.clip(shown * 257, 0, 65535).astype(np.uint16)
    patient = ExaminedPatient(case.patient, "O", 50)
    image = write_digital_xray(levels, patient, f"viewer/{name}", pixel_spacing=case.spacing, origin=NIH)
    image.StudyDate = image.SeriesDate = image.AcquisitionDate = image.ContentDate = case.date
    orthanc.upload(encode_dicom(image))
    return Study(str(image.StudyInstanceUID), str(image.SOPInstanceUID), case.shape, case.spacing)


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="session")
def address(
    programs: Programs, app_dir: Path, ohif_dir: Path, orthanc: Any, studies: dict[str, Study], state: Path
) -> Iterator[str]:
    """Of the label app, with the weights that ship, when it has sent its results of all chests."""
    settings = {"state_dir": state, "ohif_dir": ohif_dir, "poll_seconds": 1}
    with serving(programs, app_dir, orthanc, settings) as (running, process):
        wait_for(lambda: sum(ask(f"{running}/dgm/archive")["results"].values()) == len(studies), process)
        yield running


@contextmanager
def serving(programs: Programs, app_dir: Path, orthanc: Any, settings: dict[str, Any]) -> Iterator[tuple[str, Program]]:
    """The label app in a process of its own: its address, when it answers, and the process."""
    import pacs

    port = pacs.free_port()
    words = [str(Path(__file__).with_name("server_with_boxes.py")), "start_server"]
    words += ["--app", str(app_dir), "--studies", orthanc.address, "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, **{f"MONAI_DGM_{name.upper()}": str(value) for name, value in settings.items()}}
    log = settings["state_dir"] / "server.log"
    process = programs.start(words, env=environment, stdout=log, stderr=log, cwd=settings["state_dir"])
    try:
        wait_for(lambda: ask(f"http://127.0.0.1:{port}/dgm/state"), process)
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="session")
def double_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("double")


@pytest.fixture(scope="session")
def double_address(
    programs: Programs,
    app_dir: Path,
    ohif_dir: Path,
    orthanc: Any,
    studies: dict[str, Study],
    double_state: Path,
    decomposer_weights: Path,
    detector_weights: Path,
) -> Iterator[str]:
    """Of another label app on the same archive: two readers a case, and small models that can be trained quickly."""
    settings = {"state_dir": double_state, "ohif_dir": ohif_dir, "readers_per_case": 2, "send_results": "false"}
    settings |= {"decomposer": decomposer_weights, "detector": detector_weights, "bundles": double_state}
    with serving(programs, app_dir, orthanc, settings) as (running, process):
        wait_for(lambda: ask(f"{running}/dgm/state")["images"] == len(studies), process)
        yield running


@pytest.fixture(scope="session")
def context(browser: Any) -> Any:
    """The tabs of one user, which keep the viewer's files."""
    return browser.new_context(viewport={"width": 1400, "height": 840})


@pytest.fixture
def new_viewer(context: Any) -> Iterator[Callable[[str], Viewer]]:
    """Opens a tab on a server."""
    opened: list[Viewer] = []

    def open_tab(address: str) -> Viewer:
        opened.append(Viewer(context.new_page(), address))
        return opened[-1]

    yield open_tab
    for shown in opened:
        shown.page.close()
        assert shown.failures == []


@pytest.fixture
def viewer(new_viewer: Callable[[str], Viewer], address: str) -> Viewer:
    return new_viewer(address)


@pytest.fixture
def second_viewer(new_viewer: Callable[[str], Viewer], double_address: str) -> Viewer:
    """A tab on the server with two readers a case."""
    return new_viewer(double_address)
