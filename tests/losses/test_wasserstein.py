"""The critic's losses against NumPy, and the gradient penalty against finite differences of the critic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from monai_dgm.losses.wasserstein import critic_loss, gradient_penalty, wasserstein_generator_loss


def test_losses_are_differences_of_means() -> None:
    real, fake = torch.randn(5), torch.randn(3)
    assert critic_loss(real, fake).item() == pytest.approx(np.mean(fake.numpy()) - np.mean(real.numpy()), rel=1e-5)
    assert wasserstein_generator_loss(fake).item() == pytest.approx(-np.mean(fake.numpy()), rel=1e-5)


def test_what_a_critic_gains_a_generator_loses() -> None:
    real, fake = torch.zeros(2), torch.full((2,), 3.0)
    assert critic_loss(real, fake) == 3.0 and wasserstein_generator_loss(fake) == -3.0


class SmoothCritic(nn.Module):
    """Of double precision, with second derivatives."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 1, 3)).double()

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(image).mean(dim=(1, 2, 3))


def numerical_penalty(critic: nn.Module, points: Tensor, step: float = 1e-5) -> float:
    """E[(|grad D| - 1)^2] by central differences, pixel by pixel."""
    values = []
    for point in points:
        gradient = np.zeros(point.numel())
        for pixel in range(point.numel()):
            moved = torch.zeros(point.numel(), dtype=point.dtype)
            moved[pixel] = step
            moved = moved.view_as(point)
            with torch.no_grad():
                above, below = critic((point + moved)[None]), critic((point - moved)[None])
            gradient[pixel] = float(above - below) / (2 * step)
        values.append((np.sqrt(np.sum(gradient**2)) - 1) ** 2)
    return float(np.mean(values))


def test_penalty_is_that_of_finite_differences_between_the_images() -> None:
    torch.manual_seed(0)
    critic = SmoothCritic()
    real, fake = torch.rand(2, 2, 1, 6, 6, dtype=torch.float64)
    share = torch.tensor([0.3, 0.8], dtype=torch.float64)
    points = torch.stack([0.3 * real[0] + 0.7 * fake[0], 0.8 * real[1] + 0.2 * fake[1]])
    penalty = gradient_penalty(critic, real, fake, share)
    assert penalty.item() == pytest.approx(numerical_penalty(critic, points), rel=1e-6)


def test_gradients_of_the_penalty_are_those_of_finite_differences() -> None:
    """What trains the critic is the derivative of a derivative."""
    torch.manual_seed(1)
    critic = SmoothCritic()
    real, fake = torch.rand(2, 2, 1, 6, 6, dtype=torch.float64)
    share = torch.rand(2, dtype=torch.float64)
    weight = critic.layers[0].weight
    (gradient,) = torch.autograd.grad(gradient_penalty(critic, real, fake, share), weight)
    for index in ((0, 0, 1, 1), (2, 0, 0, 2)):
        values = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                weight[index] += step
            values.append(gradient_penalty(critic, real, fake, share).item())
            with torch.no_grad():
                weight[index] -= step
        assert gradient[index].item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5)


def test_a_critic_of_slope_one_pays_nothing() -> None:
    direction = torch.randn(1, 4, 4)
    direction = direction / direction.norm()
    images = torch.rand(2, 3, 1, 4, 4)
    assert gradient_penalty(lambda x: (x * direction).sum(dim=(1, 2, 3)), *images, torch.rand(3)) < 1e-10


def test_no_gradient_reaches_the_generator() -> None:
    fake = torch.rand(1, 1, 4, 4, requires_grad=True)
    penalty = gradient_penalty(lambda x: x.square().sum(dim=(1, 2, 3)), torch.rand(1, 1, 4, 4), fake, torch.rand(1))
    assert penalty.grad_fn is None or torch.autograd.grad(penalty, fake, allow_unused=True) == (None,)
