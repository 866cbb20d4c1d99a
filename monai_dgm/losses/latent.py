"""Losses on codes: those that the authors tried and left out (paper, section 6), and DRIT's."""

from __future__ import annotations

from torch import Tensor

__all__ = ["gaussian_kl_loss", "kl_loss", "latent_regression_loss", "mode_seeking_loss"]


def kl_loss(code: Tensor) -> Tensor:
    """KL divergence of N(code, 1) from N(0, 1) per element: mean of code^2 / 2 (as in MUNIT, DRIT).

    Args:
        code: c_s, any shape.
    """
    return 0.5 * code.float().square().mean()


def latent_regression_loss(code_of_reconstruction: Tensor, code: Tensor) -> Tensor:
    """|E(z'') - E(z)|_1: encoding the joint reconstruction must give the code back.

    Args:
        code_of_reconstruction: code of z'', gradients flow through it.
        code: code of z, a target (detached here).
    """
    return (code_of_reconstruction.float() - code.detach().float()).abs().mean()


def gaussian_kl_loss(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of N(mean, variance) from N(0, 1), summed over the code, averaged over the images.

    Args:
        mean, log_variance: (B, K).
    """
    mean, log_variance = mean.float(), log_variance.float()
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1).mean()


def mode_seeking_loss(first: Tensor, second: Tensor, first_code: Tensor, second_code: Tensor) -> Tensor:
    """1 / (|G(c, z1) - G(c, z2)| / |z1 - z2|): other codes must give other images (Mao et al. 2019, eq. 4).

    Args:
        first, second: images of the same contents with two codes, (B, C, S, S).
        first_code, second_code: the codes, (B, K).
    """
    images = (first.float() - second.float()).abs().mean()
    return 1 / (images / (first_code.float() - second_code.float()).abs().mean() + 1e-5)
