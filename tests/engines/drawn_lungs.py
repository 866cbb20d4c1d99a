"""Lungs drawn as ellipses, for tests of what looks at lungs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def lungs(seed: int = 0, rows: int = 64, cols: int = 64, certainty: float = 0.98) -> NDArray[np.float64]:
    """Probability of two elliptic lungs whose size and place vary as people do."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :cols].astype(float) + 0.5
    plane = np.full((rows, cols), 1 - certainty)
    for middle, wide in ((0.3, 0.13), (0.7, 0.12)):
        cx = cols * (middle + rng.normal(0, 0.012))
        cy = rows * (0.5 + rng.normal(0, 0.012))
        a, b = cols * wide * np.exp(rng.normal(0, 0.06)), rows * 0.33 * np.exp(rng.normal(0, 0.06))
        plane[((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 < 1] = certainty
    return plane
