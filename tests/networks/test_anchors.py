"""Anchors fit opacities, and are matched and taught as in the RetinaNet paper."""

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
from monai_dgm.networks.anchors import (
    BoxLossPerOpacity,
    FocalLossPerOpacity,
    IoUMatcher,
    opacity_anchors,
    pyramid_levels,
)
from monai_dgm.networks.detector import swap_axes
from monai_dgm.transforms.geometry import RadiographGeometry

NONE = torch.zeros(0, 4)


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
    overlap, matches = IoUMatcher()(boxes, anchors, [5], 1)
    assert overlap.shape == (2, 5)
    # found, found (0.56), neither (0.45), nothing (0.33), and the second box's best, poor as it is
    assert matches.tolist() == [0, 0, -2, -1, 1]
    assert (IoUMatcher()(NONE, anchors, [5], 1)[1] == -1).all()


def test_a_box_that_no_anchor_touches_is_given_to_none() -> None:
    matches = IoUMatcher()(torch.tensor([[90.0, 90, 99, 99]]), torch.tensor([[0.0, 0, 9, 9], [9, 9, 19, 19]]), [2], 1)[
        1
    ]
    assert (matches < 0).all()


def test_focal_loss_is_the_papers() -> None:
    logits, target = torch.randn(50, 1), (torch.rand(50, 1) < 0.2).float()
    expected = 0.0
    for z, y in zip(logits.flatten().tolist(), target.flatten().tolist(), strict=True):
        p = 1 / (1 + math.exp(-z))
        pt, alpha = (p, 0.25) if y else (1 - p, 0.75)
        expected -= alpha * (1 - pt) ** 2 * math.log(pt)
    assert float(FocalLossPerOpacity()(logits, target)) == pytest.approx(expected / float(target.sum()), rel=1e-5)
    assert torch.isfinite(FocalLossPerOpacity()(logits, torch.zeros_like(target)))


def test_box_loss_counts_boxes() -> None:
    one = BoxLossPerOpacity()(torch.full((1, 4), 1.0), torch.zeros(1, 4))
    assert float(one) == pytest.approx(4 * (1 - 0.5 / 9))
    assert float(BoxLossPerOpacity()(torch.full((7, 4), 1.0), torch.zeros(7, 4))) == pytest.approx(float(one))
