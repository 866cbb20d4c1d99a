"""Which box of one set belongs to which of another, when neither is the truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment


def pair_boxes(gain: ArrayLike, least: float = 0.0) -> list[tuple[int, int]]:
    """One-to-one pairs with the largest sum of ``gain`` (N, M), such as IoU; those not above ``least`` are no pairs."""
    table = np.asarray(gain, dtype=np.float64)
    if not table.size:
        return []
    return [(int(i), int(j)) for i, j in zip(*linear_sum_assignment(-table), strict=True) if table[i, j] > least]
