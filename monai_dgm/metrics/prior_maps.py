"""Baselines of localisation: score maps that do not depend on the residue.

Opacities lie in the lungs, more often in the lower parts, and boxes cover much of a lung. A constant map of that kind
has a high score without any information from the image; the metrics of a residue are to be compared with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from monai_dgm.transforms.boxes import box_of_mask, rasterise_boxes

ScoreMap = NDArray[np.float32]

FRAME_SIDE = 64  # of the frame that lung boxes are resampled to, in pixels
MARGIN = 0.25  # of the frame around a lung box, as a share of its sides


def fit_mean_box_prior(masks: Sequence[ArrayLike]) -> ScoreMap:
    """Share of the training set's opacity masks that cover each pixel.

    Args:
        masks: opacity masks (S, S) of TRAINING images with opacities; empty masks are left out.

    Returns:
        float32 (S, S) in [0, 1].

    Raises:
        ValueError: no mask marks anything, or shapes differ.
    """
    marked = [np.asarray(mask) != 0 for mask in masks]
    marked = [mask for mask in marked if mask.any()]
    if not marked:
        raise ValueError("masks: expected at least one opacity mask with a marked pixel, got none")
    if len({mask.shape for mask in marked}) > 1:
        raise ValueError(f"masks: expected one shape, got {sorted({mask.shape for mask in marked})}")
    total = np.zeros(marked[0].shape, dtype=np.float64)
    for mask in marked:
        total += mask
    return (total / len(marked)).astype(np.float32)


def fit_mean_lung_box(lung_masks: Sequence[ArrayLike]) -> NDArray[np.float32]:
    """Median edges of the boxes around training lung masks, for images without a lung mask.

    Args:
        lung_masks: (S, S) lung masks in model coordinates; empty masks are left out.

    Returns:
        float32 (4,) ``[xmin, ymin, xmax, ymax]``.

    Raises:
        ValueError: no mask marks anything.
    """
    boxes = [box for box in map(box_of_mask, lung_masks) if box is not None]
    if not boxes:
        raise ValueError("lung_masks: expected at least one lung mask with a marked pixel, got none")
    return np.median(np.stack(boxes), axis=0).astype(np.float32)


def lung_mask_score(lung_mask: ArrayLike) -> ScoreMap:
    """1 in the lungs, 0 elsewhere; float32 (S, S)."""
    return (np.asarray(lung_mask) != 0).astype(np.float32)


def lung_box_score(lung_mask: ArrayLike) -> ScoreMap:
    """1 in the bounding box of a lung mask (S, S), 0 elsewhere; all 0 for an empty mask."""
    mask = np.asarray(lung_mask)
    box = box_of_mask(mask)
    return np.zeros(mask.shape, np.float32) if box is None else box_score(box, (mask.shape[0], mask.shape[1]))


def box_score(box: ArrayLike, shape: tuple[int, int]) -> ScoreMap:
    """1 in a box (4,), 0 elsewhere; float32 of ``shape``."""
    return rasterise_boxes(np.asarray(box, dtype=np.float32).reshape(1, 4), shape).astype(np.float32)


def brightness_score(image: ArrayLike) -> ScoreMap:
    """The brightness of the image as a score, rescaled from [-1, 1] to [0, 1]; float32 (S, S)."""
    return ((np.asarray(image, dtype=np.float32) + 1) / 2).astype(np.float32)


@dataclass(frozen=True)
class LungAlignedPrior:
    """The mean-box prior aligned to each patient's lungs: the share of training opacities at each point of a lung box.

    Opacities follow the lungs, and lungs lie elsewhere in each radiograph. The metrics of a residue are compared with
    this prior, which does not look at the image.

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
        centres = (np.arange(FRAME_SIDE) + 0.5) / FRAME_SIDE
        at = np.meshgrid(top + centres * height - 0.5, left + centres * width - 0.5, indexing="ij")
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
