"""Anchors fit opacities, and their matching and losses are those of the RetinaNet paper."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data.box_utils import box_iou
from PIL import Image
from torch import Tensor

from monai_dgm.data.manifest import load_manifest
from monai_dgm.networks.detector import (
    _BoxLoss,
    _FocalLoss,
    anchor_matcher,
    opacity_anchors,
    pyramid_levels,
    swap_axes,
)
from monai_dgm.transforms.geometry import RadiographGeometry


def all_anchors(size: int) -> Tensor:
    """(A, 4) of ours."""
    maps = [torch.zeros(1, 1, size // 2 ** (level + 1), size // 2 ** (level + 1)) for level in pyramid_levels(size)]
    return swap_axes(opacity_anchors(size)(torch.zeros(1, 1, size, size), maps)[0])


@pytest.mark.parametrize("size", [96, 128, 224])
def test_anchors_fit_opacities(real_data: Path, size: int) -> None:
    """Nearly every true box (99.0 % at 96 px) overlaps some anchor with IoU 0.5 or more, the matching's foreground."""
    boxes = [np.zeros((0, 4), np.float32)]
    with pytest.warns(UserWarning, match="upright_ok"):
        items = load_manifest(real_data / "cxr")
    for item in items:
        if len(item["opacity_boxes"]):
            with Image.open(item["image"]) as image:
                geometry = RadiographGeometry(image.height, image.width, size)
            boxes.append(geometry.boxes_to_model(item["opacity_boxes"]))
    overlap = box_iou(torch.from_numpy(np.concatenate(boxes)), all_anchors(size))
    assert (overlap.amax(dim=1) >= 0.5).float().mean() >= 0.989


def test_anchors_scale_with_the_image() -> None:
    sides = [anchor[2] - anchor[0] for anchor in (all_anchors(size)[0] for size in (224, 448))]
    assert float(sides[1] / sides[0]) == pytest.approx(2, abs=0.1)


def test_matcher() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 60]])
    anchors = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 18], [0, 0, 10, 22], [0, 0, 10, 30], [48, 48, 70, 70]])
    matches = anchor_matcher()(box_iou(boxes, anchors))
    # positive, positive (IoU 0.56), ignored (0.45), negative (0.33), and the best anchor of the second box (IoU 0.21)
    assert matches.tolist() == [0, 0, -2, -1, 1]


@pytest.mark.parametrize("seed", range(5))
def test_matches_of_random_boxes_are_those_of_a_plain_loop(seed: int) -> None:
    """Every anchor by itself, as the RetinaNet paper says it, in plain Python."""
    generator = torch.Generator().manual_seed(seed)
    corner = 40 * torch.rand(5, 2, generator=generator)
    boxes = torch.cat((corner, corner + 2 + 20 * torch.rand(5, 2, generator=generator)), dim=1)
    overlap = box_iou(swap_axes(boxes), swap_axes(all_anchors(64)))
    expected = []
    for column in overlap.T.tolist():
        best = max(column)
        own = any(value > 0 and value == float(row.max()) for value, row in zip(column, overlap, strict=True))
        index = column.index(best)
        expected.append(index if best >= 0.5 or own else -1 if best < 0.4 else -2)
    assert anchor_matcher()(overlap).tolist() == expected


def test_focal_loss_is_the_papers() -> None:
    logits, target = torch.randn(50, 1), (torch.rand(50, 1) < 0.2).float()
    expected = 0.0
    for z, y in zip(logits.flatten().tolist(), target.flatten().tolist(), strict=True):
        p = 1 / (1 + math.exp(-z))
        pt, alpha = (p, 0.25) if y else (1 - p, 0.75)
        expected -= alpha * (1 - pt) ** 2 * math.log(pt)
    assert float(_FocalLoss()(logits, target)) == pytest.approx(expected / float(target.sum()), rel=1e-5)
    assert torch.isfinite(_FocalLoss()(logits, torch.zeros_like(target)))


def test_box_loss_counts_boxes() -> None:
    one = _BoxLoss()(torch.full((1, 4), 1.0), torch.zeros(1, 4))
    assert float(one) == pytest.approx(4 * (1 - 0.5 / 9))
    assert float(_BoxLoss()(torch.full((7, 4), 1.0), torch.zeros(7, 4))) == pytest.approx(float(one))
