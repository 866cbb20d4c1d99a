"""The detector's pixel grid in patient centimetres, and the two primitives that draw on it: tables and splats."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.interpolate import PchipInterpolator

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

_TABLE_STEP_CM = 0.02
_TABLE_LIMIT_CM = 48.0
_TABLE_AXIS = np.arange(-_TABLE_LIMIT_CM, _TABLE_LIMIT_CM, _TABLE_STEP_CM)


class Grid:
    """Square detector seen from in front of the patient: +x is the patient's left (image right), +y is down.

    Args:
        size: pixels a side.
        field_cm: side of the detector in centimetres at the patient.
        centre: patient coordinates (x, y), cm, of the image centre.
        tilt: in-plane rotation of the patient in radians.

    Attributes:
        x, y: float32 (size, size), patient coordinates of the pixel centres in cm.
    """

    def __init__(self, size: int, field_cm: float, centre: tuple[float, float], tilt: float) -> None:
        self.size = size
        self.field_cm = field_cm
        self.centre = centre
        self.pixel_cm = field_cm / size
        self._cos, self._sin = float(np.cos(tilt)), float(np.sin(tilt))
        axis = ((np.arange(size) + 0.5) * self.pixel_cm - field_cm / 2).astype(np.float32)
        self.x: FloatArray = self._cos * axis[None, :] + self._sin * axis[:, None] + np.float32(centre[0])
        self.y: FloatArray = -self._sin * axis[None, :] + self._cos * axis[:, None] + np.float32(centre[1])
        self._row: NDArray[np.intp] = _table_index(self.y)
        self._column: NDArray[np.intp] = _table_index(self.x)

    def along_y(self, profile: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> FloatArray:
        """A function of height alone, evaluated once in a fine table: (size, size)."""
        return profile(_TABLE_AXIS).astype(np.float32)[self._row]

    def along_x(self, profile: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> FloatArray:
        """A function of the lateral coordinate alone, evaluated once in a fine table: (size, size)."""
        return profile(_TABLE_AXIS).astype(np.float32)[self._column]

    def to_pixels(self, x: NDArray, y: NDArray) -> tuple[NDArray, NDArray]:
        """Patient cm to continuous pixel coordinates (pixel i spans [i, i + 1])."""
        u, v = x - self.centre[0], y - self.centre[1]
        column = (self._cos * u - self._sin * v) / self.pixel_cm + self.size / 2
        row = (self._sin * u + self._cos * v) / self.pixel_cm + self.size / 2
        return column, row

    def splat(self, x: NDArray, y: NDArray, volume: NDArray) -> FloatArray:
        """Path length (cm) of a cloud of small volumes (cm3) seen from the front, bilinear and volume-preserving."""
        column, row = self.to_pixels(x.ravel(), y.ravel())
        weight = volume.ravel() / self.pixel_cm**2
        inside = (column > 0.5) & (row > 0.5) & (column < self.size - 0.5) & (row < self.size - 0.5)
        column, row, weight = column[inside] - 0.5, row[inside] - 0.5, weight[inside]
        left, top = column.astype(np.intp), row.astype(np.intp)
        right, bottom = column - left, row - top
        start = top * self.size + left
        lower = weight * bottom
        upper = weight - lower
        lower_right, upper_right = lower * right, upper * right
        index = np.concatenate([start, start + 1, start + self.size, start + self.size + 1])
        parts = np.concatenate([upper - upper_right, upper_right, lower - lower_right, lower_right])
        total = np.bincount(index, parts, minlength=self.size**2)[: self.size**2]
        return total.reshape(self.size, self.size).astype(np.float32)


def _table_index(coordinate: FloatArray) -> NDArray[np.intp]:
    index = (coordinate + _TABLE_LIMIT_CM) * (1 / _TABLE_STEP_CM)
    return np.clip(index, 0, len(_TABLE_AXIS) - 1).astype(np.intp)


def spline(points: list[tuple[float, float]]) -> Callable[[NDArray], NDArray]:
    """Monotone curve through (position, value) points, constant beyond its ends."""
    positions, values = np.array(points, dtype=float).T
    curve = PchipInterpolator(positions, values)
    return lambda t: curve(np.clip(t, positions[0], positions[-1]))


def smoothstep(value: FloatArray) -> FloatArray:
    """0 below 0, 1 above 1, and a smooth rise between."""
    clipped = np.clip(value, 0, 1)
    return clipped * clipped * (3 - 2 * clipped)


def half_chord(value: FloatArray) -> FloatArray:
    """sqrt of the positive part: the path through a round body of which ``value`` is 1 - (distance / radius)^2."""
    return np.sqrt(np.maximum(value, 0))


def noise_field(rng: np.random.Generator, size: int, cells: float, octaves: int = 1) -> FloatArray:
    """Smooth Gaussian noise (size, size), about zero mean and unit deviation; ``cells`` bumps a side, then halves."""
    total = np.zeros((size, size), dtype=np.float32)
    power = 0.0
    for octave in range(octaves):
        count = int(min(max(round(cells * 2**octave) + 1, 3), size))
        coarse = Image.fromarray(rng.standard_normal((count, count), dtype=np.float32))
        box = (0.5, 0.5, count - 0.5, count - 0.5)
        fine = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC, box=box))
        total += fine * np.float32(0.55**octave)
        power += 0.55 ** (2 * octave)
    return total * np.float32(1.35 / power**0.5)  # interpolation between cells takes about a quarter of the deviation


def tube(
    path: NDArray, radius: NDArray | float, across: int, shell: float = 0.0
) -> tuple[NDArray, NDArray, NDArray]:
    """Volume elements (x, y, cm3) of round tubes.

    Args:
        path: (..., points, 2) centre lines in cm.
        radius: cm, broadcastable to (..., points).
        across: samples over the diameter.
        shell: 0 a solid tube; else a hollow one whose wall is this share of the radius.
    """
    step = np.gradient(path, axis=-2)
    length = np.maximum(np.hypot(step[..., 0], step[..., 1]), 1e-6)
    offset = (np.arange(across) + 0.5) / across * 2 - 1
    thickness = np.sqrt(1 - offset**2)
    if shell > 0:
        inner = 1 - shell
        thickness = thickness - inner * np.sqrt(np.maximum(1 - (offset / inner) ** 2, 0))
    radius = np.broadcast_to(np.asarray(radius, dtype=float), length.shape)
    reach = radius[..., None] * offset
    x = path[..., 0, None] - step[..., 1, None] / length[..., None] * reach
    y = path[..., 1, None] + step[..., 0, None] / length[..., None] * reach
    volume = 2 * radius[..., None] * thickness * length[..., None] * (2 * radius[..., None] / across)
    return x, y, volume
