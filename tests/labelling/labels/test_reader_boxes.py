from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.image_label import as_array
from monai_dgm.labelling.labels.reader_boxes import read_viewer_boxes
from monai_dgm.transforms.placement import Placement

PLACEMENT = Placement.from_spacing(120, 200, (0.5, 0.25))


def document(*boxes: Any, status: str = "boxes") -> str:
    return json.dumps({"status": status, "boxes": list(boxes)})


def test_what_is_sent_is_what_is_read() -> None:
    random = np.random.default_rng(0)
    low = random.uniform(0, [100, 60], (20, 2))
    boxes = np.concatenate([low, low + random.uniform(2, [100, 60], (20, 2))], axis=1)
    sent = [{"box": box.tolist(), "label": "lung_opacity", "score": i / 20} for i, box in enumerate(boxes)]
    reading = read_viewer_boxes(document(*sent).encode(), PLACEMENT)
    assert reading.status == "boxes" and not reading.ignored
    np.testing.assert_allclose(as_array(reading.boxes), boxes, rtol=1e-6)
    assert [box.score for box in reading.boxes] == [box["score"] for box in sent]


def test_label_and_score_may_be_missing() -> None:
    (box,) = read_viewer_boxes(document({"box": [1, 2, 30, 40]}), PLACEMENT).boxes
    assert (box.label, box.score) == ("lung_opacity", None)


def test_what_reaches_outside_is_cut_off() -> None:
    (box,) = read_viewer_boxes(document({"box": [-3.5, 100, 40, 130.25]}), PLACEMENT).boxes
    assert box.box == (0, 100, 40, 120)


def test_a_box_drawn_twice_is_one() -> None:
    twice = {"box": [10, 10, 60, 60]}, {"box": [10.05, 10, 60, 60]}
    reading = read_viewer_boxes(document(*twice, {"box": [20, 10, 70, 60]}), PLACEMENT)
    assert len(reading.boxes) == 2 and "1 of 3" in reading.ignored[0]


def test_a_negative_is_said_not_guessed() -> None:
    assert read_viewer_boxes(document(status="no_finding"), PLACEMENT).status == "no_finding"
    with pytest.raises(InputError, match="got 0"):
        read_viewer_boxes(document(), PLACEMENT)
    with pytest.raises(InputError, match="got 1"):
        read_viewer_boxes(document({"box": [1, 2, 3, 4]}, status="no_finding"), PLACEMENT)


@pytest.mark.parametrize(
    "box",
    [
        {"box": [10, 10, 10, 40]},
        {"box": [40, 10, 10, 40]},
        {"box": [10, 10, 10.5, 40]},
        {"box": [201, 10, 250, 40]},
        {"box": [-20, -20, -1, -1]},
        {"box": [199.5, 10, 300, 40]},
        {"box": [10, 10, 1e300, 40]},
        {"box": [10, 10, "50", 40]},
        {"box": [10, 10, True, 40]},
        {"box": [10, 10, None, 40]},
        {"box": [10, 10, 50]},
        {"box": [[10, 10], [50, 40]]},
        {"box": {"xmin": 1}},
        {"box": [10, 10, 50, 40], "label": "Doe, Jane"},
        {"box": [10, 10, 50, 40], "score": 1.5},
        {"box": [10, 10, 50, 40], "score": "high"},
        {"box": [10, 10, 50, 40], "path": "/etc/passwd"},
        {},
        [10, 10, 50, 40],
        "box",
    ],
)
def test_a_box_that_is_none_refuses_all(box: Any) -> None:
    with pytest.raises(InputError) as error:
        read_viewer_boxes(document({"box": [1, 2, 30, 40]}, box), PLACEMENT)
    assert "\n" not in str(error.value) and "Doe" not in str(error.value) and "passwd" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"boxes": []}',
        '{"status": "boxes", "boxes": {}}',
        '{"status": "done", "boxes": []}',
        '{"status": ["no_finding"], "boxes": []}',
        '{"status": "no_finding", "boxes": [], "reader": "x"}',
        '{"status": "no_finding", "status": "boxes", "boxes": []}',
        '{"status": "boxes", "boxes": [{"box": [1, 2, NaN, 4]}]}',
        '{"status": "boxes", "boxes": [{"box": [1, 2, Infinity, 4]}]}',
        '{"status": "boxes", "boxes": ' + "[" * 5000,
        json.dumps({"status": "boxes", "boxes": [{"box": [i, 0, i + 2, 9]} for i in range(300)]}),
        " " * 200_000,
        b"\xff\xfe",
    ],
)
def test_a_document_that_is_none_is_refused(text: str | bytes) -> None:
    with pytest.raises(InputError) as error:
        read_viewer_boxes(text, PLACEMENT)
    assert "\n" not in str(error.value)
