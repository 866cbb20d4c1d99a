"""Least-squares adversarial losses (paper, eq. 1 and 7) and a gradient penalty."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["discriminator_adversarial_loss", "generator_adversarial_loss", "r1_penalty"]


def generator_adversarial_loss(fake_scores: Sequence[Tensor]) -> Tensor:
    """l_A = 1/2 E[(D(y') - 1)^2], summed over the scales of D (eq. 1, with the D that its print leaves out).

    Args:
        fake_scores: D(y') for each scale, any shapes.
    """
    return 0.5 * torch.stack([(scores.float() - 1).square().mean() for scores in fake_scores]).sum()


def discriminator_adversarial_loss(real_scores: Sequence[Tensor], fake_scores: Sequence[Tensor]) -> Tensor:
    """l_D = 1/2 E[D(y')^2] + 1/2 E[(D(y) - 1)^2], summed over the scales of D (eq. 7).

    Args:
        real_scores: D(y) of real normal radiographs, for each scale.
        fake_scores: D(y') of synthesised ones, for each scale.
    """
    fake = torch.stack([scores.float().square().mean() for scores in fake_scores]).sum()
    real = torch.stack([(scores.float() - 1).square().mean() for scores in real_scores]).sum()
    return 0.5 * fake + 0.5 * real


def r1_penalty(real_scores: Sequence[Tensor], real: Tensor) -> Tensor:
    """R1 = 1/2 E[|grad_y D(y)|^2] over real images (Mescheder et al. 2018, eq. 9); not in the paper.

    Args:
        real_scores: D(y) for each scale, computed from ``real``.
        real: (B, C, S, S), requires gradients.
    """
    total = torch.stack([scores.float().mean(dim=(1, 2, 3)).sum() for scores in real_scores]).sum()
    (gradient,) = torch.autograd.grad(total, real, create_graph=True)
    return 0.5 * gradient.float().square().sum(dim=(1, 2, 3)).mean()
