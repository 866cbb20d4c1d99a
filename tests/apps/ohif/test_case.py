"""A case as it is opened: what the chest check refuses, the reader's own label, and boxes that are not submitted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.apps.ohif.server_with_boxes import VERSION, known_boxes
from tests.apps.ohif.viewer import Study, Viewer, ask, stored_label, wait_for

pytestmark = pytest.mark.service


def move_first_box(viewer: Viewer, study: Study, by: tuple[int, int]) -> np.ndarray:
    """Move the first of the model's boxes with the mouse; returns where it ought to be (4,)."""
    to_window, to_pixels = viewer.conversions(study)
    first = known_boxes(*study.shape)[0].reshape(2, 2)
    edge = to_window([first[0, 0], first[:, 1].mean()]).round()
    viewer.drag(edge, edge + by)
    return (first + (to_pixels(edge + by) - to_pixels(edge))).ravel()


def test_what_is_no_chest_has_a_remark_and_no_boxes(
    viewer: Viewer, studies: dict[str, Study], address: str, state: Path
) -> None:
    study = studies["pattern"]
    viewer.open(study, "reader one")
    assert "not look like a frontal chest" in viewer.text("remark")
    viewer.rectangles(0)
    assert "2 boxes not shown" in viewer.status()
    viewer.shoot("refused")
    offered = ask(f"{address}/dgm/next?reader=reader%20nine", "POST")
    seen = set()
    while offered:
        seen.add(offered["image"])
        offered = ask(f"{address}/dgm/next?reader=reader%20nine", "POST", {"skipped": sorted(seen)})
    assert seen and study.image not in seen
    viewer.press("ShowBoxes")  # on request
    viewer.rectangles(2)
    assert "not look like a frontal chest" in viewer.text("remark")
    viewer.shoot("refused_asked")
    assert stored_label(state, study.image, "reader one") is None


def test_a_readers_own_label_comes_back(viewer: Viewer, studies: dict[str, Study], state: Path) -> None:
    study, reader = studies["reopened"], "reader three"
    viewer.open(study, reader)
    assert viewer.text("own") == "Not labelled by you"
    moved = move_first_box(viewer, study, (30, 20))
    viewer.press("SubmitBoxes")
    viewer.message("Submitted: 2 boxes")
    viewer.open(study, reader)
    assert viewer.text("own").startswith("Labelled by you today") and viewer.text("own").endswith("2 boxes")
    shown = viewer.rectangles(2)
    assert all(one["label"].endswith("yours") for one in shown)
    assert "submitted by you" in viewer.status()
    viewer.shoot("reopened")
    kept = stored_label(state, study.image, reader)
    assert kept is not None
    np.testing.assert_allclose(kept["boxes"][0]["box"], moved, atol=1.0)
    viewer.press("ShowBoxes")  # the model's, on request
    viewer.wait_for_text("source", VERSION)
    assert [one["label"] for one in viewer.rectangles(2)] == ["lung opacity 0.87", "lung opacity 0.54"]
    viewer.shoot("reopened_model")
    viewer.press("ShowOwn")
    viewer.wait_for_text("source", "your boxes")
    viewer.press("NoFinding")
    viewer.page.click("[data-answer=replace]")
    viewer.message("Submitted: no finding")
    viewer.open(study, reader)
    assert viewer.text("own").endswith("no finding")
    viewer.rectangles(0)
    viewer.open(study, "reader four")  # another reader starts from the model
    assert viewer.text("own") == "Not labelled by you"
    viewer.rectangles(2)


def test_leaving_boxes_that_are_not_submitted_asks(viewer: Viewer, studies: dict[str, Study], state: Path) -> None:
    study, reader = studies["unsaved"], "reader five"
    viewer.open(study, reader)
    assert viewer.text("unsaved") == ""
    move_first_box(viewer, study, (25, 25))
    viewer.wait_for_text("unsaved", "not submitted")
    viewer.key("n")
    viewer.page.get_by_text("Boxes are not submitted").wait_for()
    viewer.shoot("unsaved")
    viewer.page.click("[data-answer=stay]")
    assert study.uid in viewer.page.url and stored_label(state, study.image, reader) is None
    viewer.page.click("[data-cy=return-to-work-list]")
    viewer.page.get_by_text("Boxes are not submitted").wait_for()
    viewer.key("Escape")
    assert study.uid in viewer.page.url
    asked: list[Any] = []
    viewer.page.once("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    viewer.page.close(run_before_unload=True)
    viewer.page.wait_for_timeout(1000)
    assert asked == ["beforeunload"]
    viewer.key("n")
    viewer.page.click("[data-answer=submit]")
    viewer.page.wait_for_url(lambda url: study.uid not in url)
    label = stored_label(state, study.image, reader)
    assert label is not None and label["status"] == "boxes"


def held(address: str, study: Study) -> bool:
    """Whether a reader has the case open, as another one sees it in the worklist."""
    rows = ask(f"{address}/dgm/worklist?reader=reader%20eight", "POST", {"text": study.image})["rows"]
    return bool(next(row["open"] for row in rows if row["image"] == study.image))


def test_a_case_is_skipped_and_may_be_offered_to_others(
    viewer: Viewer, studies: dict[str, Study], address: str
) -> None:
    viewer.open(studies["unsaved"], "reader six")
    seen = [studies["unsaved"]]
    for _ in range(2):
        viewer.key("k")
        viewer.page.wait_for_url(lambda url: seen[-1].uid not in url)
        (study,) = [one for one in studies.values() if one.uid in viewer.page.url]
        assert study not in seen
        seen.append(study)
        viewer.wait_for_radiograph(study)
    assert [held(address, study) for study in seen] == [False, False, True]
    viewer.page.click("[data-cy=return-to-work-list]")
    wait_for(lambda: not held(address, seen[-1]))
    viewer.open(seen[-1])
    assert held(address, seen[-1])
    viewer.page.goto("about:blank")  # as closing the tab
    wait_for(lambda: not held(address, seen[-1]))


def test_the_models_version_and_state_are_in_sight(viewer: Viewer, studies: dict[str, Study]) -> None:
    viewer.open(studies["mapped"])
    viewer.page.wait_for_selector("#monai-dgm-status[data-state=ready]")
    words = viewer.status()
    assert VERSION in words and "labelled" in words and "research software, not for diagnosis" in words
    numbers = viewer.text("numbers")
    assert numbers.startswith("Abnormality probability")
    viewer.shoot("case")
