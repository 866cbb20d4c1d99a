"""Opacity boxes: checks, other conventions and back, and their area as a mask.

Inside monai-dgm a box is ``[xmin, ymin, xmax, ymax]``, x to the right, y down, in pixels with continuous edges: pixel
``i`` spans ``[i, i + 1]``, so the box of a whole image is ``[0, 0, cols, rows]``. Boxes are float32 of shape (N, 4);
no box is shape (0, 4).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monai_dgm.errors import InputError


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


def xywh_to_xyxy(boxes: ArrayLike) -> NDArray[np.float32]:
    """``[x, y, width, height]`` (RSNA label files, COCO) to ``[xmin, ymin, xmax, ymax]``; both float32 (N, 4)."""
    array = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    return np.concatenate([array[:, :2], array[:, :2] + array[:, 2:]], axis=1)


def xyxy_to_xywh(boxes: ArrayLike) -> NDArray[np.float32]:
    """``[xmin, ymin, xmax, ymax]`` to ``[x, y, width, height]``; both float32 (N, 4)."""
    array = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    return np.concatenate([array[:, :2], array[:, 2:] - array[:, :2]], axis=1)


def boxes_to_monai(boxes: ArrayLike) -> NDArray[np.float32]:
    """Boxes as ``monai.apps.detection`` wants them for our rows-first arrays.

    MONAI's boxes are also called ``[xmin, ymin, xmax, ymax]``, but its x runs along ARRAY AXIS 0. A prepared
    radiograph is (1, rows, cols), so axis 0 of its plane is our y: the pairs swap. (MONAI's image readers transpose 2D
    images instead; a radiograph read by monai-dgm never passes through them.)

    Args:
        boxes: (N, 4), x to the right.

    Returns:
        float32 (N, 4), x along array axis 0. Applying it twice gives the boxes back.
    """
    array = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    return np.ascontiguousarray(array[:, [1, 0, 3, 2]])


def boxes_from_monai(boxes: ArrayLike) -> NDArray[np.float32]:
    """Inverse of :func:`boxes_to_monai`: boxes of a MONAI detector to ours; both float32 (N, 4)."""
    return boxes_to_monai(boxes)
