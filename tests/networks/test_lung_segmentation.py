"""Lung segmentors: shapes, stride, dilation, exports, and that they learn."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from monai_dgm.networks.lung_segmentation import CrissCrossLungNet, build_lung_network, lung_unet

SMALL: dict[str, dict[str, Any]] = {"unet": {"width": 4}, "criss_cross": {"layers": (1, 1, 1, 1), "width": 4}}


@pytest.mark.parametrize("architecture", SMALL)
@pytest.mark.parametrize("shape", [(1, 1, 32, 32), (2, 1, 64, 96)])
def test_logits_have_the_images_shape(architecture: str, shape: tuple[int, ...]) -> None:
    network = build_lung_network(architecture, SMALL[architecture]).eval()
    with torch.no_grad():
        logits = network(torch.rand(shape) * 2 - 1)
    assert logits.shape == shape and torch.isfinite(logits).all()


def test_default_is_resnet101() -> None:
    with torch.device("meta"):
        network = CrissCrossLungNet()
    blocks = [len(stage) for stage in network.stages]
    convolutions = [m for stage in network.stages for m in stage.modules() if isinstance(m, nn.Conv2d)]
    assert blocks == [3, 4, 23, 3]
    assert sum(m.weight.numel() for m in convolutions) == pytest.approx(42.4e6, rel=0.01)  # ResNet101 without stem, fc


def test_output_stride_is_eight_with_dilated_last_stages() -> None:
    network = CrissCrossLungNet(layers=(1, 2, 2, 2), width=4).eval()
    with torch.no_grad():
        features = network.stages(network.stem(torch.zeros(1, 1, 64, 64)))
    assert features.shape == (1, 4 * 32, 8, 8)
    for stage, rate in ((2, 2), (3, 4)):
        spatial = [m for m in network.stages[stage].modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
        assert len(spatial) == 2 and all(m.dilation == m.padding == (rate, rate) for m in spatial)
    assert all(m.dilation == (1, 1) for m in network.stages[:2].modules() if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize("architecture", SMALL)
def test_scripted_gives_the_same(architecture: str) -> None:
    network = build_lung_network(architecture, SMALL[architecture]).eval()
    image = torch.rand(1, 1, 32, 32) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.script(network)(image), network(image))


@pytest.mark.parametrize("architecture", SMALL)
def test_learns_a_bright_square(architecture: str) -> None:
    network = build_lung_network(architecture, SMALL[architecture])
    image = -torch.ones(2, 1, 32, 32)
    image[0, :, 8:24, 8:24] = 1
    image[1, :, 8:24, 0:16] = 1
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    losses = []
    for _ in range(12):
        loss = nn.functional.binary_cross_entropy_with_logits(network(image), (image > 0).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_unet_is_small() -> None:
    assert sum(p.numel() for p in lung_unet().parameters()) < 2e6


def test_unknown_architecture() -> None:
    with pytest.raises(ValueError, match="architecture: expected one of unet, criss_cross, got 'vnet'"):
        build_lung_network("vnet")
