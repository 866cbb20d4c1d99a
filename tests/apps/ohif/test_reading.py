"""Reading with two readers a case: the keyboard alone, the worklist, a second read, its adjudication, the training."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.apps.ohif.server_with_boxes import known_boxes
from tests.apps.ohif.viewer import Study, Viewer, ask, stored_label, wait_for

pytestmark = pytest.mark.service


def submit(address: str, study: Study, reader: str, boxes: list[Any]) -> None:
    """A label over HTTP."""
    document = {"status": "boxes" if boxes else "no_finding", "boxes": [{"box": box} for box in boxes]}
    url = f"{address}/dgm/boxes?image={study.image}&reader={reader.replace(' ', '%20')}"
    request = urllib.request.Request(url, json.dumps(document).encode(), method="PUT")
    urllib.request.urlopen(request, timeout=60).read()


def shown_study(viewer: Viewer, studies: dict[str, Study]) -> Study:
    (found,) = [study for study in studies.values() if study.uid in viewer.page.url]
    return found


def test_five_cases_are_read_by_the_keyboard_alone(
    second_viewer: Viewer, studies: dict[str, Study], double_state: Path
) -> None:
    viewer, reader = second_viewer, "keys"
    viewer.open(studies["mapped"], reader)
    viewer.key("?")
    viewer.page.get_by_text("Submit, next").last.wait_for()
    viewer.shoot("keys")
    viewer.key("Escape")
    expected: dict[str, tuple[str, int]] = {}
    for number, keys in enumerate((["a", "n"], ["f", "n"], ["s", "n"], ["Enter"], ["f", "Enter"])):
        study = shown_study(viewer, studies)
        assert study.image not in expected
        for key in keys:
            viewer.key(key)
            if key in "asf":
                viewer.wait_for_text("own", "Labelled by you today")
        if number < 4:
            viewer.page.wait_for_url(lambda url, uid=study.uid: uid not in url)
            viewer.wait_for_radiograph(shown_study(viewer, studies))
        expected[study.image] = ("no_finding", 0) if "f" in keys else ("boxes", 2)
    for image, (status, count) in expected.items():
        label = stored_label(double_state, image, reader)
        assert label is not None and (label["status"], len(label["boxes"])) == (status, count)
    assert len(expected) == 5


def test_next_follows_the_worklist(second_viewer: Viewer, studies: dict[str, Study], double_address: str) -> None:
    viewer = second_viewer
    wait_for(lambda: all(row["score"] is not None for row in listed(double_address, "list", show="all")))
    viewer.open(studies["pattern"], "list")
    viewer.key("w")
    viewer.page.select_option("#monai-dgm-dialog select", "all")
    rows = viewer.page.locator("#monai-dgm-dialog tbody tr")
    rows.nth(len(studies) - 1).wait_for()
    images = [rows.nth(i).get_attribute("data-image") for i in range(len(studies))]
    assert images == [row["image"] for row in listed(double_address, "list", show="all")]
    viewer.shoot("worklist")
    viewer.page.select_option("#monai-dgm-dialog select", "unread")
    viewer.page.click("#monai-dgm-dialog [data-sort=score]")  # the least suspicious first
    viewer.page.wait_for_timeout(1500)
    waiting = [row["image"] for row in listed(double_address, "list", show="unread", descending=False)]
    assert rows.first.get_attribute("data-image") == waiting[0]
    viewer.page.click("[data-follow=worklist]")
    viewer.key("Escape")
    viewer.key("n")
    viewer.page.wait_for_url(lambda url: studies["pattern"].uid not in url)
    first = shown_study(viewer, studies)
    assert first.image == next(image for image in waiting if image != studies["pattern"].image)
    viewer.wait_for_radiograph(first)
    viewer.key("k")
    viewer.page.wait_for_url(lambda url: first.uid not in url)
    assert shown_study(viewer, studies).image == next(image for image in waiting if image != first.image)


def listed(address: str, reader: str, **order: Any) -> list[dict[str, Any]]:
    return ask(f"{address}/dgm/worklist?reader={reader}", "POST", {"sort": "score", **order})["rows"]


def test_two_readers_and_a_reviewer(
    second_viewer: Viewer, studies: dict[str, Study], double_state: Path, double_address: str
) -> None:
    viewer, study = second_viewer, studies["edited"]
    boxes = known_boxes(*study.shape).tolist()
    submit(double_address, study, "reader one", boxes)
    viewer.open(study, "reader two")
    assert "you see their labels after yours" in viewer.text("blinded")
    assert "reader one" not in viewer.page.inner_text("body")
    viewer.shoot("second_read")
    viewer.key("f")
    viewer.wait_for_text("own", "no finding")
    viewer.open(study, "rita")
    viewer.key("j")
    viewer.wait_for_text("adjudication", "reader one: 2 boxes")
    assert "reader two: no finding" in viewer.text("adjudication")
    assert all(one["label"].endswith("reader one") for one in viewer.rectangles(2))
    viewer.page.wait_for_timeout(800)
    viewer.shoot("adjudication")
    viewer.page.click("[data-take='0']")
    viewer.rectangles(4)
    viewer.key("d")
    viewer.message("Decided: 2 boxes, adjudication by rita")
    decided = stored_label(double_state, study.image, "adjudication by rita")
    assert decided is not None and (decided["source"], len(decided["boxes"])) == ("adjudication", 2)
    viewer.page.goto(f"{double_address}/agreement")
    assert "reader one, reader two" in viewer.page.inner_text("main")
    viewer.shoot("agreement")


def test_a_training_its_verdict_and_the_way_back(
    second_viewer: Viewer, studies: dict[str, Study], double_address: str
) -> None:
    viewer = second_viewer
    for reader in ("first", "second"):
        for study in studies.values():
            submit(double_address, study, reader, known_boxes(*study.shape).tolist())
    viewer.open(studies["mapped"], "trainer")
    viewer.key("t")
    viewer.page.locator("[aria-label=Epochs]").fill("1")
    viewer.page.click("[data-training=start]")
    viewer.page.locator("[data-cy=monaiDgm-training-state]", has_text="running").wait_for()
    viewer.shoot("training")
    deadline = time.monotonic() + 300
    while ask(f"{double_address}/train")["status"] == "RUNNING":
        assert time.monotonic() < deadline
        time.sleep(1)
    result = ask(f"{double_address}/train")
    assert result["status"] == "DONE", result
    viewer.page.locator("tr[data-version='2']", has_text="AP").wait_for()
    viewer.shoot("training_verdict")
    assert result["reason"] in viewer.page.inner_text("tr[data-version='2']")
    served = ask(f"{double_address}/dgm/versions")["current"]
    other = 3 - served
    viewer.page.click(f"[data-restore='{other}']")
    viewer.page.locator(f"tr[data-version='{other}']", has_text="served").wait_for()
    assert ask(f"{double_address}/dgm/versions")["current"] == other
    viewer.page.click(f"[data-restore='{served}']")
    wait_for(lambda: ask(f"{double_address}/dgm/versions")["current"] == served)
