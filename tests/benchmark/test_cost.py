"""FLOPs as they are defined, also within a gradient penalty."""

from __future__ import annotations

import torch
from torch import nn

from monai_dgm.benchmark.cost import _flops, _millions


def test_flops_of_a_convolution_and_a_product() -> None:
    layer, image = nn.Conv2d(3, 8, 3, padding=1), torch.zeros(2, 3, 16, 16)
    assert _flops(lambda: layer(image)) == 2 * (2 * 8 * 16 * 16) * (3 * 9) / 1e9
    a, b = torch.zeros(4, 5), torch.zeros(5, 6)
    assert _flops(lambda: a @ b) == 2 * 4 * 5 * 6 / 1e9


def test_flops_are_counted_within_a_gradient_of_a_gradient() -> None:
    critic = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.LeakyReLU(), nn.Conv2d(4, 1, 3, padding=1))
    image = torch.randn(2, 1, 8, 8, requires_grad=True)

    def penalty() -> None:
        gradient = torch.autograd.grad(critic(image).sum(), image, create_graph=True)[0]
        (gradient.norm() - 1).square().backward()

    assert _flops(penalty) > 2 * _flops(lambda: critic(image))


def test_parameters_that_two_parts_share_are_counted_once() -> None:
    layer = nn.Linear(10, 10)
    assert _millions([layer, nn.Sequential(layer)]) == 110 / 1e6
