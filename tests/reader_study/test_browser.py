"""The page in a real browser: readers of known preference answer by keys alone, through a kill of the server.

MONAI_DGM_SCREENSHOTS names a folder for pictures of the page.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from monai_dgm.reader_study.answers import read_all
from monai_dgm.reader_study.study import load_served
from tests.reader_study.conftest import Server

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytest.importorskip("fastapi", reason="FastAPI is not installed")
pytestmark = pytest.mark.service

READY = "() => !document.querySelector('#trial').hidden && document.querySelector('#left').ariaDisabled === 'false'"
PIXELS = """side => { const image = document.querySelector(`#${side} img`), canvas = document.createElement('canvas');
    const [width, height] = [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    const pen = canvas.getContext('2d'); pen.drawImage(image, 0, 0);
    return pen.getImageData(0, 0, width, height).data.reduce((a, b) => a + b, 0) / (4 * width * height); }"""


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    opened = browser.new_page(viewport={"width": 1200, "height": 800})
    opened.set_default_timeout(60_000)
    failures: list[str] = []
    opened.on("pageerror", lambda error: failures.append(str(error)))
    yield opened
    opened.close()
    assert failures == []


def enter(page: Any, address: str, reader: str) -> None:
    """Open the page and start, by keys alone: the field of the code has the focus."""
    page.goto(address)
    page.wait_for_function("() => document.activeElement.id === 'reader'")
    page.keyboard.type(reader)
    page.keyboard.press("Enter")


def wait_for_pair(page: Any, number: int, total: int) -> None:
    page.wait_for_function(f"() => document.querySelector('#status').textContent === 'Pair {number} of {total}'")
    page.wait_for_function(READY)
    page.wait_for_timeout(230)  # keys count after a short pause


def brightness(page: Any, side: str) -> float:
    """Mean of the pixels of the image that is shown."""
    return float(page.evaluate(PIXELS, side))


def picture(page: Any, name: str) -> None:
    if folder := os.environ.get("MONAI_DGM_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"reader_study_{name}.png"))


def test_forty_pairs_by_keys_alone_killed_and_resumed(
    page: Any, new_study: Callable[..., Path], new_server: Callable[[Path], Server], repository: Path
) -> None:
    """A reader who prefers bright images, by the pixels that the page shows."""
    study = new_study(("dark", "grey", "bright"), 12, num_catch=4)
    served = load_served(study)
    server = new_server(study)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    enter(page, server.address, "anna")
    keys = {"left": ("ArrowLeft", "1"), "right": ("ArrowRight", "2")}
    for number in range(1, 41):
        wait_for_pair(page, number, 40)
        if number == 1:
            assert page.evaluate("document.activeElement.id") == "question"
            picture(page, "pair")
        if number == 20:  # the server is killed; the key is pressed into nothing
            server.kill()
            page.keyboard.press("1")
            page.wait_for_selector("#again:not([hidden])")
            picture(page, "refused")
            (kept,) = read_all(study / "answers", served.study)
            assert len(kept.choices) == 19
            server.start()
            page.reload()  # the browser forgets, the server does not
            enter(page, server.address, "anna")
            wait_for_pair(page, 20, 40)
        side = max(("left", "right"), key=lambda side: brightness(page, side))
        page.keyboard.press(keys[side][number % 2])
    page.wait_for_selector("#finished:not([hidden])")
    picture(page, "finished")

    (kept,) = read_all(study / "answers", served.study)
    assert len(kept.choices) == 40 and kept.damaged == 0
    assert list(kept.choices) == [one["trial"] for one in served.order("anna")]
    assert all(url.startswith(server.address) for url in asked)
    order = [url.rsplit("/", 1)[1].removesuffix(".png") for url in asked if "/images/" in url]
    left = {one["left"] for block in served.blocks for one in block}
    assert 0 < sum(name in left for name in order[::2]) < len(order[::2])  # either side comes first
    command = [sys.executable, "-m", "monai_dgm.reader_study", "score", str(study), "--num_bootstrap", "200"]
    subprocess.run(command, check=True, cwd=repository, capture_output=True)
    scores = json.loads((study / "scores" / "scores.json").read_text(encoding="utf-8"))
    assert [one["win_rate"]["value"] for one in scores["systems"]] == [0, 0.5, 1]
    assert scores["agreement"]["with_oneself"] == {"share": 1.0, "n": 4}
    assert scores["readers"]["finished"] == 1


def test_the_page_for_screen_readers_and_the_mouse(
    page: Any, new_study: Callable[..., Path], new_server: Callable[[Path], Server]
) -> None:
    study = new_study(("a", "b"), 4, num_catch=0)
    server = new_server(study)
    page.goto(server.address)
    picture(page, "start")
    page.get_by_label("Your code").fill("a b")
    page.get_by_role("button", name="Start or go on").click()
    page.wait_for_function("() => document.querySelector('[role=status]').textContent.includes('letters a to z')")
    page.get_by_label("Your code").fill("ben")
    page.get_by_role("button", name="Start or go on").click()
    wait_for_pair(page, 1, 4)
    assert page.get_by_role("heading", name="Which image looks more like a real radiograph?").is_visible()
    assert page.get_by_role("progressbar", name="Answered").is_visible()
    page.get_by_role("button", name="Left image").click()
    wait_for_pair(page, 2, 4)
    page.keyboard.press("Tab")  # from the left to the right image
    assert page.evaluate("document.activeElement.id") == "right"
    page.keyboard.press("Enter")
    wait_for_pair(page, 3, 4)
    page.get_by_role("button", name="Stop for now").click()
    page.get_by_role("button", name="Start or go on").click()  # the code is still there
    wait_for_pair(page, 3, 4)
    (kept,) = read_all(study / "answers", load_served(study).study)
    assert list(kept.choices.values()) == ["left", "right"]
