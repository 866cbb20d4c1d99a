"""From the pixels of one radiograph to the square the networks see, and back.

One resampling path serves every native size: a triangle filter whose support grows with the reduction (Pillow's
BILINEAR in mode F), so that a 1024 px and a 256 px version of one radiograph come out alike. Only numpy and Pillow are
imported here: decoding processes start with this module.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from monai_dgm.errors import InputError
from monai_dgm.utils.orientation import (
    UPRIGHT,
    boxes_to_stored,
    boxes_to_upright,
    check_orientation,
    to_stored,
    to_upright,
    transposes,
)

FITS = ("pad", "stretch")
LEAST_SIDE, LARGEST_SIDE = 512, 1024  # of the longest side of a picture: text stays readable, files small
DARKEST = -1.0  # the value of the border that "pad" adds, and of the lowest intensity


def resize_antialiased(array: NDArray[Any], rows: int, cols: int) -> NDArray[np.float32]:
    """Resample ``array`` (rows, cols) so that its outer edges stay its outer edges; float32 (``rows``, ``cols``)."""
    source = np.ascontiguousarray(array, dtype=np.float32)
    if source.shape == (rows, cols):
        return source.copy()
    resized = Image.fromarray(source).resize((cols, rows), resample=Image.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.float32).copy()


def display_shape(rows: int, cols: int) -> tuple[int, int]:
    """(rows, cols) of a picture of a radiograph to look at: its aspect, the longest side 512 to 1024."""
    longest = max(rows, cols)
    side = min(max(longest, LEAST_SIDE), LARGEST_SIDE)
    return max(1, round(rows * side / longest)), max(1, round(cols * side / longest))


def display_levels(pixels: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    """A radiograph (rows, cols) as grey levels of :func:`display_shape`; ``low`` becomes black, ``high`` white."""
    small = resize_antialiased(pixels, *display_shape(*pixels.shape))
    return np.clip((small - low) * (255.0 / (high - low)) + 0.5, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class RadiographGeometry:
    """How the pixels of one radiograph became a model input, and the way back.

    Args:
        rows: height of the original, in pixels.
        cols: width of the original, in pixels.
        size: side of the square model input, in pixels.
        fit: "pad" keeps the aspect, centres and fills with -1; "stretch" fills the square.
        low: original pixel value that became -1 (lower ones are clipped).
        high: original pixel value that became 1 (higher ones are clipped).
        pixel_spacing: (row, column) distance of the original's pixel centres in mm, or None where unknown.
        orientation: how the original is turned upright before it is resized, 1 to 8, see
            :mod:`monai_dgm.utils.orientation`. All maps and boxes "to original" are turned back.
        aspect: height of a pixel of the original over its width; "pad" makes pixels square.

    Raises:
        InputError: a size below 1, an unknown fit or orientation, an aspect that is not above 0, or ``low`` not below
            ``high``.
    """

    rows: int
    cols: int
    size: int
    fit: str = "pad"
    low: float = 0.0
    high: float = 1.0
    pixel_spacing: tuple[float, float] | None = None
    orientation: int = UPRIGHT
    aspect: float = 1.0

    def __post_init__(self) -> None:
        check_orientation(self.orientation)
        if min(self.rows, self.cols, self.size) < 1:
            raise InputError(f"rows, cols and size must be at least 1, got {self.rows}, {self.cols}, {self.size}")
        if self.fit not in FITS:
            raise InputError(f"fit must be one of {', '.join(FITS)}, got {self.fit!r}")
        if not 0 < self.aspect < np.inf:
            raise InputError(f"aspect must be above 0, got {self.aspect}")
        if not self.low < self.high:
            raise InputError(f"no contrast: low must be below high, got {self.low} and {self.high}")

    @property
    def upright_shape(self) -> tuple[int, int]:
        """(rows, cols) of the original when it is turned upright, in pixels."""
        return (self.cols, self.rows) if transposes(self.orientation) else (self.rows, self.cols)

    @property
    def upright_spacing(self) -> tuple[float, float] | None:
        """(row, column) distance in mm of the pixels of the original when it is turned upright, None where unknown."""
        if self.pixel_spacing is None or not transposes(self.orientation):
            return self.pixel_spacing
        return self.pixel_spacing[1], self.pixel_spacing[0]

    @property
    def content_shape(self) -> tuple[int, int]:
        """(rows, cols) that the radiograph takes within the square."""
        if self.fit == "stretch":
            return self.size, self.size
        height, width = self.rows * self.aspect, float(self.cols)
        rows, cols = (width, height) if transposes(self.orientation) else (height, width)
        longest = max(rows, cols)
        # whole pixels, so that the content has a sharp edge; the scale of each axis below follows the rounding
        return max(1, round(rows * self.size / longest)), max(1, round(cols * self.size / longest))

    @property
    def offset(self) -> tuple[int, int]:
        """(top, left) corner of the radiograph within the square."""
        rows, cols = self.content_shape
        return (self.size - rows) // 2, (self.size - cols) // 2

    @property
    def content(self) -> tuple[slice, slice]:
        """Where the radiograph lies within the square, as an index of (S, S) planes."""
        (top, left), (rows, cols) = self.offset, self.content_shape
        return slice(top, top + rows), slice(left, left + cols)

    def at(self, size: int) -> RadiographGeometry:
        """The geometry of the same radiograph in a square of another side."""
        return self if size == self.size else replace(self, size=size)

    @property
    def scale(self) -> tuple[float, float]:
        """Model pixels per pixel of the upright original, (along y, along x)."""
        (rows, cols), (upright_rows, upright_cols) = self.content_shape, self.upright_shape
        return rows / upright_rows, cols / upright_cols

    def boxes_to_model(self, boxes: ArrayLike) -> NDArray[np.float32]:
        """Boxes (N, 4) [xmin, ymin, xmax, ymax], continuous edges, from original pixels to model coordinates."""
        (top, left), (scale_y, scale_x) = self.offset, self.scale
        upright = boxes_to_upright(_checked_boxes(boxes), self.orientation, self.rows, self.cols)
        return _affine_boxes(upright, (scale_x, scale_y), (left, top)).astype(np.float32)

    def boxes_to_original(self, boxes: ArrayLike) -> NDArray[np.float32]:
        """Boxes (N, 4) from model coordinates to original pixels: the exact inverse of :meth:`boxes_to_model`."""
        (top, left), (scale_y, scale_x) = self.offset, self.scale
        upright = _affine_boxes(_checked_boxes(boxes), (1 / scale_x, 1 / scale_y), (-left / scale_x, -top / scale_y))
        return boxes_to_stored(upright, self.orientation, self.rows, self.cols).astype(np.float32)

    def clip_to_original(self, boxes: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Boxes (N, 4) in model coordinates as boxes in original pixels, cut at the radiograph's edges.

        Returns:
            boxes float32 (N, 4), and bool (N,): False for boxes that lie wholly in the border that "pad" added.
        """
        edges = np.array([self.cols, self.rows] * 2, dtype=np.float32)
        original = np.clip(self.boxes_to_original(boxes), np.float32(0), edges)
        return original, (original[:, 2:] > original[:, :2]).all(axis=1)

    def map_to_original(self, array: ArrayLike) -> NDArray[np.float32]:
        """A map (S, S) in model coordinates as float32 (rows, cols) over the original's pixels, bilinear.

        The border that "pad" added is cut off before resampling, so it does not bleed in.
        """
        values = np.asarray(array, dtype=np.float32)
        if values.shape != (self.size, self.size):
            raise InputError(f"expected a map of shape {(self.size, self.size)}, got {values.shape}")
        upright = resize_antialiased(values[self.content], *self.upright_shape)
        return np.ascontiguousarray(to_stored(upright, self.orientation))

    def mask_to_model(self, mask: ArrayLike) -> NDArray[np.bool_]:
        """A mask (rows, cols) over the original as bool (S, S): True where at least half of a pixel is covered."""
        values = np.asarray(mask).astype(np.float32)
        return self._place(self._resize(values), 0.0) >= 0.5

    def pixels_to_model(self, pixels: ArrayLike) -> NDArray[np.float32]:
        """Pixels (rows, cols) as float32 (1, S, S) in [-1, 1], on this geometry and this ``low`` and ``high``.

        For images that belong to another one, such as the true normal image of a simulated patient.
        """
        return self._scale_and_place(self._resize(np.asarray(pixels, dtype=np.float32)))

    def as_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        values = asdict(self)
        values["pixel_spacing"] = None if self.pixel_spacing is None else list(self.pixel_spacing)
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RadiographGeometry:
        """The geometry that :meth:`as_dict` wrote."""
        spacing = values.get("pixel_spacing")
        return cls(**{**values, "pixel_spacing": None if spacing is None else (float(spacing[0]), float(spacing[1]))})

    def _resize(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        if values.shape != (self.rows, self.cols):
            raise InputError(f"expected {self.rows} x {self.cols} pixels, got an array of shape {values.shape}")
        return resize_antialiased(to_upright(values, self.orientation), *self.content_shape)

    def _place(self, content: NDArray[np.float32], fill: float) -> NDArray[np.float32]:
        square = np.full((self.size, self.size), fill, dtype=np.float32)
        square[self.content] = content
        return square

    def _scale_and_place(self, content: NDArray[np.float32]) -> NDArray[np.float32]:
        unit = (content.astype(np.float64) - self.low) / (self.high - self.low)
        scaled = np.clip(2.0 * unit - 1.0, -1.0, 1.0).astype(np.float32)
        return self._place(scaled, DARKEST)[None]


def prepare_radiograph(
    pixels: ArrayLike,
    size: int,
    fit: str = "pad",
    percentiles: tuple[float, float] | None = (0.5, 99.5),
    pixel_spacing: tuple[float, float] | None = None,
    valid: NDArray[np.bool_] | None = None,
    orientation: int = UPRIGHT,
    aspect: float = 1.0,
) -> tuple[NDArray[np.float32], RadiographGeometry]:
    """Turn the pixels of one radiograph into a model input.

    The percentiles are taken after resampling: noise that only a large native size shows then cannot move the range,
    and the range is that of what the network sees.

    Args:
        pixels: (rows, cols), bright = dense, any finite values.
        size: side S of the model input in pixels.
        fit: "pad" (aspect kept, centred, -1 around) or "stretch".
        percentiles: (low, high) in percent, mapped to -1 and 1, values beyond are clipped; None maps the full range.
        pixel_spacing: (row, column) mm, carried into the geometry.
        valid: (rows, cols), False on pixels that are no radiograph (DICOM padding) and do not count for the range.
        orientation: how ``pixels`` are turned upright, 1 to 8.
        aspect: height of a pixel over its width.

    Returns:
        float32 (1, S, S) in [-1, 1] and its geometry.

    Raises:
        InputError: not two-dimensional, not finite, or without contrast.
    """
    values = np.asarray(pixels, dtype=np.float32)
    if values.ndim != 2 or min(values.shape) < 2:
        raise InputError(f"expected pixels of shape (rows, cols), at least 2 x 2, got shape {values.shape}")
    rows, cols = values.shape
    frame = RadiographGeometry(rows, cols, size, fit, orientation=orientation, aspect=aspect)
    content = frame._resize(values)
    if not np.isfinite(content).all():  # one value that is not finite reaches at least one resampled pixel
        raise InputError("expected finite pixel values, got NaN or infinity")
    counted = content
    if valid is not None:
        covered = content[frame._resize(np.asarray(valid).astype(np.float32)) >= 0.5]
        counted = covered if covered.size else content
    low, high = _value_range(counted, percentiles)
    geometry = RadiographGeometry(rows, cols, size, fit, low, high, pixel_spacing, orientation, aspect)
    return geometry._scale_and_place(content), geometry


def _value_range(values: NDArray[np.float32], percentiles: tuple[float, float] | None) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if percentiles is not None:
        if not 0 <= percentiles[0] < percentiles[1] <= 100:
            raise InputError(f"percentiles must be 0 <= low < high <= 100, got {tuple(percentiles)}")
        inner_low, inner_high = (float(value) for value in np.percentile(values, percentiles))
        if inner_low < inner_high:  # else nearly all pixels are equal, and the full range is all there is
            low, high = inner_low, inner_high
    if not low < high:
        raise InputError(f"no contrast: all pixels are {low:g}")
    return low, high


def _checked_boxes(boxes: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(boxes, dtype=np.float64)
    if values.size == 0:
        return np.zeros((0, 4))
    if values.ndim != 2 or values.shape[1] != 4:
        raise InputError(f"expected boxes of shape (N, 4), got {values.shape}")
    return values


def _affine_boxes(
    boxes: NDArray[np.float64], scale: tuple[float, float], shift: tuple[float, float]
) -> NDArray[np.float64]:
    return np.asarray(boxes * np.tile(scale, 2) + np.tile(shift, 2))
