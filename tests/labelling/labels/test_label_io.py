from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monai_dgm.data.rsna import parse_boxes
from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.image_label import ImageLabel, as_array, make_boxes
from monai_dgm.labelling.labels.label_io import (
    labels_to_coco,
    labels_to_rsna_csv,
    parse_coco,
    rsna_boxes_to_labels,
)


@pytest.fixture
def labels(make_label: Any) -> list[ImageLabel]:
    rng = np.random.default_rng(0)
    found = []
    for place in range(30):
        corners = rng.uniform(0, 90, (place % 4, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(2, 30, corners.shape)], axis=1)
        scores = [None if i else 0.25 for i in range(len(boxes))]
        drawn = make_boxes(boxes, ["lung_opacity"] * len(boxes), scores)
        found.append(make_label(drawn, image_id=f"image_{place:02d}"))
    return found


def assert_same(found: list[ImageLabel], expected: list[ImageLabel], scores: bool) -> None:
    assert [(label.image_id, label.size, label.status) for label in found] == [
        (label.image_id, label.size, label.status) for label in expected
    ]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(as_array(ours.boxes), as_array(theirs.boxes), atol=1e-4)
        assert [box.label for box in ours.boxes] == [box.label for box in theirs.boxes]
        if scores:
            assert [box.score for box in ours.boxes] == [box.score for box in theirs.boxes]


def read(values: Any) -> list[ImageLabel]:
    """The labels of a COCO file of these values."""
    return parse_coco(json.dumps(values).encode(), "coco.json", 10**6, reader="someone")


def read_csv(text: str, sizes: dict[str, tuple[int, int]]) -> list[ImageLabel]:
    return rsna_boxes_to_labels("labels.csv", parse_boxes(text.encode(), "labels.csv"), sizes, reader="someone")


def test_coco_and_back(labels: list[ImageLabel]) -> None:
    found = read(labels_to_coco(labels))
    assert_same(found, labels, scores=True)
    assert {(label.reader, label.source) for label in found} == {("someone", "import")}


def test_rsna_csv_and_back(labels: list[ImageLabel]) -> None:
    sizes = {label.image_id: label.size for label in labels}
    assert_same(read_csv(labels_to_rsna_csv(labels), sizes), labels, scores=False)


def test_coco_may_write_whole_numbers_as_1024_0() -> None:
    values = {
        "images": [{"id": 1.0, "width": 1024.0, "height": 512.0, "file_name": "a.png"}],
        "categories": [{"id": 2.0, "name": "lung opacity"}],
        "annotations": [{"id": 1.0, "image_id": 1, "category_id": 2, "bbox": [1.0, 2.0, 30.0, 40.0]}],
    }
    (label,) = parse_coco(json.dumps(values).encode(), "labels.json", 10_000, "reader")
    assert label.size == (512, 1024) and label.boxes[0].box == (1, 2, 31, 42)
    values["images"][0]["width"] = 1024.5
    with pytest.raises(InputError, match="whole number"):
        parse_coco(json.dumps(values).encode(), "labels.json", 10_000, "reader")


def test_coco_is_what_pycocotools_reads(tmp_path: Path, labels: list[ImageLabel]) -> None:
    coco_module = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    (tmp_path / "coco.json").write_text(json.dumps(labels_to_coco(labels)), encoding="utf-8")
    coco = coco_module.COCO(str(tmp_path / "coco.json"))
    assert len(coco.getImgIds()) == len(labels)
    for number, label in enumerate(labels, 1):
        (image,) = coco.loadImgs(number)
        assert (image["file_name"], image["height"], image["width"]) == (label.image_id, 120, 200)
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=[number]))
        boxes = np.array([annotation["bbox"] for annotation in annotations]).reshape(-1, 4)
        np.testing.assert_allclose(boxes[:, :2] + boxes[:, 2:], as_array(label.boxes)[:, 2:], rtol=1e-5)
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == ["lung_opacity"]


def test_rsna_csv_has_the_challenge_columns(make_label: Any) -> None:
    given = [make_label([[10, 20, 40, 60]], image_id="b"), make_label([], image_id="a")]
    rows = list(csv.reader(labels_to_rsna_csv(given).splitlines()))
    assert rows[0] == ["patientId", "x", "y", "width", "height", "Target"]
    assert rows[1:] == [["a", "", "", "", "", "0"], ["b", "10.0", "20.0", "30.0", "40.0", "1"]]


