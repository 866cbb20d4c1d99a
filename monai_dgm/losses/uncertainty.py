"""Reconstruction with a predicted uncertainty for each pixel (Mao et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["uncertainty_loss"]


def uncertainty_loss(mean: Tensor, log_variance: Tensor, image: Tensor) -> Tensor:
    """Mean over pixels of (x - mean)^2 / variance + log variance.

    Args:
        mean, log_variance: of the reconstruction, (B, C, S, S).
        image: x, (B, C, S, S).

    Source: Mao et al. 2020, "Abnormality detection in chest X-ray images using uncertainty prediction autoencoders",
    eq. 3, and the code of DDAD's authors.
    """
    error = (image.float() - mean.float()).square()
    return (torch.exp(-log_variance.float()) * error + log_variance.float()).mean()
