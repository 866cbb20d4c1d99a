"""KL and latent regression, the terms that the authors tried and left out, and what DRIT has of such terms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from monai_dgm.losses.latent import gaussian_kl_loss, kl_loss, latent_regression_loss, mode_seeking_loss


def test_kl_is_that_of_a_unit_gaussian_about_the_code() -> None:
    code = torch.randn(2, 8, 3, 3)
    expected = kl_divergence(Normal(code, 1.0), Normal(0.0, 1.0)).mean()
    assert kl_loss(code).item() == pytest.approx(expected.item(), rel=1e-6)
    assert kl_loss(torch.zeros(2, 3)) == 0


def test_latent_regression_moves_the_code_of_the_reconstruction_alone() -> None:
    again, code = torch.randn(2, 4, 3, 3, requires_grad=True), torch.randn(2, 4, 3, 3, requires_grad=True)
    loss = latent_regression_loss(again, code)
    assert loss.item() == pytest.approx((again - code).abs().sum().item() / again.numel(), rel=1e-6)
    loss.backward()
    assert again.grad is not None and again.grad.abs().max() > 0
    assert code.grad is None


def test_kl_of_a_gaussian_code_is_summed_over_the_code() -> None:
    mean, log_variance = torch.randn(3, 8), torch.randn(3, 8)
    expected = kl_divergence(Normal(mean, log_variance.mul(0.5).exp()), Normal(0.0, 1.0)).sum(dim=1).mean()
    assert gaussian_kl_loss(mean, log_variance).item() == pytest.approx(expected.item(), rel=1e-5)
    assert gaussian_kl_loss(torch.zeros(2, 8), torch.zeros(2, 8)) == 0


def test_mode_seeking_falls_as_images_of_two_codes_differ_more() -> None:
    first, second, code_1, code_2 = (
        torch.randn(2, 1, 4, 4),
        torch.randn(2, 1, 4, 4),
        torch.randn(2, 8),
        torch.randn(2, 8),
    )
    ratio = np.mean(np.abs((first - second).numpy())) / np.mean(np.abs((code_1 - code_2).numpy()))
    assert mode_seeking_loss(first, second, code_1, code_2).item() == pytest.approx(1 / (ratio + 1e-5), rel=1e-5)
    same = mode_seeking_loss(first, first, code_1, code_2)
    assert same.item() == pytest.approx(1e5, rel=1e-3)
