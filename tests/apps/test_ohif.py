"""The real parts together: Orthanc, this app in a process of its own, OHIF with our extension, a browser, its mouse.

Only the models' boxes are known beforehand (server_with_boxes.py). MONAI_DGM_SCREENSHOTS names a folder for a picture
of each step, MONAI_DGM_DECOMPOSER weights in the place of small untrained ones.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.apps.server_with_boxes import SCORES, VERSION, known_boxes
from tests.apps.viewer import (
    BROWSER_ARGUMENTS,
    Study,
    Viewer,
    ask,
    find_browser,
    screenshots_folder,
    stored_label,
    wait_for,
)

pytestmark = pytest.mark.service
pytest.importorskip("monailabel", reason="MONAI Label is not installed (pip install -e '.[label]')")
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

# the first two have pixels that are not square, and other aspects than the viewer's pane; nobody labels the last two
SHAPES = ((480, 300), (360, 420), (400, 400), (400, 400), (400, 400))
SPACINGS = ((0.75, 1.2), (1.0, 0.86), (0.9, 0.9), (0.9, 0.9), (0.9, 0.9))
READER = "reader one"


@pytest.fixture(scope="module")
def app_dir(repository: Path) -> Iterator[Path]:
    folder = repository / "apps" / "radiology_dgm"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield folder


@pytest.fixture(scope="module")
def ohif_dir(app_dir: Path) -> Path:
    import fetch_ohif

    given = os.environ.get("MONAI_DGM_OHIF_DIR")
    try:
        return Path(given) if given else fetch_ohif.fetch()
    except fetch_ohif.FetchError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def orthanc(app_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    import pacs

    try:
        server = pacs.Orthanc(tmp_path_factory.mktemp("orthanc"))
        server.start()
    except pacs.PacsError as error:
        pytest.skip(str(error))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def studies(orthanc: Any) -> list[Study]:
    return [store(orthanc, number) for number in range(len(SHAPES))]


def store(orthanc: Any, number: int) -> Study:
    """A simulated radiograph of its own study, put into the archive."""
    from PIL import Image

    from monai_dgm.data.simulator.simulate import simulate_radiograph
    from monai_dgm.labelling.dicom_objects.derived import encode_dicom
    from monai_dgm.labelling.dicom_objects.digital_xray import ExaminedPatient, write_digital_xray

    rows, cols = SHAPES[number]
    square = simulate_radiograph(40 + number, 384, abnormal=True).image
    shown = Image.fromarray(np.asarray(square, dtype=np.float32)).resize((cols, rows), Image.Resampling.BICUBIC)
    levels = np.clip((np.asarray(shown) + 1) * 32767.5, 0, 65535).astype(np.uint16)
    patient = ExaminedPatient(f"sim-{number}", "O", 50)
    image = write_digital_xray(levels, patient, f"viewer/{number}", pixel_spacing=SPACINGS[number])
    orthanc.upload(encode_dicom(image))
    return Study(str(image.StudyInstanceUID), str(image.SOPInstanceUID), SHAPES[number], SPACINGS[number])


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def address(
    app_dir: Path, ohif_dir: Path, orthanc: Any, studies: list[Study], state: Path, decomposer_weights: Path
) -> Iterator[str]:
    """Of the label app, when it has sent its results of all studies."""
    import pacs

    port = pacs.free_port()
    words = [sys.executable, str(Path(__file__).with_name("server_with_boxes.py")), "start_server"]
    words += ["--app", str(app_dir), "--studies", orthanc.address, "--host", "127.0.0.1", "--port", str(port)]
    weights = os.environ.get("MONAI_DGM_DECOMPOSER") or decomposer_weights
    settings = {"state_dir": state, "ohif_dir": ohif_dir, "poll_seconds": 1, "decomposer": weights}
    environment = {**os.environ, **{f"MONAI_DGM_{name.upper()}": str(value) for name, value in settings.items()}}
    environment |= {"MONAI_DGM_BUNDLES": str(state), "OMP_NUM_THREADS": "1"}
    with open(state / "server.log", "ab") as log:
        process = subprocess.Popen(words, env=environment, stdout=log, stderr=log, cwd=state)
    try:
        wait_for(lambda: ask(f"http://127.0.0.1:{port}/dgm/archive")["results"].get("sent") == len(studies), process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def browser(address: str) -> Iterator[Any]:
    program = find_browser()
    if program is None:
        pytest.skip("there is no Chromium (apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=program, args=BROWSER_ARGUMENTS)
        yield started.new_context(viewport={"width": 1400, "height": 840})  # one for all: it keeps the viewer's files
        started.close()


@pytest.fixture
def viewer(browser: Any, address: str, tmp_path: Path) -> Iterator[Viewer]:
    page = browser.new_page()
    shown = Viewer(page, address, screenshots_folder(tmp_path))
    yield shown
    page.close()
    assert shown.failures == []


def edit(viewer: Viewer, study: Study, move_by: tuple[int, int], name: str) -> np.ndarray:
    """Show the boxes; move the first, delete the second and draw one, with the mouse. Returns the boxes (2, 4) that
    ought to be there, worked out from where the mouse was."""
    to_window, to_pixels = viewer.conversions(study)
    boxes = known_boxes(*study.shape)
    first, second = boxes.reshape(2, 2, 2)
    edge = to_window([first[0, 0], first[:, 1].mean()]).round()  # in the middle of its left side
    viewer.drag(edge, edge + move_by)
    moved = first + (to_pixels(edge + move_by) - to_pixels(edge))
    viewer.shoot(f"{name}_moved")
    place = to_window([second[1, 0], second[:, 1].mean()]).round()
    viewer.page.mouse.move(*place)
    viewer.page.wait_for_timeout(300)
    viewer.page.mouse.click(*place, button="right")
    viewer.page.get_by_text("Delete measurement").first.click()
    viewer.rectangles(1)
    viewer.page.click("[data-cy=MeasurementTools-split-button-secondary]")
    viewer.page.click("[data-cy=RectangleROI]")
    corners = to_window(np.array([[0.12, 0.6], [0.35, 0.8]]) * study.shape[::-1]).round()
    viewer.drag(*corners)
    viewer.rectangles(2)
    viewer.shoot(f"{name}_deleted_and_drawn")
    return np.stack([moved.ravel(), to_pixels(corners).ravel()])


def show_boxes(viewer: Viewer, study: Study, name: str) -> None:
    before = viewer.shoot(f"{name}_opened")
    viewer.press("ShowBoxes")
    shown = viewer.rectangles(2)
    assert [one["label"] for one in shown] == [f"lung opacity {score:.2f}" for score in SCORES]
    viewer.message("2 boxes of detector-of-the-test")
    assert before.std() > 20  # a radiograph is there
    wait_for(lambda: boxes_in_sight(viewer, study, viewer.shoot(f"{name}_boxes")))


def boxes_in_sight(viewer: Viewer, study: Study, window: np.ndarray) -> bool:
    """Whether there are bright lines where the sides of the boxes ought to be; at first, until it tracks them, the
    viewer draws dashes."""
    to_window, _ = viewer.conversions(study)
    sides = []
    for box in known_boxes(*study.shape):
        (left, top), (right, bottom) = to_window(box.reshape(2, 2)).round().astype(int)
        sides += [window[top + 9 : bottom - 9, x - 2 : x + 3].max(axis=1) for x in (left, right)]
    return all((side > 180).mean() > 0.9 for side in sides)


def test_boxes_are_moved_deleted_drawn_and_submitted(viewer: Viewer, studies: list[Study], state: Path) -> None:
    study = studies[0]
    viewer.open(study, READER)
    show_boxes(viewer, study, "submit")
    expected = edit(viewer, study, (37, 22), "submit")
    viewer.press("SubmitBoxes")
    viewer.message(f"Submitted: 2 boxes, by {READER}")
    viewer.shoot("submit_done")
    label = stored_label(state, study.image, READER)
    assert label is not None and (label["status"], label["source"], label["size"]) == (
        "boxes",
        "ohif",
        list(study.shape),
    )
    np.testing.assert_allclose([box["box"] for box in label["boxes"]], expected, atol=1.0)
    assert [box["score"] for box in label["boxes"]] == [pytest.approx(0.87, abs=1e-3), None]
    np.testing.assert_allclose([box["box"] for box in label["model_boxes"]], known_boxes(*study.shape), atol=0.01)
    assert label["model_version"] == VERSION


def test_a_report_of_ohif_itself_becomes_a_label(viewer: Viewer, studies: list[Study], state: Path) -> None:
    study = studies[1]
    viewer.open(study)
    show_boxes(viewer, study, "report")
    expected = edit(viewer, study, (-24, 31), "report")
    viewer.page.click("[data-cy=trackedMeasurements-btn]")
    viewer.page.get_by_text("Create SR").first.click()
    viewer.shoot("report_create")
    viewer.page.get_by_role("button", name="Save").click()
    label = wait_for(lambda: stored_label(state, study.image, "anonymous"))
    viewer.shoot("report_saved")
    assert (label["status"], label["source"]) == ("boxes", "ohif_report")
    np.testing.assert_allclose([box["box"] for box in label["boxes"]], expected, atol=1.0)


def test_no_finding_is_confirmed_and_kept(viewer: Viewer, studies: list[Study], state: Path) -> None:
    study = studies[2]
    viewer.open(study, READER)
    viewer.press("ShowBoxes")
    viewer.rectangles(2)
    viewer.press("NoFinding")  # with rectangles on the image it would say two things
    viewer.message("there are 2 rectangles on this image")
    assert stored_label(state, study.image, READER) is None
    viewer.open(study, READER)
    viewer.press("SubmitBoxes")
    viewer.message("there is no rectangle on this image")
    viewer.press("NoFinding")
    viewer.message(f"Submitted: no finding, by {READER}")
    viewer.shoot("no_finding")
    label = stored_label(state, study.image, READER)
    assert label is not None and (label["status"], label["boxes"]) == ("no_finding", [])
    answer = ask(f"{viewer.address}/dgm/boxes?image={study.image}&reader=reader%20one")
    assert [(one["reader"], one["status"]) for one in answer["readers"]] == [(READER, "no_finding")]


def test_pictures_lie_on_the_radiograph(viewer: Viewer, studies: list[Study]) -> None:
    study = studies[0]
    viewer.open(study)
    to_window, _ = viewer.conversions(study)
    corners = to_window([[0, 0], study.shape[::-1]]).ravel()
    for name in ("Normal", "Residue"):
        viewer.press(f"Show{name}")
        picture = viewer.page.wait_for_selector(f"img.monai-dgm-picture[data-picture={name.lower()}]")
        place = picture.bounding_box()
        found = [place["x"], place["y"], place["x"] + place["width"], place["y"] + place["height"]]
        np.testing.assert_allclose(found, corners, atol=1.5)
        viewer.page.wait_for_timeout(500)
        viewer.shoot(f"picture_{name.lower()}")
        viewer.press(f"Show{name}")
        assert viewer.page.query_selector("img.monai-dgm-picture") is None


def test_the_list_of_studies_opens_one_and_keeps_the_reader(viewer: Viewer, studies: list[Study]) -> None:
    viewer.page.goto(f"{viewer.address}/ohif/?reader=reader+two")
    viewer.page.get_by_text("sim-1").first.click()
    viewer.page.wait_for_timeout(1000)
    viewer.shoot("list_of_studies")
    viewer.page.get_by_role("button", name="Basic Viewer").click()
    viewer.wait_for_radiograph(studies[1])
    viewer.press("ShowBoxes")
    viewer.rectangles(2)
    viewer.press("SubmitBoxes")
    viewer.message("Submitted: 2 boxes, by reader two")


def test_the_models_version_and_state_are_in_sight(viewer: Viewer, studies: list[Study]) -> None:
    viewer.open(studies[3])
    viewer.page.wait_for_selector("#monai-dgm-status[data-state=ready]")
    words = viewer.status()
    assert "decomposer-" in words and "labelled" in words and "research software, not for diagnosis" in words


def test_the_next_case_is_the_strategys_choice(viewer: Viewer, studies: list[Study], address: str) -> None:
    viewer.open(studies[0], READER)
    chosen = ask(f"{address}/activelearning/combined", "POST")
    (study,) = [one for one in studies if one.image == chosen["id"]]
    assert chosen["study"] == study.uid
    viewer.press("NextCase")
    viewer.page.wait_for_url(f"**StudyInstanceUIDs={study.uid}**")
    viewer.wait_for_radiograph(study)
    viewer.shoot("next_case")
