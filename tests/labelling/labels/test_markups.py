from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.image_label import as_array, make_boxes
from monai_dgm.labelling.labels.markups import REPEATED_IOU, boxes_to_markups, markups_to_boxes
from monai_dgm.labelling.labels.reader_boxes import BoxReading, without_repeats
from monai_dgm.transforms.placement import Placement

PLACEMENT = Placement.from_spacing(120, 200, (0.5, 0.25))
SLICER_AXES = [-1, 0, 0, 0, -1, 0, 0, 0, 1]
STRAY = {"type": "ROI", "roiType": "Box", "coordinateSystem": "LPS", "center": [0, 0, 0], "size": [0.0, 0.0, 0.0]}
STRAY |= {"orientation": SLICER_AXES, "controlPoints": []}


def roi(center: Any, size: Any, label: str = "R-1", **more: Any) -> dict[str, Any]:
    points = [{"id": "1", "label": label, "position": center}]
    values = {"type": "ROI", "roiType": "Box", "coordinateSystem": "LPS", "coordinateUnits": "mm", "center": center}
    return {**values, "size": size, "orientation": SLICER_AXES, "controlPoints": points, **more}


def roi_of(box: Any, **more: Any) -> dict[str, Any]:
    xmin, ymin, xmax, ymax = box
    center = [((xmin + xmax) / 2 - 0.5) * 0.25, ((ymin + ymax) / 2 - 0.5) * 0.5, 0]
    return roi(center, [(xmax - xmin) * 0.25, (ymax - ymin) * 0.5, 1], **more)


def read(*markups: Any, **more: Any) -> BoxReading:
    return markups_to_boxes(json.dumps({"@schema": "x", "markups": list(markups)}), PLACEMENT, **more)


@pytest.mark.parametrize("start", range(0, 200, 50))
def test_markups_and_back_is_the_identity(start: int, random_case: Any) -> None:
    for seed in range(start, start + 50):
        placement, boxes = random_case(seed)
        document = json.dumps(boxes_to_markups(boxes, placement))
        reading = markups_to_boxes(document, placement)
        assert reading.status == "boxes" and not reading.ignored
        np.testing.assert_allclose(as_array(reading.boxes), as_array(boxes), atol=2e-3)
        assert [box.score for box in reading.boxes] == [box.score for box in boxes]
        assert {box.label for box in reading.boxes} == {"lung_opacity"}


def test_a_box_is_written_as_the_panel_loads_it() -> None:
    document = boxes_to_markups(make_boxes([[40, 20, 80, 100]], ["lung_opacity"], [0.871]), PLACEMENT)
    assert document["@schema"].endswith("markups-schema-v1.0.3.json#")
    (markup,) = document["markups"]
    assert (markup["type"], markup["roiType"]) == ("ROI", "Box")
    assert (markup["coordinateSystem"], markup["coordinateUnits"]) == ("LPS", "mm")
    assert markup["center"] == [(60 - 0.5) * 0.25, (60 - 0.5) * 0.5, 0]
    assert markup["size"] == [10.0, 40.0, 1.0]
    assert markup["orientation"] == SLICER_AXES
    assert markup["controlPoints"][0]["label"] == "lung opacity 0.87"
    assert markup["controlPoints"][0]["position"] == markup["center"]
    assert boxes_to_markups([], PLACEMENT)["markups"] == []


def test_nothing_and_stray_nodes_alone_are_a_confirmed_negative() -> None:
    assert read().status == "no_finding"
    reading = read(STRAY, {**STRAY, "name": "Detection ROI - 0"})
    assert reading.status == "no_finding" and len(reading.ignored) == 2
    assert read(STRAY, roi_of([10, 10, 50, 50])).status == "boxes"


@pytest.mark.parametrize(
    "markup",
    [
        {"type": "Fiducial", "controlPoints": [{"position": [1, 2, 3]}]},
        {"type": "Line"},
        {"type": "patient name"},
        roi_of([10, 10, 50, 50], label="SAM2 ROI-1"),
        roi_of([10, 10, 50, 50], name="Scribbles ROI"),
    ],
)
def test_other_markups_are_left_out_but_alone_say_nothing(markup: dict[str, Any]) -> None:
    alone = read(markup)
    assert alone.boxes == () and alone.status is None and len(alone.ignored) == 1 and not alone.problems
    assert "patient" not in alone.ignored[0]
    assert read(markup, roi_of([10, 10, 50, 50])).status == "boxes"