def test_several_readers_of_one_image_need_a_consensus_first(make_label: Any) -> None:
    twice = [make_label([], reader="a"), make_label([], reader="b")]
    for write in (labels_to_coco, labels_to_rsna_csv):
        with pytest.raises(InputError, match="consensus"):
            write(twice)


def foreign() -> dict[str, Any]:
    """A file as other programs write it: text ids, no ids of ours, another category."""
    return {
        "images": [
            {"id": 7, "file_name": "a/one.png", "height": 120, "width": 200},
            {"id": 9, "file_name": "b/two.png", "height": 120, "width": 200},
        ],
        "annotations": [{"id": 1, "image_id": 9, "category_id": 3, "bbox": [-0.4, 20, 30, 100.4]}],
        "categories": [{"id": 3, "name": "lung opacity", "supercategory": "x"}],
    }


def test_a_file_of_another_program_is_read() -> None:
    first, second = read(foreign())
    assert (first.image_id, first.status) == ("one", "no_finding")
    assert (second.image_id, second.boxes[0].label) == ("two", "lung_opacity")
    np.testing.assert_allclose(second.boxes_array, [[0, 20, 29.6, 120]], atol=1e-4)


def changed(**change: Any) -> dict[str, Any]:
    values = foreign()
    for key, value in change.items():
        target = values[key][0] if isinstance(value, dict) else None
        if target is None:
            values[key] = value
        else:
            target.update(value)
    return values


@pytest.mark.parametrize(
    "values",
    [
        [],
        {},
        changed(images=None),
        changed(images=["x"]),
        changed(categories=[]),
        changed(images={"id": 9}),
        changed(images={"id": None}),
        changed(images={"id": [1]}),
        changed(images={"id": True}),
        changed(images={"height": 0}),
        changed(images={"height": "120"}),
        changed(images={"width": True}),
        changed(images={"file_name": ""}),
        changed(images={"file_name": 3}),
        changed(annotations={"iscrowd": True}),
        changed(images={"file_name": "a\0b"}),
        changed(images=[{"id": n, "image_id": "a", "width": 9, "height": 9} for n in (7, 9)]),
        changed(annotations={"image_id": 8}),
        changed(annotations={"image_id": {}}),
        changed(annotations={"category_id": 4}),
        changed(annotations={"bbox": None}),
        changed(annotations={"bbox": [1, 2, 3]}),
        changed(annotations={"bbox": [1, 2, 3, "4"]}),
        changed(annotations={"bbox": [1, 2, 3, 10**400]}),
        changed(annotations={"bbox": [1, 2, 0, 4]}),
        changed(annotations={"bbox": [1, 2, 300, 4]}),
        changed(annotations={"bbox": [-0.4, 2, 0.2, 4]}),
        changed(annotations={"iscrowd": 1}),
        changed(annotations={"score": 2}),
        changed(annotations={"score": "high"}),
        changed(categories={"name": None}),
        changed(categories={"id": "3"}),
    ],
)
def test_a_file_that_is_no_coco_is_named_in_one_line(values: Any) -> None:
    with pytest.raises(InputError, match=r"coco.json.*expected") as caught:
        read(values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patientId,x\na,1\n", "columns"),
        ("patientId,x,y,width,height,Target\n", "rows"),
        ("patientId,x,y,width,height,Target\na,1,2,3,4,2\n", "Target"),
        ("patientId,x,y,width,height,Target\na,1,2,nan,4,1\n", "box"),
        ("patientId,x,y,width,height,Target\na,1,2,500,4,1\n", "inside"),
        ("patientId,x,y,width,height,Target\nb,1,2,5,4,1\n", "size is known"),
    ],
)
def test_a_csv_that_is_no_label_file_is_named_in_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=f"labels.csv.*{message}"):
        read_csv(text, {"a": (120, 200)})


def test_labels_without_a_name_are_opacities(make_label: Any) -> None:
    values = labels_to_coco([make_label([[0, 0, 10, 10]])])
    assert values["categories"] == [{"id": 1, "name": "lung_opacity"}]
    assert values["annotations"][0]["category_id"] == 1 and "score" not in values["annotations"][0]
