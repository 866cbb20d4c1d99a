"""The eight ways to turn and mirror an image, by the numbers of EXIF's Orientation (tag 0x0112).

=  ================================  =  ================================
1  as it is                          5  transposed
2  mirrored, left to right           6  turned by 90 degrees clockwise
3  turned by 180 degrees             7  transposed and turned by 180 degrees
4  mirrored, top to bottom           8  turned by 90 degrees anticlockwise
=  ================================  =  ================================

Each number says what is done to the stored image to bring it upright.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_dgm.errors import InputError

UPRIGHT = 1
WORDS = {
    2: "mirrored from left to right",
    3: "turned by 180 degrees",
    4: "mirrored from top to bottom",
    5: "transposed",
    6: "turned by 90 degrees clockwise",
    7: "transposed and turned by 180 degrees",
    8: "turned by 90 degrees anticlockwise",
}
"""What is done to the stored image, for a user."""

# whether it is transposed first; then whether rows, and columns, are reversed
_STEPS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
_NUMBERS = {steps: number for number, steps in _STEPS.items()}


def orientation_of(transpose: bool, reverse_rows: bool, reverse_columns: bool) -> int:
    """The number of: transposed or not, then rows (top to bottom) and columns (left to right) reversed or not."""
    return _NUMBERS[transpose, reverse_rows, reverse_columns]


def check_orientation(number: int) -> None:
    """Refuse what is no orientation.

    Raises:
        InputError: other than 1 to 8.
    """
    if number not in _STEPS:
        raise InputError(f"orientation must be 1 to 8, got {number}")


def transposes(number: int) -> bool:
    """Whether rows become columns."""
    return _STEPS[number][0]


def to_upright(array: NDArray[Any], number: int) -> NDArray[Any]:
    """A stored image (rows, cols), turned upright; a view."""
    transpose, reverse_rows, reverse_columns = _STEPS[number]
    turned = array.T if transpose else array
    turned = turned[::-1] if reverse_rows else turned
    return turned[:, ::-1] if reverse_columns else turned


def to_stored(array: NDArray[Any], number: int) -> NDArray[Any]:
    """An upright image, turned back to how the file stores it; a view, the inverse of :func:`to_upright`."""
    transpose, reverse_rows, reverse_columns = _STEPS[number]
    turned = array[:, ::-1] if reverse_columns else array
    turned = turned[::-1] if reverse_rows else turned
    return turned.T if transpose else turned


def boxes_to_upright(boxes: NDArray[np.float64], number: int, rows: int, cols: int) -> NDArray[np.float64]:
    """Boxes (N, 4) [xmin, ymin, xmax, ymax] from a stored image of ``rows`` x ``cols`` pixels to the upright one."""
    transpose, reverse_rows, reverse_columns = _STEPS[number]
    if transpose:
        boxes, rows, cols = boxes[:, [1, 0, 3, 2]], cols, rows
    return _reversed(boxes, reverse_rows, reverse_columns, rows, cols)


def boxes_to_stored(boxes: NDArray[np.float64], number: int, rows: int, cols: int) -> NDArray[np.float64]:
    """Boxes (N, 4) from the upright image back to a stored one of ``rows`` x ``cols`` pixels."""
    transpose, reverse_rows, reverse_columns = _STEPS[number]
    upright_rows, upright_cols = (cols, rows) if transpose else (rows, cols)
    turned = _reversed(boxes, reverse_rows, reverse_columns, upright_rows, upright_cols)
    return turned[:, [1, 0, 3, 2]] if transpose else turned


def _reversed(
    boxes: NDArray[np.float64], reverse_rows: bool, reverse_columns: bool, rows: int, cols: int
) -> NDArray[np.float64]:
    if reverse_columns:
        boxes = np.column_stack([cols - boxes[:, 2], boxes[:, 1], cols - boxes[:, 0], boxes[:, 3]])
    if reverse_rows:
        boxes = np.column_stack([boxes[:, 0], rows - boxes[:, 3], boxes[:, 2], rows - boxes[:, 1]])
    return boxes
