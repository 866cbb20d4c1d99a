from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monai_dgm.errors import InputError
from monai_dgm.labelling.training.validation_set import (
    MAX_IMAGES,
    draw_from_labels,
    enough_to_decide,
    fixed_images,
    truth_digest,
)

BOX = np.array([[1, 2, 3, 4]], dtype=np.float32)
NONE = np.zeros((0, 4), dtype=np.float32)


def items_of(count: int, with_boxes: int, patients: int | None = None) -> list[dict[str, Any]]:
    return [
        {
            "image_id": f"image {i}",
            "patient_id": f"patient {i % (patients or count)}",
            "opacity_boxes": BOX if i < with_boxes else NONE,
        }
        for i in range(count)
    ]


@pytest.mark.parametrize(("count", "with_boxes"), [(10, 2), (10, 10), (30, 29), (50, 25)])
def test_a_draw_has_boxes_and_leaves_boxes(count: int, with_boxes: int) -> None:
    items = items_of(count, with_boxes)
    chosen = draw_from_labels(items)
    positive = {item["image_id"] for item in items if len(item["opacity_boxes"])}
    assert positive & set(chosen) and positive - set(chosen)
    assert len(chosen) == len(set(chosen)) <= count // 2
    assert draw_from_labels(items[::-1]) == chosen  # whatever the order


def test_patients_are_not_divided() -> None:
    items = items_of(40, 20, patients=13)
    chosen = set(draw_from_labels(items))
    sides: dict[str, set[bool]] = {}
    for item in items:
        sides.setdefault(item["patient_id"], set()).add(item["image_id"] in chosen)
    assert all(len(side) == 1 for side in sides.values())


@pytest.mark.parametrize(("count", "with_boxes"), [(0, 0), (9, 5), (20, 1), (20, 0)])
def test_too_few_labels_are_refused(count: int, with_boxes: int) -> None:
    with pytest.raises(InputError, match="expected labels of at least 10 patients, 2 of them with boxes"):
        draw_from_labels(items_of(count, with_boxes))


def test_the_choice_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "validation.json"
    first = fixed_images(path, items_of(300, 150), [], "")
    assert first.source == "labels" and enough_to_decide(
        [i for i in items_of(300, 150) if i["image_id"] in first.image_ids]
    )
    assert fixed_images(path, items_of(900, 400), [], "") == first
    assert fixed_images(path, items_of(300, 150), items_of(5, 5), "rsna") == first  # original data came later


def test_too_few_images_are_added_to_but_never_from_what_was_trained_on(tmp_path: Path) -> None:
    path, chosen, trained = tmp_path / "validation.json", set[str](), set[str]()
    for count in range(20, 400, 7):  # patient i has images i, i + 400: labels of known patients come, too
        items = items_of(count, count // 2) + [
            {**item, "image_id": f"again {item['image_id']}"} for item in items_of(count // 3, count // 6)
        ]
        now = set(fixed_images(path, items, [], "").image_ids)
        assert chosen <= now and not now & trained
        patients = {item["patient_id"] for item in items if item["image_id"] in now}
        chosen = now
        trained |= {item["image_id"] for item in items if item["patient_id"] not in patients}
    found = [item for item in items if item["image_id"] in chosen]
    assert enough_to_decide(found) and 50 <= len(chosen) < 80
    assert json.loads(path.read_text())["seen"]


def test_a_choice_of_an_earlier_version_stays(tmp_path: Path) -> None:
    path = tmp_path / "validation.json"
    first = fixed_images(path, items_of(20, 10), [], "")
    values = json.loads(path.read_text())
    del values["seen"]  # which images were trained on is not known
    path.write_text(json.dumps(values))
    assert fixed_images(path, items_of(300, 150), [], "").image_ids == first.image_ids


def test_original_data_are_validated_on_where_there_are_any(tmp_path: Path) -> None:
    path = tmp_path / "validation.json"
    many = items_of(MAX_IMAGES + 100, 50)
    chosen = fixed_images(path, items_of(1, 1), many, "rsna")
    assert chosen.source == "replay" and len(chosen.image_ids) == MAX_IMAGES
    assert fixed_images(path, [], many[::-1], "rsna") == chosen
    for other in ("", "vindr"):
        with pytest.raises(InputError, match="^replay: expected rsna, from which the validation images were drawn"):
            fixed_images(path, items_of(20, 10), [], other)


@pytest.mark.parametrize("text", ["", "[]", '{"source": "x", "dataset": "", "image_ids": []}', '{"image_ids": [1]}'])
def test_a_damaged_record_is_not_drawn_again_in_silence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "validation.json"
    path.write_text(text)
    with pytest.raises(InputError, match="expected the ids of the validation images"):
        fixed_images(path, items_of(20, 10), [], "")


def test_the_digest_tells_when_a_truth_was_corrected() -> None:
    items = items_of(4, 2)
    moved = [{**items[0], "opacity_boxes": BOX + 1}, *items[1:]]
    assert truth_digest(items) == truth_digest(items[::-1]) != truth_digest(moved)
    assert json.dumps(truth_digest(items))
