"""What is known of a datalist, as arrays, and the training set on a device that is made of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from monai_dgm.data.known_truth import describe_items
from monai_dgm.engines.training.resident import ResidentRadiographs

SIDE = 32
SOURCES = ("a", "b")


def item(patient: str, category: str, boxes: int, source: str = "a", reader: str | None = "drawer") -> dict[str, Any]:
    return {
        "patient_id": patient, "category": category, "label": int(category != "normal"), "source": source,
        "label_source": reader, "opacity_boxes": np.zeros((boxes, 4), np.float32),
    }  # fmt: skip


ITEMS = [
    item("p", "normal", 0),
    item("p", "lung_opacity", 2),
    item("q", "lung_opacity", 0, "b", "miner"),
    item("r", "other_abnormal", 0, "b"),
    item("s", "normal", 0, "b", "miner"),
]
BOXES = [np.array([[2, 4, 10, 12], [20, 20, 24, 28]], np.float32)[: len(one["opacity_boxes"])] for one in ITEMS]


def resident() -> ResidentRadiographs:
    images = np.arange(5 * SIDE * SIDE, dtype=np.uint32).astype(np.uint8).reshape(5, SIDE, SIDE)
    lungs = np.zeros((5, 8, 8), bool)
    lungs[:, 2:6] = True
    return ResidentRadiographs.gather(images, lungs, describe_items(ITEMS, BOXES, SOURCES))


def test_truth_of_a_datalist() -> None:
    known = describe_items(ITEMS, BOXES, SOURCES)
    assert known["boxes"].shape == (5, 2, 4) and not known["boxes"][[0, 2, 3, 4]].any()
    assert known["label"].tolist() == [0, 1, 1, 1, 0] and known["category"].tolist() == [0, 1, 1, 2, 0]
    assert known["complete"].tolist() == [False, True, False, False, False]
    assert known["empty"].tolist() == [True, False, False, True, False]  # a mined label proves no absence
    assert known["source"].tolist() == [0, 0, 1, 1, 1]
    assert known["half"][0] == known["half"][1] and set(known["half"]) <= {0, 1}


def test_a_batch_has_what_the_step_needs() -> None:
    data = resident()
    batch = data.batch(torch.tensor([1, 0]))
    torch.testing.assert_close(batch["image"], data.images[[1, 0]].float() / 127.5 - 1)
    assert batch["lungs"].shape == (2, 1, SIDE, SIDE) and batch["lungs"][0, 0, 8:24].all()
    weight = batch["box_weight"]
    assert weight[0, 0, 4:12, 2:10].sum().item() == pytest.approx(8) and not weight[1].any()
    assert batch["complete"].tolist() == [True, False] and batch["category"].tolist() == [1, 0]
    without = data.batch(torch.tensor([1, 0]), use_boxes=False)
    assert not without["box_weight"].any() and not without["complete"].any()


def test_sizes_of_boxes_are_fractions_of_the_side() -> None:
    torch.testing.assert_close(resident().box_sizes(), torch.tensor([[0.25, 0.25], [0.125, 0.25]]))


def test_draws_are_balanced_and_small_groups_count_more() -> None:
    data = resident()
    many = data.take(torch.tensor([0] * 16 + [4] + [1, 2, 3]))
    chances = many.chances(0.4)
    assert chances.sum().item() == pytest.approx(1)
    assert chances[:17].sum().item() == pytest.approx(0.4)
    assert (chances[16] / chances[0]).item() == pytest.approx(4)  # the root of 16 to 1
