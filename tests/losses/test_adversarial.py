"""LSGAN losses and the R1 penalty against NumPy transcriptions of eq. 1, eq. 7 and Mescheder et al. 2018, eq. 9."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from monai_dgm.losses.adversarial import (
    cross_entropy_loss,
    discriminator_adversarial_loss,
    generator_adversarial_loss,
    least_squares_loss,
    r1_penalty,
)

SHAPES = [(2, 1, 14, 14), (2, 1, 7, 7), (2, 1, 3, 3)]


def scores() -> list[Tensor]:
    return [torch.randn(*shape) for shape in SHAPES]


def test_generator_loss_is_equation_1_on_each_scale() -> None:
    fake = scores()
    expected = sum(0.5 * np.mean((d.numpy() - 1.0) ** 2) for d in fake)
    assert generator_adversarial_loss(fake).item() == pytest.approx(expected, rel=1e-6)


def test_discriminator_loss_is_equation_7_on_each_scale() -> None:
    real, fake = scores(), scores()
    expected = sum(0.5 * np.mean(f.numpy() ** 2) for f in fake)
    expected += sum(0.5 * np.mean((r.numpy() - 1.0) ** 2) for r in real)
    assert discriminator_adversarial_loss(real, fake).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_least_squares_without_the_half(target: float) -> None:
    fake = scores()
    expected = sum(np.mean((d.numpy() - target) ** 2) for d in fake)
    assert least_squares_loss(fake, target).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("target", [0.0, 0.5, 1.0])
def test_cross_entropy_of_the_sigmoid(target: float) -> None:
    logits = scores()
    expected = 0.0
    for scale in logits:
        p = 1 / (1 + np.exp(-scale.numpy().astype(np.float64)))
        expected += np.mean(-target * np.log(p) - (1 - target) * np.log(1 - p))
    assert cross_entropy_loss(logits, target).item() == pytest.approx(expected, rel=1e-5)


def test_an_undecided_discriminator_has_the_least_cross_entropy_to_one_half() -> None:
    loss = cross_entropy_loss([torch.zeros(4)], 0.5).item()
    assert loss == pytest.approx(np.log(2)) and loss < cross_entropy_loss([torch.full((4,), 0.3)], 0.5).item()


def test_optima() -> None:
    ones, zeros = [torch.ones(s) for s in SHAPES], [torch.zeros(s) for s in SHAPES]
    assert generator_adversarial_loss(ones) == 0
    assert discriminator_adversarial_loss(ones, zeros) == 0
    half = [torch.full(s, 0.5) for s in SHAPES]  # a D that cannot tell: 0.25 a scale
    assert discriminator_adversarial_loss(half, half).item() == pytest.approx(0.25 * len(SHAPES))


def test_real_and_fake_batches_may_differ_in_size() -> None:
    real, fake = [torch.rand(1, 1, 2, 2)], [torch.rand(4, 1, 2, 2)]
    expected = 0.5 * np.mean(fake[0].numpy() ** 2) + 0.5 * np.mean((real[0].numpy() - 1) ** 2)
    assert discriminator_adversarial_loss(real, fake).item() == pytest.approx(expected, rel=1e-6)


def test_half_precision_scores_are_summed_in_single_precision() -> None:
    fake = [torch.full((1, 1, 64, 64), 1.5, dtype=torch.bfloat16)]
    loss = generator_adversarial_loss(fake)
    assert loss.dtype == torch.float32
    assert loss.item() == 0.125


def test_r1_of_a_linear_discriminator_is_half_its_squared_weights() -> None:
    """D(y) = <w, y>, and a second scale <v, y>: the gradient is w + v whatever y is."""
    w, v = torch.randn(1, 5, 5, dtype=torch.float64), torch.randn(1, 5, 5, dtype=torch.float64)
    real = torch.randn(3, 1, 5, 5, dtype=torch.float64, requires_grad=True)
    heads = [(real * weight).sum(dim=(1, 2, 3)).view(3, 1, 1, 1) for weight in (w, v)]
    expected = 0.5 * np.sum((w + v).numpy() ** 2)
    assert r1_penalty(heads, real).item() == pytest.approx(expected, rel=1e-5)


def test_r1_takes_the_mean_over_patches_and_images() -> None:
    """D_i(y) = c y_i^2 pixel by pixel: the score's gradient is 2 c y / n; E[|.|^2] by hand."""
    real = torch.randn(4, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    gradient = 2 * 0.7 * real.detach().numpy() / 9
    expected = 0.5 * np.mean(np.sum(gradient**2, axis=(1, 2, 3)))
    assert r1_penalty([0.7 * real.square()], real).item() == pytest.approx(expected, rel=1e-5)


def test_r1_teaches_the_weights() -> None:
    w = torch.randn(1, 5, 5, requires_grad=True)
    real = torch.randn(2, 1, 5, 5, requires_grad=True)
    score = (real * w).sum(dim=(1, 2, 3)).view(2, 1, 1, 1)
    (gradient,) = torch.autograd.grad(r1_penalty([score], real), w)
    torch.testing.assert_close(gradient, w.detach())  # of |w|^2 / 2
