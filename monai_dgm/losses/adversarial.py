"""Adversarial losses: least squares (paper, eq. 1 and 7) and cross entropy, and a gradient penalty."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "cross_entropy_loss",
    "discriminator_adversarial_loss",
    "generator_adversarial_loss",
    "least_squares_loss",
    "r1_penalty",
]


def least_squares_loss(scores: Sequence[Tensor], target: float) -> Tensor:
    """E[(D - target)^2], summed over the scales of D (Mao et al. 2017, as CycleGAN and MUNIT use it, without the 1/2).

    Args:
        scores: D's scores for each scale, any shapes.
        target: 1 for images that count as real, 0 for synthesised ones.
    """
    return torch.stack([(scale.float() - target).square().mean() for scale in scores]).sum()


def cross_entropy_loss(scores: Sequence[Tensor], target: float) -> Tensor:
    """Binary cross entropy of sigmoid(D) to a constant, summed over the scales of D (as DRIT uses it).

    Args:
        scores: logits of D for each scale, any shapes.
        target: 1 for images that count as real, 0 for synthesised ones; 0.5 where D is to be undecided.
    """
    each = [
        F.binary_cross_entropy_with_logits(scale.float(), torch.full_like(scale, target).float()) for scale in scores
    ]
    return torch.stack(each).sum()


def generator_adversarial_loss(fake_scores: Sequence[Tensor]) -> Tensor:
    """l_A = 1/2 E[(D(y') - 1)^2], summed over the scales of D (eq. 1, with the D that its print leaves out).

    Args:
        fake_scores: D(y') for each scale, any shapes.
    """
    return 0.5 * least_squares_loss(fake_scores, 1.0)


def discriminator_adversarial_loss(real_scores: Sequence[Tensor], fake_scores: Sequence[Tensor]) -> Tensor:
    """l_D = 1/2 E[D(y')^2] + 1/2 E[(D(y) - 1)^2], summed over the scales of D (eq. 7).

    Args:
        real_scores: D(y) of real normal radiographs, for each scale.
        fake_scores: D(y') of synthesised ones, for each scale.
    """
    return 0.5 * least_squares_loss(fake_scores, 0.0) + 0.5 * least_squares_loss(real_scores, 1.0)


def r1_penalty(real_scores: Sequence[Tensor], real: Tensor) -> Tensor:
    """R1 = 1/2 E[|grad_y D(y)|^2] over real images (Mescheder et al. 2018, eq. 9); not in the paper.

    Args:
        real_scores: D(y) for each scale, computed from ``real``.
        real: (B, C, S, S), requires gradients.
    """
    total = torch.stack([scores.float().mean(dim=(1, 2, 3)).sum() for scores in real_scores]).sum()
    (gradient,) = torch.autograd.grad(total, real, create_graph=True)
    return 0.5 * gradient.float().square().sum(dim=(1, 2, 3)).mean()
