"""Documents from outside that someone or something has damaged: one line each, whatever was done to them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.image_label import ImageLabel
from monai_dgm.labelling.labels.json_input import parse_json
from monai_dgm.labelling.labels.label_io import labels_to_coco, parse_coco
from monai_dgm.labelling.labels.markups import boxes_to_markups, markups_to_boxes

HOSTILE: list[Any] = [None, True, False, 0, -1, 1.5, 10**400, 1e308, -1e308, float("nan"), float("inf")]
HOSTILE += ["", "x" * 10_000, "../../etc/passwd", "\0", "\ud800", "NaN"]
HOSTILE += [[], {}, [[]], [None], [0] * 9, {"a": {}}, [[[[1]]]], [1e308] * 3]


def damaged(value: Any, rng: np.random.Generator) -> Any:
    """A copy with one to three of its parts replaced by something hostile, dropped or repeated."""
    root = {"root": copy.deepcopy(value)}
    for _ in range(rng.integers(1, 4)):
        holder: Any = root
        key: Any = "root"
        while isinstance(holder[key], (dict, list)) and holder[key] and rng.random() < 0.85:
            holder = holder[key]
            keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            key = keys[rng.integers(len(keys))]
        action = rng.random()
        if action < 0.15 and key != "root":
            del holder[key]
        elif action < 0.25 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        else:
            holder[key] = copy.deepcopy(HOSTILE[rng.integers(len(HOSTILE))])
    return root["root"]


def outcome(read: Callable[[Any], Any], value: Any) -> str:
    try:
        read(value)
    except InputError as error:
        assert "\n" not in str(error) and len(str(error)) < 600 and "passwd" not in str(error)
        return "refused"
    return "read"


@pytest.mark.parametrize("seed", range(4))
def test_damaged_labels_are_refused_or_are_labels(seed: int, random_case: Any) -> None:
    rng = np.random.default_rng(seed)
    placement, boxes = random_case(seed)
    size = (placement.rows, placement.cols)
    label = ImageLabel("image", size, "boxes", boxes, "reader", "slicer", model_boxes=boxes, model_version="1")

    def read(value: Any) -> None:
        parsed = parse_json(json.dumps(value), "label", 10**6)
        assert ImageLabel.from_dict(ImageLabel.from_dict(parsed).as_dict())

    outcomes = [outcome(read, damaged(label.as_dict(), rng)) for _ in range(300)]
    assert outcomes.count("refused") > 200


@pytest.mark.parametrize("seed", range(4))
def test_damaged_markups_are_refused_or_give_boxes_inside(seed: int, random_case: Any) -> None:
    rng = np.random.default_rng(seed)
    placement, boxes = random_case(seed)
    document = boxes_to_markups(boxes, placement)

    def read(value: Any) -> None:
        reading = markups_to_boxes(json.dumps(value), placement)
        assert all(len(line) < 200 and "\n" not in line for line in (*reading.problems, *reading.ignored))
        status = "boxes" if reading.boxes else "no_finding"
        ImageLabel("image", (placement.rows, placement.cols), status, reading.boxes, "reader", "slicer")

    with np.errstate(all="raise"):
        assert {outcome(read, damaged(document, rng)) for _ in range(300)} == {"read", "refused"}


def test_damaged_coco_files_are_refused_or_read(make_label: Any) -> None:
    rng = np.random.default_rng(0)
    document = labels_to_coco([make_label([[10, 20, 60, 80]], image_id="a"), make_label([], image_id="b")])

    def read(value: Any) -> None:
        parse_coco(json.dumps(value).encode(), "coco", 10**6, "reader")

    outcomes = [outcome(read, damaged(document, rng)) for _ in range(300)]
    assert outcomes.count("refused") > 100
