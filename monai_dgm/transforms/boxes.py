"""Opacity boxes: checks, overlap, pairs, whether a reader changed them, and their area as a mask.

Inside monai-dgm a box is ``[xmin, ymin, xmax, ymax]``, x to the right, y down, in pixels with continuous edges: pixel
``i`` spans ``[i, i + 1]``, so the box of a whole image is ``[0, 0, cols, rows]``. Boxes are float32 of shape (N, 4);
no box is shape (0, 4).

MONAI's boxes are also called ``[xmin, ymin, xmax, ymax]``, but its x runs along array axis 0:
:func:`monai_dgm.networks.detector.swap_axes` converts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monai_dgm.errors import InputError

SAME_BOX_PIXELS = 1.0
"""Pixels of the original radiograph: a reader left a box as it was when each of its edges moved by less.

It is above what a box loses on its way to a reader's program and back, which
``tests/labelling/labels/test_round_trip.py`` measures for radiographs of up to 65,535 pixels a side: 0.5 pixels in
programs that write whole pixels, 0.004 in OHIF and 3D Slicer, and 0.001 in DICOM reports and label files.
"""
MOVED_IOU = 0.1
"""A reader's box that is paired with a model's is that box, moved, when their IoU is above this: readers often shrink a
box to a third of its area."""


def check_boxes(boxes: ArrayLike, shape: tuple[int, int] | None = None, name: str = "boxes") -> NDArray[np.float32]:
    """Return ``boxes`` as float32 (N, 4) when every one is a box, and say which is not otherwise.

    Args:
        boxes: N boxes ``[xmin, ymin, xmax, ymax]`` in pixels; an empty list means no box.
        shape: (rows, cols) of the image, when every box must lie inside it.
        name: what the boxes belong to, for the message (a file name, a row).

    Raises:
        InputError: not (N, 4), not finite, without area, or reaching outside ``shape``.
    """
    array = np.asarray(boxes, dtype=np.float32)
    if array.size == 0:
        return np.zeros((0, 4), dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != 4:
        raise InputError(f"{name}: expected boxes of shape (N, 4), got {array.shape}")
    for i, box in enumerate(array):
        xmin, ymin, xmax, ymax = (float(edge) for edge in box)
        if not np.isfinite(box).all():
            raise InputError(f"{name}: box {i} {box.tolist()} has an edge that is not finite")
        if xmin >= xmax or ymin >= ymax:
            raise InputError(f"{name}: box {i} {box.tolist()} has no area; expected xmin < xmax and ymin < ymax")
        if shape is not None and (xmin < 0 or ymin < 0 or xmax > shape[1] or ymax > shape[0]):
            raise InputError(
                f"{name}: box {i} {box.tolist()} reaches outside the image of {shape[1]} x {shape[0]} pixels (x by y)"
            )
    return array


def box_iou(boxes: ArrayLike, others: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of boxes (N, 4) and others (M, 4): (N, M) in [0, 1], in double precision.

    Two boxes without area have an IoU of 0.
    """
    first = np.asarray(boxes, dtype=np.float64).reshape(-1, 1, 4)
    second = np.asarray(others, dtype=np.float64).reshape(1, -1, 4)
    corner = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
    shared = corner.clip(min=0).prod(axis=-1)
    area = (first[..., 2:] - first[..., :2]).prod(axis=-1) + (second[..., 2:] - second[..., :2]).prod(axis=-1)
    return np.asarray(shared / np.maximum(area - shared, np.finfo(np.float64).tiny))


def pair_boxes(gain: ArrayLike, least: float = 0.0) -> list[tuple[int, int]]:
    """One-to-one pairs (i, j) with the largest sum of ``gain`` (N, M), such as IoU; only those above ``least``."""
    table = np.asarray(gain, dtype=np.float64)
    if not table.size:
        return []
    from scipy.optimize import linear_sum_assignment  # takes a third of a second to load

    return [(int(i), int(j)) for i, j in zip(*linear_sum_assignment(-table), strict=True) if table[i, j] > least]


