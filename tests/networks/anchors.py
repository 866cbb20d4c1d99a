"""Anchors of the opacity detector."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_dgm.networks.detector import opacity_anchors, pyramid_levels, swap_axes


def all_anchors(size: int) -> Tensor:
    """(A, 4) of ours, x along the columns."""
    maps = [torch.zeros(1, 1, size // 2 ** (level + 1), size // 2 ** (level + 1)) for level in pyramid_levels(size)]
    return swap_axes(opacity_anchors(size)(torch.zeros(1, 1, size, size), maps)[0])
