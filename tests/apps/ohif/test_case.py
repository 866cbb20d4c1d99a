"""A case as it is opened: what the chest check refuses, the reader's own label, and boxes that are not submitted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.apps.ohif.server_with_boxes import VERSION, known_boxes
from tests.apps.ohif.viewer import Study, Viewer, ask, stored_label

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


@pytest.mark.xfail(
    reason="passes alone; after the other viewer tests no next case came within 90 s, not yet understood"
)
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


@pytest.mark.xfail(
    reason="passes alone; after the other viewer tests no next case came within 90 s, not yet understood"
)
def test_a_case_is_skipped(viewer: Viewer, studies: dict[str, Study]) -> None:
    viewer.open(studies["unsaved"], "reader six")
    seen = [studies["unsaved"].uid]
    for _ in range(2):
        viewer.key("k")
        viewer.page.wait_for_url(lambda url: seen[-1] not in url)
        (study,) = [one for one in studies.values() if one.uid in viewer.page.url]
        assert study.uid not in seen
        seen.append(study.uid)
        viewer.wait_for_radiograph(study)


def test_the_models_version_and_state_are_in_sight(viewer: Viewer, studies: dict[str, Study]) -> None:
    viewer.open(studies["mapped"])
    viewer.page.wait_for_selector("#monai-dgm-status[data-state=ready]")
    words = viewer.status()
    assert VERSION in words and "labelled" in words and "research software, not for diagnosis" in words
    numbers = viewer.text("numbers")
    assert numbers.startswith("Abnormality probability")
    viewer.shoot("case")
