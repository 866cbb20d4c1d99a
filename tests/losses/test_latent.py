"""KL and latent regression, the terms that the authors tried and left out."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from monai_dgm.losses.latent import kl_loss, latent_regression_loss


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
