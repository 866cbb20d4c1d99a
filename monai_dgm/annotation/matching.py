"""Which box of one set belongs to which of another."""

from __future__ import annotations

import numpy as np
from monai.data.box_utils import box_iou
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

FloatArray = NDArray[np.float64]


def iou_matrix(first: ArrayLike, second: ArrayLike) -> FloatArray:
    """Intersection over union of boxes (N, 4) and (M, 4): float64 (N, M) in [0, 1]."""
    ones, others = (np.asarray(boxes, dtype=np.float64).reshape(-1, 4) for boxes in (first, second))
    if not len(ones) or not len(others):
        return np.zeros((len(ones), len(others)))
    return np.asarray(box_iou(ones, others), dtype=np.float64)


def match_boxes(gain: ArrayLike, least: float = 0.0) -> list[tuple[int, int]]:
    """One-to-one pairs with the largest sum of ``gain`` (N, M), such as IoU; those not above ``least`` are no pairs."""
    table = np.asarray(gain, dtype=np.float64)
    if not table.size:
        return []
    return [(int(i), int(j)) for i, j in zip(*linear_sum_assignment(-table), strict=True) if table[i, j] > least]
