"""Total variation (paper, eq. 5)."""

from __future__ import annotations

from torch import Tensor

__all__ = ["total_variation_loss"]


def total_variation_loss(image: Tensor) -> Tensor:
    """Anisotropic total variation, as a mean over neighbouring pairs instead of eq. 5's sum.

    Args:
        image: y', (B, C, H, W).

    Returns:
        mean |y'[i+1, j] - y'[i, j]| + mean |y'[i, j+1] - y'[i, j]|: the same at every resolution for the same
        steepness, so that lambda_TV keeps its meaning per pixel.
    """
    image = image.float()
    vertical = (image[:, :, 1:, :] - image[:, :, :-1, :]).abs().mean()
    horizontal = (image[:, :, :, 1:] - image[:, :, :, :-1]).abs().mean()
    return vertical + horizontal
