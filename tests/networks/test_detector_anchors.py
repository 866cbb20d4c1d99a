"""Anchors fit opacities, and scale with the image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data.box_utils import box_iou
from PIL import Image

from monai_dgm.data.manifest import load_manifest
from monai_dgm.transforms.geometry import RadiographGeometry
from tests.networks.anchors import all_anchors


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
