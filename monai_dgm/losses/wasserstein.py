"""Losses of a Wasserstein critic with a gradient penalty (Gulrajani et al. 2017), as VA-GAN uses them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["critic_loss", "gradient_penalty", "wasserstein_generator_loss"]


def critic_loss(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """E[D(y')] - E[D(y)]: minus the critic's estimate of the Wasserstein distance.

    Args:
        real_scores, fake_scores: of real and of synthesised normal images, (B,) each; their lengths may differ.
    """
    return fake_scores.float().mean() - real_scores.float().mean()


def wasserstein_generator_loss(fake_scores: Tensor) -> Tensor:
    """-E[D(y')]: a generator raises the critic's score.

    Args:
        fake_scores: (B,).
    """
    return -fake_scores.float().mean()


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """E[(|grad D(x)|_2 - 1)^2] at points between real and synthesised images; the norm is that of a whole image.

    Args:
        critic: (B, C, S, S) -> (B,).
        real, fake: (B, C, S, S); no gradient flows into them.
        share: of the real image in each point, (B,) in [0, 1].

    Source: Gulrajani et al. 2017, eq. 3.
    """
    share = share.view(-1, 1, 1, 1)
    between = (share * real.detach() + (1 - share) * fake.detach()).requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    norm = gradient.flatten(1).norm(dim=1)
    return (norm - 1).square().mean()
