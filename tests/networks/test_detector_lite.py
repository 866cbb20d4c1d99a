"""The detector on EfficientNet-lite2: the maps of the pyramid, training and detection as with the other backbones."""

from __future__ import annotations

import pytest
import torch

from monai_dgm.networks.detector import OpacityDetector


@pytest.mark.parametrize(("size", "cells"), [(64, [16, 8, 4, 2]), (160, [20, 10, 5])])
def test_pyramid_has_the_cells_of_its_anchors(size: int, cells: list[int]) -> None:
    detector = OpacityDetector(2, "efficientnet_lite2", size, fpn_channels=16).eval()
    with torch.no_grad():
        maps = detector.network.feature_extractor(torch.zeros(1, 2, size, size))
        found = detector(torch.zeros(1, 2, size, size))
    assert [tuple(level.shape) for level in maps.values()] == [(1, 16, side, side) for side in cells]
    assert found.shape == (1, 5, sum(side**2 for side in cells) * detector.num_anchors)


def test_it_learns_one_image() -> None:
    torch.manual_seed(0)
    image, boxes = torch.rand(2, 1, 64, 64) * 2 - 1, [torch.tensor([[10.0, 20.0, 40.0, 60.0]]), torch.zeros(0, 4)]
    image[0, :, 20:60, 10:40] += 1
    detector = OpacityDetector(1, "efficientnet_lite2", 64, fpn_channels=16)
    optimizer = torch.optim.Adam(detector.parameters(), 2e-3)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = detector.training_losses(image, boxes)["loss"]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-3:]) < 0.7 * losses[0]
    assert all(boxes.shape[1] == 4 for boxes, _ in detector.eval().detect(image))
