"""Losses on the codes that the authors tried and left out (paper, section 6)."""

from __future__ import annotations

from torch import Tensor

__all__ = ["kl_loss", "latent_regression_loss"]


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
