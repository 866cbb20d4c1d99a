"""Draw the pictures of the label app's guide and of README.md anew, with the weights that ship: docs/images/*.jpg.

    .venv-label/bin/python docs/viewer_pictures.py [NAME ...]

Names are those of the files without their ending; by default all. It takes what `make test-label` and `make ohif`
install, Orthanc and Chromium. Pictures with boxes at known places are those of the tests of the viewer, which it runs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "apps" / "radiology_dgm")]

import pacs  # noqa: E402
import start  # noqa: E402

from tests.apps.ohif.conftest import CASES, store  # noqa: E402
from tests.apps.ohif.viewer import Viewer, ask, wait_for  # noqa: E402
from tests.browser import BROWSER_ARGUMENTS, find_browser  # noqa: E402

# picture -> (test, the picture that it keeps under MONAI_DGM_SCREENSHOTS)
OF_TESTS = {
    "ohif_edited": ("test_boxes.py::test_boxes_are_moved_deleted_drawn_and_submitted", "submit_deleted_and_drawn"),
    "ohif_report": ("test_boxes.py::test_a_report_of_ohif_itself_becomes_a_label", "report_saved"),
    "ohif_refused": ("test_case.py::test_what_is_no_chest_has_a_remark_and_no_boxes", "refused"),
    "ohif_adjudication": ("test_reading.py::test_two_readers_and_a_reviewer", "adjudication"),
    "ohif_training": ("test_reading.py::test_a_training_its_verdict_and_the_way_back", "training_verdict"),
}
WIDE, NARROW = (1400, 840), (1024, 740)


def save(picture: Path, name: str) -> None:
    """Write docs/images/NAME.jpg."""
    width, quality = (1120, 75) if name == "folder_in_browser" else (1000, 72)
    with Image.open(picture) as window:
        height = round(window.height * width / window.width)
        small = window.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    small.save(ROOT / "docs" / "images" / f"{name}.jpg", quality=quality, optimize=True)


def of_tests(names: list[str], folder: Path) -> None:
    """Run the tests that make these pictures, and take them over."""
    tests = [str(ROOT / "tests" / "apps" / "ohif" / OF_TESTS[name][0]) for name in names]
    environment = {**os.environ, "MONAI_DGM_SCREENSHOTS": str(folder)}
    subprocess.run([sys.executable, "-m", "pytest", "-m", "", "-x", *tests], cwd=ROOT, env=environment, check=True)
    for name in names:
        save(folder / f"{OF_TESTS[name][1]}.png", name)


@contextmanager
def serving(studies: str, folder: Path) -> Iterator[str]:
    """Address of `make label` on a folder or an archive, when all its radiographs have a score."""
    port = pacs.free_port()
    words = start.command(studies, port, [["state_dir", str(folder / f"state{port}")]])
    with open(folder / "log", "ab") as log:
        process = subprocess.Popen(words, env=start.environment(), stdout=log, stderr=log, cwd=folder)
    address = f"http://127.0.0.1:{port}"
    try:
        count = wait_for(lambda: ask(f"{address}/dgm/state")["images"], process)
        wait_for(lambda: len(scored(address)) == ask(f"{address}/dgm/state")["images"] >= count, process)
        yield address
    finally:
        process.terminate()
        process.wait(60)


def scored(address: str) -> list[dict[str, Any]]:
    """Rows of the worklist that have a score."""
    rows = ask(f"{address}/dgm/worklist", "POST", {"sort": "score"})["rows"]
    return [row for row in rows if row["score"] is not None]


def best_boxed(address: str) -> str:
    """Study of the radiograph with the box that the detector is surest of."""

    def score(row: dict[str, Any]) -> float:
        return max((box["score"] for box in ask(f"{address}/dgm/boxes?image={row['image']}")["boxes"]), default=0.0)

    return str(max(scored(address), key=score)["study"])


class Pages:
    """Pages of a browser on a server, and pictures of them.

    Args:
        browser: of Playwright.
        folder: of the pictures before they are made smaller.
        names: that are wanted.
    """

    def __init__(self, browser: Any, folder: Path, names: list[str]) -> None:
        self.browser, self.folder, self.names = browser, folder, names

    def draw(self, address: str, study: str, size: tuple[int, int], *steps: tuple[str, str]) -> None:
        """Open a study and press keys, each of which leads to a picture if that is wanted: (keys, name) each."""
        if not set(self.names) & {name for _, name in steps}:
            return
        page = self.browser.new_page(viewport=dict(zip(("width", "height"), size, strict=True)))
        viewer = Viewer(page, address)
        page.set_default_timeout(1_800_000)  # ms, on a machine that is busy
        page.goto(f"{address}/ohif/viewer?StudyInstanceUIDs={study}&reader=anna")
        page.wait_for_function(
            "() => { const s = window.monaiDgm && window.monaiDgm.case.state; return !!s && !!s.numbers; }", polling=500
        )
        page.wait_for_timeout(4000)
        for keys, name in steps:
            for key in keys:
                viewer.key(key)
                page.wait_for_timeout(6000)
            if name in self.names:
                page.screenshot(path=self.folder / f"{name}.png")
                save(self.folder / f"{name}.png", name)
        page.close()


def of_archive(pages: Pages, folder: Path) -> None:
    """Pictures of `make label-pacs`: a case, the worklist, what is laid over a radiograph or beside it."""
    orthanc = pacs.Orthanc(folder / "orthanc")
    orthanc.start()
    try:
        pacs.load_sample(orthanc)
        compared, _ = (store(orthanc, name, CASES[name]) for name in ("compared", "prior"))
        with serving(orthanc.address, folder) as address:
            pages.draw(address, best_boxed(address), NARROW, ("", "ohif_boxes"), ("w", "ohif_worklist"))
            pages.draw(address, compared.uid, WIDE, ("o", "ohif_residue"), ("og", "ohif_normal"), ("gp", "ohif_prior"))
    finally:
        orthanc.stop()


def of_folder(pages: Pages, folder: Path) -> None:
    """The picture of `make label`."""
    start.RUNS = folder / "runs"
    with serving(str(start.sample_folder() / "images"), folder) as address:
        pages.draw(address, best_boxed(address), WIDE, ("", "folder_in_browser"))


DRAWN: dict[Callable[[Pages, Path], None], tuple[str, ...]] = {
    of_archive: ("ohif_boxes", "ohif_worklist", "ohif_residue", "ohif_normal", "ohif_prior"),
    of_folder: ("folder_in_browser",),
}


def main() -> None:
    """The command."""
    known = [*OF_TESTS, *(name for names in DRAWN.values() for name in names)]
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("names", nargs="*", choices=[[], *known], metavar="NAME", help=", ".join(known))
    names = parser.parse_args().names or known
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as opened:
        folder = Path(temporary)
        if tested := [name for name in names if name in OF_TESTS]:
            of_tests(tested, folder)
        drawn = [make for make, made in DRAWN.items() if set(made) & set(names)]
        if drawn:
            driver = opened.enter_context(sync_playwright())
            browser = driver.chromium.launch(executable_path=find_browser(), args=BROWSER_ARGUMENTS)
            for make in drawn:
                make(Pages(browser, folder, names), folder)
            browser.close()


if __name__ == "__main__":
    main()
