"""The mean-box prior aligned to each patient's lungs: where opacities lie within the lungs, without looking at them.

Opacities follow the lungs, and lungs lie elsewhere in each radiograph. A residue is worth what it adds to this prior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

__all__ = ["FRAME_SIDE", "LungAlignedPrior"]

FRAME_SIDE = 64  # of the frame that lung boxes are brought to
MARGIN = 0.25  # of a lung box's sides, that the frame shows around it


@dataclass(frozen=True)
class LungAlignedPrior:
    """Share of training opacities that cover each place of a lung box.

    Attributes:
        frame: float32 (FRAME_SIDE, FRAME_SIDE) in [0, 1], the lung box with its margin.
    """

    frame: NDArray[np.float32]

    @classmethod
    def fit(cls, masks: Sequence[ArrayLike], lung_boxes: Sequence[ArrayLike]) -> LungAlignedPrior:
        """From opacity masks (S, S) of TRAINING images and the boxes (4,) of their lungs.

        Raises:
            ValueError: no mask marks anything, or there are not as many boxes as masks.
        """
        pairs = [(np.asarray(mask) != 0, box) for mask, box in zip(masks, lung_boxes, strict=True)]
        frames = [cls._to_frame(mask.astype(np.float32), box) for mask, box in pairs if mask.any()]
        if not frames:
            raise ValueError("masks: expected at least one opacity mask with a marked pixel, got none")
        return cls(np.mean(frames, axis=0).astype(np.float32))

    def place(self, lung_box: ArrayLike, shape: tuple[int, int]) -> NDArray[np.float32]:
        """The prior of a patient with this lung box (4,) in pixels, float32 of ``shape``; 0 beyond the frame."""
        left, top, width, height = _frame_of(lung_box)
        rows = (np.arange(shape[0]) + 0.5 - top) / height * FRAME_SIDE - 0.5
        cols = (np.arange(shape[1]) + 0.5 - left) / width * FRAME_SIDE - 0.5
        at = np.meshgrid(rows, cols, indexing="ij")
        return ndimage.map_coordinates(self.frame, at, order=1, mode="constant").astype(np.float32)

    @staticmethod
    def _to_frame(mask: NDArray[np.float32], lung_box: ArrayLike) -> NDArray[np.float32]:
        left, top, width, height = _frame_of(lung_box)
        places = (np.arange(FRAME_SIDE) + 0.5) / FRAME_SIDE
        at = np.meshgrid(top + places * height - 0.5, left + places * width - 0.5, indexing="ij")
        return ndimage.map_coordinates(mask, at, order=1, mode="constant").astype(np.float32)


def _frame_of(lung_box: ArrayLike) -> tuple[float, float, float, float]:
    """Left, top, width and height of the frame around a lung box.

    Raises:
        ValueError: a box without area.
    """
    xmin, ymin, xmax, ymax = (float(edge) for edge in np.asarray(lung_box, dtype=np.float64))
    if not (xmin < xmax and ymin < ymax):
        raise ValueError(f"lung_box: expected xmin < xmax and ymin < ymax, got {[xmin, ymin, xmax, ymax]}")
    width, height = (1 + 2 * MARGIN) * (xmax - xmin), (1 + 2 * MARGIN) * (ymax - ymin)
    return (xmin + xmax - width) / 2, (ymin + ymax - height) / 2, width, height