def same_boxes(boxes: ArrayLike, others: ArrayLike, tolerance: float = SAME_BOX_PIXELS) -> NDArray[np.bool_]:
    """Whether each of boxes (N, 4) is each of others (M, 4): all four edges differ by less than ``tolerance`` pixels.

    Returns:
        bool (N, M).
    """
    first = np.asarray(boxes, dtype=np.float64).reshape(-1, 1, 4)
    second = np.asarray(others, dtype=np.float64).reshape(1, -1, 4)
    return np.asarray((np.abs(first - second) < tolerance).all(axis=-1))


@dataclass(frozen=True)
class BoxChanges:
    """What a reader did with a model's boxes.

    Attributes:
        kept: (reader's box, model's box) that are the same box.
        moved: (reader's box, model's box) that were moved or resized.
        added: reader's boxes without a model's.
        deleted: model's boxes without a reader's.
    """

    kept: tuple[tuple[int, int], ...]
    moved: tuple[tuple[int, int], ...]
    added: tuple[int, ...]
    deleted: tuple[int, ...]


def compare_boxes(boxes: ArrayLike, model_boxes: ArrayLike) -> BoxChanges:
    """The one rule for whether a reader changed a model's box, whatever program the boxes come from.

    First each box that is the same as a model's (:func:`same_boxes`) is paired with it: it was kept. Of the rest, those
    pairs with the largest sum of IoU whose IoU is above ``MOVED_IOU`` were moved.

    Args:
        boxes: (N, 4) of the reader, in pixels of the original.
        model_boxes: (M, 4) that the reader started from, on the same image.
    """
    overlap = box_iou(boxes, model_boxes)
    kept = pair_boxes(np.where(same_boxes(boxes, model_boxes), 1 + overlap, 0))
    for i, j in kept:
        overlap[i], overlap[:, j] = 0, 0
    moved = pair_boxes(overlap, MOVED_IOU)
    ours, models = ({pair[side] for pair in (*kept, *moved)} for side in (0, 1))
    return BoxChanges(
        kept=tuple(kept),
        moved=tuple(moved),
        added=tuple(i for i in range(overlap.shape[0]) if i not in ours),
        deleted=tuple(j for j in range(overlap.shape[1]) if j not in models),
    )


def rasterise_boxes(boxes: ArrayLike, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Mark the pixels whose centre lies in a box.

    A box too thin to hold a pixel centre marks the pixels its middle falls on, so no box that touches the image
    vanishes. Parts outside the image are left out.

    Args:
        boxes: (N, 4) boxes ``[xmin, ymin, xmax, ymax]`` in pixels of the image.
        shape: (rows, cols) of the mask.

    Returns:
        Mask, bool (rows, cols).

    Raises:
        InputError: as :func:`check_boxes`.
    """
    mask = np.zeros(shape, dtype=bool)
    for xmin, ymin, xmax, ymax in check_boxes(boxes).astype(np.float64):
        rows = _covered(ymin, ymax, shape[0])
        cols = _covered(xmin, xmax, shape[1])
        mask[rows, cols] = True
    return mask


def _covered(low: float, high: float, length: int) -> slice:
    """Pixels of an axis whose centre ``i + 0.5`` lies in [low, high), at least the one under the middle."""
    if high <= 0 or low >= length:
        return slice(0, 0)
    first, last = int(np.ceil(low - 0.5)), int(np.ceil(high - 0.5))
    if last <= first:
        first = int(np.floor((low + high) / 2))
        last = first + 1
    first = min(max(first, 0), length - 1)
    return slice(first, max(first + 1, min(last, length)))


def box_of_mask(mask: ArrayLike) -> NDArray[np.float32] | None:
    """Smallest box around a mask's pixels.

    Args:
        mask: (rows, cols), nonzero inside.

    Returns:
        float32 (4,) ``[xmin, ymin, xmax, ymax]`` with continuous edges, or None for an empty mask.
    """
    inside = np.asarray(mask) != 0
    rows, cols = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if rows.size == 0:
        return None
    return np.array([cols[0], rows[0], cols[-1] + 1, rows[-1] + 1], dtype=np.float32)
