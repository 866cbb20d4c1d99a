"""Reading with the mouse: boxes that are moved, deleted, drawn and submitted, reports of the viewer itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.apps.ohif.server_with_boxes import SCORES, VERSION, known_boxes
from tests.apps.ohif.viewer import Study, Viewer, ask, stored_label, wait_for

pytestmark = pytest.mark.service

READER = "reader one"


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


def see_boxes(viewer: Viewer, study: Study, name: str) -> None:
    """The model's boxes are there when the study is opened."""
    before = viewer.look(f"{name}_opened")
    shown = viewer.rectangles(2)
    assert [one["label"] for one in shown] == [f"lung opacity {score:.2f}" for score in SCORES]
    assert f"2 boxes of {VERSION}" in viewer.status()
    assert before.std() > 20  # a radiograph is there
    wait_for(lambda: boxes_in_sight(viewer, study, viewer.look(f"{name}_boxes")))


def boxes_in_sight(viewer: Viewer, study: Study, window: np.ndarray) -> bool:
    """Whether there are bright lines where the sides of the boxes ought to be; at first, until it tracks them, the
    viewer draws dashes."""
    to_window, _ = viewer.conversions(study)
    sides = []
    for box in known_boxes(*study.shape):
        (left, top), (right, bottom) = to_window(box.reshape(2, 2)).round().astype(int)
        sides += [window[top + 9 : bottom - 9, x - 2 : x + 3].max(axis=1) for x in (left, right)]
    return all((side > 180).mean() > 0.9 for side in sides)


def test_boxes_are_moved_deleted_drawn_and_submitted(viewer: Viewer, studies: dict[str, Study], state: Path) -> None:
    study = studies["edited"]
    viewer.open(study, READER)
    see_boxes(viewer, study, "submit")
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


def test_a_report_of_ohif_itself_becomes_a_label(viewer: Viewer, studies: dict[str, Study], state: Path) -> None:
    study = studies["reported"]
    viewer.open(study)
    see_boxes(viewer, study, "report")
    expected = edit(viewer, study, (-24, 31), "report")
    viewer.page.click("[data-cy=trackedMeasurements-btn]")
    viewer.page.get_by_text("Create SR").first.click()
    viewer.shoot("report_create")
    viewer.page.get_by_role("button", name="Save").click()
    label = wait_for(lambda: stored_label(state, study.image, "anonymous"))
    viewer.shoot("report_saved")
    assert (label["status"], label["source"]) == ("boxes", "ohif_report")
    np.testing.assert_allclose([box["box"] for box in label["boxes"]], expected, atol=1.0)


def test_no_finding_is_confirmed_and_kept(viewer: Viewer, studies: dict[str, Study], state: Path) -> None:
    study = studies["negative"]
    viewer.open(study, READER)
    viewer.rectangles(2)
    to_window, _ = viewer.conversions(study)
    edge = to_window([known_boxes(*study.shape)[0][0], known_boxes(*study.shape)[0][[1, 3]].mean()]).round()
    away = edge + np.array([30, 10])
    viewer.drag(edge, away)
    viewer.press("NoFinding")  # with a rectangle that the reader moved it would say two things
    viewer.message("there are rectangles that you changed")
    assert stored_label(state, study.image, READER) is None
    viewer.drag(away, edge)
    viewer.press("NoFinding")  # the model's own boxes are rejected by it
    viewer.message(f"Submitted: no finding, by {READER}")
    viewer.rectangles(0)
    viewer.shoot("no_finding")
    label = stored_label(state, study.image, READER)
    assert label is not None and (label["status"], label["boxes"]) == ("no_finding", [])
    assert len(label["model_boxes"]) == 2
    viewer.press("SubmitBoxes")
    viewer.message("there is no rectangle on this image")
    answer = ask(f"{viewer.address}/dgm/boxes?image={study.image}&reader=reader%20one")
    assert [(one["reader"], one["status"]) for one in answer["readers"]] == [(READER, "no_finding")]


def test_the_list_of_studies_opens_one_and_keeps_the_reader(viewer: Viewer, studies: dict[str, Study]) -> None:
    viewer.page.goto(f"{viewer.address}/ohif/?reader=reader+two")
    viewer.page.get_by_text("NIH ChestX-ray14, reported").or_(viewer.page.get_by_text("reported")).first.click()
    viewer.page.wait_for_timeout(1000)
    viewer.shoot("list_of_studies")
    viewer.page.get_by_role("button", name="Basic Viewer").click()
    viewer.wait_for_radiograph(studies["reported"])
    viewer.press("AcceptAll")
    viewer.message("Submitted: 2 boxes, by reader two")
