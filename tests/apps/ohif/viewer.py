"""What tests of the viewer share: a page with a radiograph, the mouse, and where pixels are, worked out without it."""

from __future__ import annotations

import io
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.programs import Program

SECONDS = 300.0  # for a step of the viewer on a machine that is busy
POLLING = 200  # ms; Playwright's own way looks at each frame, and has the page drawn for it
RECTANGLES = """() => window.cornerstoneTools.annotation.state.getAllAnnotations()
    .filter(one => one.metadata.toolName === 'RectangleROI')
    .map(one => ({label: one.data.label, points: one.data.handles.points}))"""
PANE = """() => { const box = document.querySelector('.viewport-element').getBoundingClientRect();
    return [box.left, box.top, box.width, box.height]; }"""


@dataclass(frozen=True)
class Study:
    """A radiograph in the archive.

    Attributes:
        uid: of its study.
        image: its SOP Instance UID.
        shape: (rows, cols).
        spacing: (row, column) in mm.
    """

    uid: str
    image: str
    shape: tuple[int, int]
    spacing: tuple[float, float]


class Viewer:
    """A page of the viewer.

    Args:
        page: of Playwright.
        address: of the server.
        login: origin of the login server.
    """

    def __init__(self, page: Any, address: str, login: str = "data:") -> None:
        self.page = page
        self.login = login
        self.address = address
        self.screenshots = screenshots_folder()
        self.failures: list[str] = []
        page.set_default_timeout(SECONDS * 1000)
        page.on("pageerror", lambda error: self.failures.append(str(error)))
        page.on("request", lambda request: self._check_address(request.url))

    def _check_address(self, url: str) -> None:
        if not url.startswith((self.address, self.login, "data:", "blob:", "about:")):
            self.failures.append(f"a request to another server: {url}")

    def open(self, study: Study, reader: str = "") -> None:
        """Open a study, and wait until its radiograph is drawn."""
        query = f"StudyInstanceUIDs={study.uid}" + (f"&reader={reader}" if reader else "")
        self.page.goto(f"{self.address}/ohif/viewer?{query}")
        self.wait_for_radiograph(study)

    def wait_for_radiograph(self, study: Study) -> None:
        """Wait until the study's radiograph is drawn and the panel shows its numbers."""
        self.page.wait_for_function(
            """image => { const state = window.monaiDgm && window.monaiDgm.case.state;
                return !!state && state.image === image && !!(state.numbers || state.problem); }""",
            arg=study.image,
            polling=POLLING,
        )
        self.page.wait_for_timeout(1200)  # the viewer lays out once more

    def press(self, name: str) -> None:
        """Press a button of our panel."""
        self.page.click(f"[data-cy=monaiDgm-{name}]")

    def key(self, name: str) -> None:
        """Press a key of the keyboard."""
        self.page.keyboard.press(name)

    def text(self, name: str) -> str:
        """Words of a part of our panel; empty where it is not there."""
        found = self.page.query_selector(f"[data-cy=monaiDgm-{name}]")
        return str(found.inner_text()) if found else ""

    def wait_for_text(self, name: str, words: str) -> None:
        """Wait until a part of our panel has these words."""
        self.page.locator(f"[data-cy=monaiDgm-{name}]", has_text=words).first.wait_for(state="visible")

    def message(self, words: str) -> str:
        """Wait for a message with these words; returns it."""
        found = self.page.get_by_text(words).first
        found.wait_for(state="visible")
        if self.screenshots is not None:
            self.page.wait_for_timeout(1200)  # it slides in
        return str(found.inner_text())

    def status(self) -> str:
        """Our line at the lower edge."""
        return str(self.page.inner_text("#monai-dgm-status"))

    def rectangles(self, count: int | None = None) -> list[dict[str, Any]]:
        """The rectangles; waits until there are so many."""
        if count is not None:
            self.page.wait_for_function(f"() => ({RECTANGLES})().length === {count}", polling=POLLING)
        return self.page.evaluate(RECTANGLES)

    def drag(self, start: np.ndarray, end: np.ndarray) -> None:
        """Press at one place of the window, let go at another."""
        self.page.mouse.move(*start)
        self.page.wait_for_timeout(300)  # the tool under the pointer is looked for when it moves
        self.page.mouse.down()
        for share in (0.2, 0.5, 0.8, 1.0):
            self.page.mouse.move(*(start + (end - start) * share).round())
            self.page.wait_for_timeout(50)
        self.page.mouse.up()
        self.page.wait_for_timeout(500)

    def shoot(self, name: str) -> None:
        """Keep a picture of the window, if MONAI_DGM_SCREENSHOTS names a folder."""
        if self.screenshots is not None:
            self.look(name)

    def look(self, name: str) -> np.ndarray:
        """Grey levels of the window; a picture of it is kept as by :meth:`shoot`."""
        path = None if self.screenshots is None else str(self.screenshots / f"{name}.png")
        picture = self.page.screenshot(path=path)
        return np.asarray(Image.open(io.BytesIO(picture)).convert("L"))

    def conversions(self, study: Study) -> tuple[Callable[[Any], np.ndarray], Callable[[Any], np.ndarray]]:
        """(pixels to places of the window, the way back): the radiograph in its pane, as large as it fits, centred.

        Worked out from the pane's place and the radiograph's size in mm; the viewer's own conversion is not asked.
        """
        left, top, width, height = self.page.evaluate(PANE)
        size = np.array(study.shape[::-1], dtype=np.float64)
        spacing = np.array(study.spacing[::-1], dtype=np.float64)
        scale = min(np.array([width, height]) / (size * spacing)) * spacing  # places of the window a pixel
        middle = np.array([left + width / 2, top + height / 2])
        return (
            lambda pixels: middle + (np.asarray(pixels, dtype=np.float64) - size / 2) * scale,
            lambda places: (np.asarray(places, dtype=np.float64) - middle) / scale + size / 2,
        )


def stored_label(state: Path, image: str, reader: str) -> dict[str, Any] | None:
    """The label file that counts, as it is on disk."""
    found = [json.loads(file.read_text(encoding="utf-8")) for file in sorted((state / "labels").rglob("*.json"))]
    ours = [label for label in found if (label["image_id"], label["reader"]) == (image, reader)]
    return max(ours, key=lambda label: label["time"]) if ours else None


def screenshots_folder() -> Path | None:
    """The folder that MONAI_DGM_SCREENSHOTS names; None where no pictures are wanted."""
    given = os.environ.get("MONAI_DGM_SCREENSHOTS")
    if not given:
        return None
    Path(given).mkdir(parents=True, exist_ok=True)
    return Path(given)


def ask(url: str, method: str = "GET", values: Any = None) -> Any:
    """The server's answer to a request, as JSON; ``values`` is its body."""
    body = None if values is None else json.dumps(values).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body, method=method), timeout=60) as answer:
        return json.loads(answer.read())


def wait_for(condition: Any, process: Program | None = None) -> Any:
    """What ``condition`` gives once it is true."""
    deadline = time.monotonic() + 2 * SECONDS
    while time.monotonic() < deadline and (process is None or process.poll() is None):
        try:
            found = condition()
        except (urllib.error.URLError, OSError, KeyError):
            found = None
        if found:
            return found
        time.sleep(0.3)
    raise AssertionError("waited in vain")
