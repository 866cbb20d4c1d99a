"""What every reader returns: one radiograph as an array, with the little that is known about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monai_dgm.errors import InputError

MAX_PIXELS = 64_000_000  # decoded by default: more than any detector has, and 256 MB as float32
MAX_SIDE = 65_535  # pixels; the largest that DICOM's Rows and Columns can say
SQUARE = 0.01  # pixels of sides that differ by less than this share of each other are taken for square
NARROWEST = 0.25  # side of a pixel over the other; headers that say less are wrong
FLAT = 1e-3  # volume that three unit axes span, below which an affine is singular
MIN_SIDE = 16  # anything smaller is no radiograph


@dataclass(frozen=True)
class Radiograph:
    """One radiograph as read from a file.

    Args:
        pixels: float32 (rows, cols), y downwards, x to the right, bright = dense, in the file's own intensity scale.
        pixel_spacing: (row, column) distance of pixel centres in mm, or None where unknown.
        format: "dicom", "png", "jpeg" or "nifti".
        modality: DICOM Modality such as "DX" or "CR", or None.
        body_part: DICOM Body Part Examined, or None.
        view: DICOM View Position such as "PA" or "AP", or None.
        bits: bits that the file stores for a pixel.
        valid: bool (rows, cols), False on DICOM padding; None when every pixel counts.
        orientation: how the pixels have to be turned to stand upright, the patient's left on the right: 1 to 8 as EXIF
            counts, see :mod:`monai_dgm.utils.orientation`. The pixels themselves are those of the file.
        remarks: what the file says that a reader of the results should know, a line each.
        aspect: height of a pixel over its width; 1 where pixels are square, or nothing is known of them.
        notes: those of the remarks that question nothing: how the pixels are turned, what of the header is not used.
        affine: float64 (4, 4), from (column, row, 0, 1), whole numbers at pixel centres, to RAS mm (x to the patient's
            right, y to the front, z to the head): of a NIfTI header, or of DICOM's Image Plane module (PS3.3 C.7.6.2).
            None where the file has none.
    """

    pixels: NDArray[np.float32]
    pixel_spacing: tuple[float, float] | None
    format: str
    modality: str | None
    body_part: str | None
    view: str | None
    bits: int
    valid: NDArray[np.bool_] | None = None
    orientation: int = 1
    remarks: tuple[str, ...] = ()
    affine: NDArray[np.float64] | None = None
    aspect: float = 1.0
    notes: tuple[str, ...] = ()


def pixel_aspect(height: float, width: float) -> float:
    """Height of a pixel over its width; 1 for sides that are nearly equal, or that no pixel has.

    Args:
        height, width: distance of rows, and of columns, in any unit.
    """
    if not (0 < height < np.inf and 0 < width < np.inf):
        return 1.0
    aspect = height / width
    if abs(aspect - 1) < SQUARE or not NARROWEST <= aspect <= 1 / NARROWEST:
        return 1.0
    return float(aspect)


def is_regular_affine(affine: NDArray[np.float64]) -> bool:
    """Whether an array is (4, 4) with finite numbers and three independent axes; another one places no pixel."""
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        return False
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not (lengths.min() > 1e-6 and lengths.max() < 1e6):
        return False
    return bool(abs(np.linalg.det(affine[:3, :3] / lengths)) > FLAT)


def check_shape(name: str, rows: int, cols: int, max_pixels: float) -> None:
    """Refuse, before anything is decoded, an image too large to be one or too small to hold one.

    Raises:
        InputError: ``rows`` x ``cols`` above ``max_pixels``, or a side below 16.
    """
    if rows * cols > max_pixels:
        raise InputError(f"{name}: expected at most {max_pixels:.0f} pixels, got {rows} x {cols}")
    if min(rows, cols) < MIN_SIDE:
        raise InputError(f"{name}: expected at least {MIN_SIDE} x {MIN_SIDE} pixels, got {rows} x {cols}")


def check_pixels(name: str, pixels: NDArray[np.float32]) -> None:
    """Refuse pixels that no intensity range can be taken from.

    Raises:
        InputError: NaN or infinity, or no contrast.
    """
    low, high = float(pixels.min()), float(pixels.max())
    if not np.isfinite((low, high)).all():  # NaN is the least and the largest
        raise InputError(f"{name}: expected finite pixel values, got NaN or infinity")
    if not low < high:
        raise InputError(f"{name}: no contrast: expected a radiograph, all pixels are {low:g}")


def one_line(error: BaseException) -> str:
    """The first line of an error's message, shortened; its type where it has none."""
    lines = str(error).strip().splitlines()
    return (lines[0][:160] if lines else "") or type(error).__name__