PROBLEMS: dict[str, Any] = {
    "size 0": roi([10, 10, 0], [0, 0, 0]),
    "flat": roi([10, 10, 0], [10, 0, 1]),
    "size of two": roi([10, 10, 0], [10, 10]),
    "size NaN": roi([10, 10, 0], [math.nan, 10, 1]),
    "size negative": roi([10, 10, 0], [-10, 10, 1]),
    "centre NaN": roi([math.nan, 10, 0], [10, 10, 1]),
    "centre infinite": roi([math.inf, 10, 0], [10, 10, 1]),
    "centre far": roi([10**400, 10, 0], [10, 10, 1]),
    "centre text": roi(["1", 10, 0], [10, 10, 1]),
    "centre true": roi([True, 10, 0], [10, 10, 1]),
    "no centre": roi(None, [10, 10, 1]),
    "outside": roi([-100, 10, 0], [10, 10, 1]),
    "a click": roi([10, 10, 0], [0.1, 10, 1]),
    "axes askew": roi([10, 10, 0], [10, 10, 1], orientation=[1, 1, 0, 0, 1, 0, 0, 0, 1]),
    "axes null": roi([10, 10, 0], [10, 10, 1], orientation=[0] * 9),
    "axes of four": roi([10, 10, 0], [10, 10, 1], orientation=[1, 0, 0, 1]),
    "metres": roi([10, 10, 0], [10, 10, 1], coordinateUnits="m"),
    "another system": roi([10, 10, 0], [10, 10, 1], coordinateSystem="IJK"),
    "system a list": roi([10, 10, 0], [10, 10, 1], coordinateSystem=["LPS"]),
    "points no list": roi([10, 10, 0], [10, 10, 1], controlPoints="x"),
    "text": "ROI",
    "null": None,
    "list": [],
}


@pytest.mark.parametrize("case", PROBLEMS)
def test_a_box_that_cannot_be_read_is_a_problem_and_not_nothing(case: str) -> None:
    for markups in ([PROBLEMS[case]], [roi_of([10, 10, 50, 50]), PROBLEMS[case]]):
        reading = read(*markups)
        assert reading.status is None and len(reading.problems) == 1 and not reading.empty
        assert "\n" not in reading.problems[0] and len(reading.problems[0]) < 200
        assert len(reading.boxes) == len(markups) - 1


@pytest.mark.parametrize("point", [None, 1, [], {}, {"label": 3}, {"label": None}, {"label": "x" * 10**5}])
def test_control_points_of_any_kind_leave_the_box_alone(point: Any) -> None:
    (box,) = read(roi_of([10, 10, 50, 50], controlPoints=[point])).boxes
    assert box.label is None and box.score is None


@pytest.mark.parametrize(
    "document",
    [
        *(b"", b"x", b"[]", b"{}", b'{"markups": {}}', b'{"markups": null}'),
        *(b"[" * 10**5, b"\xff", b" " * 2_000_001),
        json.dumps({"markups": [STRAY] * 501}).encode(),
        json.dumps({"markups": [roi_of([x / 2, 0, x / 2 + 1, 1]) for x in range(300)]}).encode(),
    ],
)
def test_documents_that_are_none_and_too_large_ones_are_refused(document: bytes) -> None:
    with pytest.raises(InputError, match="markups: expected"):
        markups_to_boxes(document, PLACEMENT)


def test_ras_is_the_same_box_mirrored_in_x_and_y() -> None:
    box = [40, 20, 80, 100]
    lps = roi_of(box)
    ras = {**lps, "coordinateSystem": "RAS", "center": [-lps["center"][0], -lps["center"][1], 0]}
    ras["orientation"] = [1, 0, 0, 0, 1, 0, 0, 0, 1]
    np.testing.assert_allclose(as_array(read(ras).boxes), [box], atol=1e-4)
    del lps["coordinateSystem"]  # LPS where nothing is said, as in Slicer
    np.testing.assert_allclose(as_array(read(lps).boxes), [box], atol=1e-4)


