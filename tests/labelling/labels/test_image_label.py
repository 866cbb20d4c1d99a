from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.image_label import ImageLabel, LabelledBox, make_boxes
from monai_dgm.labelling.labels.json_input import parse_json, read_json


def example() -> dict[str, Any]:
    box = {"box": [10.5, 20, 90, 100.25], "label": "lung_opacity", "score": 0.87}
    return {
        "schema_version": 1,
        "image_id": "1.2.840.5",
        "size": [120, 200],
        "status": "boxes",
        "boxes": [box, {"box": [100, 0, 200, 120], "label": None, "score": None}],
        "reader": "reader one",
        "time": "2026-03-01T09:30:00.000000Z",
        "source": "slicer",
        "model_boxes": [box],
        "model_version": "7",
    }


def test_json_goes_there_and_back_unchanged() -> None:
    label = ImageLabel.from_dict(example())
    assert label.as_dict() == example()
    assert ImageLabel.from_dict(json.loads(json.dumps(label.as_dict()))) == label
    assert label.boxes_array.shape == (2, 4) and label.boxes_array.dtype == np.float32


def test_time_is_kept_in_utc_and_is_now_where_not_given(make_label: Any) -> None:
    assert make_label(time="2026-03-01T09:30:00.5+02:00").time == "2026-03-01T07:30:00.500000Z"
    assert make_label().time.endswith("Z")
    assert ImageLabel.from_dict(make_label().as_dict())


def test_one_name_in_two_spellings_is_one_reader(make_label: Any) -> None:
    assert make_label(reader="Mu\u0308ller ").reader == make_label(reader="M\u00fcller").reader


WRONG: dict[str, tuple[str, Any]] = {
    "no object": ("", [1]),
    "version to come": ("schema_version", 2),
    "version true": ("schema_version", True),
    "unknown key": ("patient_name", "someone"),
    "empty id": ("image_id", ""),
    "long id": ("image_id", "x" * 257),
    "id with a line end": ("image_id", "a\nb"),
    "id with NUL": ("image_id", "a\0b"),
    "id with half a character": ("image_id", "\ud800"),
    "id of another type": ("image_id", {"$ne": 1}),
    "blank reader": ("reader", "  "),
    "reader null": ("reader", None),
    "size of text": ("size", ["120", "200"]),
    "size of fractions": ("size", [120.5, 200]),
    "size true": ("size", [True, 200]),
    "size 0": ("size", [0, 200]),
    "size huge": ("size", [10**30, 200]),
    "size of one": ("size", [120]),
    "status unknown": ("status", "reviewed"),
    "status a list": ("status", ["boxes"]),
    "no finding, but boxes": ("status", "no_finding"),
    "boxes, but none": ("boxes", []),
    "boxes null": ("boxes", None),
    "too many boxes": ("boxes", [{"box": [0, 0, 1, 1]}] * 201),
    "box a list": ("boxes", [[0, 0, 1, 1]]),
    "box of three": ("boxes", [{"box": [0, 0, 1]}]),
    "box null": ("boxes", [{"box": None}]),
    "box of text": ("boxes", [{"box": ["0", 0, 1, 1]}]),
    "box of truth": ("boxes", [{"box": [0, 0, True, 1]}]),
    "box outside": ("boxes", [{"box": [0, 0, 201, 120]}]),
    "box turned": ("boxes", [{"box": [50, 0, 20, 120]}]),
    "box flat": ("boxes", [{"box": [50, 7, 60, 7]}]),
    "box huge": ("boxes", [{"box": [0, 0, 10**400, 1]}]),
    "box with more": ("boxes", [{"box": [0, 0, 1, 1], "note": "x"}]),
    "score above 1": ("boxes", [{"box": [0, 0, 1, 1], "score": 1.5}]),
    "score text": ("boxes", [{"box": [0, 0, 1, 1], "score": "0.5"}]),
    "label a number": ("boxes", [{"box": [0, 0, 1, 1], "label": 3}]),
    "label long": ("boxes", [{"box": [0, 0, 1, 1], "label": "x" * 65}]),
    "model box outside": ("model_boxes", [{"box": [0, 0, 201, 120]}]),
    "model version a number": ("model_version", 7),
    "time without zone": ("time", "2026-03-02T09:30:00"),
    "time of no month": ("time", "2026-13-01T09:30:00Z"),
    "time before time": ("time", "0001-01-01T00:00:00+10:00"),
    "time null": ("time", None),
    "source a path": ("source", "../../x"),
    "source null": ("source", None),
}


@pytest.mark.parametrize("case", WRONG)
def test_anything_else_is_refused_in_one_line_that_repeats_no_text(case: str) -> None:
    key, value = WRONG[case]
    values: Any = {**example(), key: value} if key else value
    with pytest.raises(InputError, match="expected|reaches outside|no area") as caught:
        ImageLabel.from_dict(values, "label")
    message = str(caught.value)
    assert message.startswith("label: ") and "\n" not in message and len(message) < 300
    assert not isinstance(value, str) or len(value) < 3 or value not in message.replace("boxes, no_finding", "")


@pytest.mark.parametrize("key", list(example()))
def test_every_key_is_needed(key: str) -> None:
    with pytest.raises(InputError, match=key):
        ImageLabel.from_dict({name: value for name, value in example().items() if name != key})


def test_make_boxes_wants_a_label_and_a_score_a_box() -> None:
    boxes = make_boxes([[0, 0, 1, 1]], ["lung_opacity"], [np.float32(0.5)])
    assert boxes == (LabelledBox((0.0, 0.0, 1.0, 1.0), "lung_opacity", 0.5),)
    assert make_boxes(np.zeros((0, 4))) == ()
    with pytest.raises(InputError, match="a label and a score per box"):
        make_boxes([[0, 0, 1, 1]], [])
    with pytest.raises(InputError, match=r"\(N, 4\)"):
        make_boxes([0, 0, 1, 1])


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"a": 1, "a": 2}', "one key twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b"1" * 5000, "too long"),
        (b"\xff\xfe", "UTF-8"),
        (b'{"a"', "at character 4"),
        (b" " * 100_001, "at most"),
    ],
)
def test_documents_that_are_no_json_are_refused(document: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_json(document, "label", max_bytes=100_000)
    assert "\n" not in str(caught.value)


def test_a_box_goes_there_and_back_and_may_lack_label_and_score() -> None:
    box = LabelledBox((1.0, 2.0, 30.0, 40.0), "lung_opacity", 0.25)
    assert LabelledBox.from_dict(json.loads(json.dumps(box.as_dict()))) == box
    assert LabelledBox.from_dict({"box": [1, 2, 30, 40]}) == LabelledBox((1, 2, 30, 40))
    with pytest.raises(InputError, match="expected an object, got a list of length 4"):
        LabelledBox.from_dict([1, 2, 30, 40])


def test_a_wrong_value_in_code_is_an_error_of_one_line_too(make_label: Any) -> None:
    for wrong in ({"source": "A"}, {"size": (0, 1)}, {"model_version": 7}):
        with pytest.raises(InputError, match="expected") as caught:
            make_label(**wrong)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no other key"):
        make_label(patient_name="someone")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json: expected a JSON file"):
        read_json(tmp_path / "none.json", 100)