def test_a_turned_roi_gives_the_box_around_its_corners() -> None:
    angle = np.deg2rad(30)
    c, s = float(np.cos(angle)), float(np.sin(angle))
    center, (width, height) = np.array([25.0, 30.0]), (8.0, 20.0)
    (box,) = read(roi([*center, 0], [width, height, 1], orientation=[c, -s, 0, s, c, 0, 0, 0, 1])).boxes
    corners = [
        center + i * width / 2 * np.array([c, s]) + j * height / 2 * np.array([-s, c]) for i in (-1, 1) for j in (-1, 1)
    ]
    low, high = np.min(corners, axis=0) / [0.25, 0.5] + 0.5, np.max(corners, axis=0) / [0.25, 0.5] + 0.5
    np.testing.assert_allclose(box.box, [*low, *high], atol=1e-6)


def test_a_quarter_turn_swaps_width_and_height() -> None:
    (box,) = read(roi([25, 30, 0], [8, 20, 1], orientation=[0, -1, 0, 1, 0, 0, 0, 0, 1])).boxes
    (plain,) = read(roi([25, 30, 0], [20, 8, 1])).boxes
    np.testing.assert_allclose(box.box, plain.box, atol=1e-6)


def test_depth_and_distance_from_the_plane_do_not_matter() -> None:
    (flat,) = read(roi([25, 30, 0], [8, 20, 0])).boxes
    (thick,) = read(roi([25, 30, 7], [8, 20, 50])).boxes
    assert flat == thick


def test_what_reaches_outside_is_cut_off() -> None:
    (box,) = read(roi_of([-30, 50, 20, 300])).boxes
    np.testing.assert_allclose(box.box, [0, 50, 20, 120], atol=1e-6)


def test_of_the_same_box_the_one_that_was_moved_stays() -> None:
    models = make_boxes([[40, 20, 80, 100], [100, 20, 160, 100]])
    moved = [43, 22, 84, 102]
    for order in ([models[0].box, moved], [moved, models[0].box]):
        reading = read(
            *[roi_of(box) for box in order], roi_of(models[1].box), roi_of(models[1].box), model_boxes=models
        )
        np.testing.assert_allclose(as_array(reading.boxes), [moved, models[1].box], atol=1e-4)
        assert "2 of 4 boxes left out" in reading.ignored[0] and reading.status == "boxes"


def test_without_knowing_the_model_the_last_stays_and_far_ones_all() -> None:
    boxes = make_boxes([[0, 0, 100, 100], [2, 2, 100, 100], [0, 0, 50, 100], [150, 0, 190, 50]])
    kept, repeated = without_repeats(boxes, iou=REPEATED_IOU)
    assert kept == boxes[1:] and repeated == 1
    assert without_repeats(boxes[:1]) == (boxes[:1], 0)


@pytest.mark.parametrize(
    ("text", "label", "score"),
    [
        ("lung opacity 0.87", "lung_opacity", 0.87),
        ("Lung  Opacity", "lung_opacity", None),
        ("lung_opacity 1.00", "lung_opacity", 1.0),
        ("lung opacity 0", "lung_opacity", 0.0),
        ("lung opacity 7", None, None),
        ("lung opacity 1.5", None, None),
        ("Detection ROI - 3-1", None, None),
        ("0.87", None, None),
        ("a patient's name", None, None),
        ("", None, None),
    ],
)
def test_only_known_findings_are_taken_from_the_control_point(
    text: str, label: str | None, score: float | None
) -> None:
    (box,) = read(roi_of([10, 10, 50, 50], label=text)).boxes
    assert (box.label, box.score) == (label, score)


def test_what_slicer_cannot_hold_is_refused() -> None:
    with pytest.raises(InputError, match="at most 200 boxes"):
        boxes_to_markups(make_boxes([[0, 0, 10, 10]] * 201), PLACEMENT)
    sheared = np.array([[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    with pytest.raises(InputError, match="right angles"):
        boxes_to_markups(make_boxes([[0, 0, 10, 10]]), Placement(120, 200, sheared))
