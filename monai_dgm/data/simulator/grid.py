"""The detector's pixel grid in patient centimetres, and the two primitives that draw on it: tables and splats."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Cloud = tuple[NDArray, NDArray, NDArray]  # x cm, y cm, volume cm3, of one shape

_TABLE_STEP_CM = 0.03
_SPLAT_CHUNK = 16384
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

    def splat(self, *clouds: Cloud) -> FloatArray:
        """Path length (cm) of clouds of small volumes (x, y, cm3) seen from the front; bilinear, volume-preserving."""
        x, y, volume = (
            np.concatenate([cloud[part].ravel() for cloud in clouds], dtype=np.float32) for part in range(3)
        )
        total = np.zeros(self.size**2)
        for first in range(0, len(x), _SPLAT_CHUNK):  # temporaries that stay in the processor's cache: twice as fast
            chunk = slice(first, first + _SPLAT_CHUNK)
            self._accumulate(total, x[chunk], y[chunk], volume[chunk])
        return total.reshape(self.size, self.size).astype(np.float32) * np.float32(1 / self.pixel_cm**2)

    def _accumulate(self, total: NDArray[np.float64], x: FloatArray, y: FloatArray, weight: FloatArray) -> None:
        column, row = self.to_pixels(x, y)
        inside = (column > 0.5) & (row > 0.5) & (column < self.size - 0.5) & (row < self.size - 0.5)
        if not inside.all():
            column, row, weight = column[inside], row[inside], weight[inside]
        column, row = column - np.float32(0.5), row - np.float32(0.5)
        left, top = column.astype(np.int32), row.astype(np.int32)
        right, bottom = column - left, row - top
        start = (top * self.size + left).astype(np.intp)
        lower = weight * bottom
        upper = weight - lower
        lower_right, upper_right = lower * right, upper * right
        parts = (upper - upper_right, upper_right, lower - lower_right, lower_right)
        for offset, part in zip((0, 1, self.size, self.size + 1), parts, strict=True):
            bins = np.bincount(start, part)
            total[offset : offset + len(bins)] += bins


def _table_index(coordinate: FloatArray) -> NDArray[np.intp]:
    index = (coordinate + _TABLE_LIMIT_CM) * (1 / _TABLE_STEP_CM)
    return np.clip(index, 0, len(_TABLE_AXIS) - 1).astype(np.intp)


def spline(points: Sequence[tuple[float, float]]) -> Callable[[NDArray], NDArray]:
    """Smooth curve through (position, value) points that never overshoots them; constant beyond its ends.

    Cubic Hermite pieces with the harmonic-mean slopes of Fritsch and Butland (1984), as scipy's PCHIP inside; written
    out because building scipy's object takes longer than all other steps of the simulation.
    """
    positions, values = np.array(points, dtype=float).T
    gap = np.diff(positions)
    slope = np.diff(values) / gap
    before, after = slope[:-1], slope[1:]
    product = before * after
    inner = np.where(product > 0, 2 * product / np.where(product > 0, before + after, 1), 0)
    tangent = np.concatenate([slope[:1], inner, slope[-1:]])

    def curve(t: NDArray) -> NDArray:
        t = np.clip(t, positions[0], positions[-1])
        piece = np.clip(np.searchsorted(positions, t, side="right") - 1, 0, len(gap) - 1)
        width = gap[piece]
        u = (t - positions[piece]) / width
        start, end = values[piece], values[piece + 1]
        bend = (1 - u) * tangent[piece] * width - u * tangent[piece + 1] * width
        return start + (end - start) * u * u * (3 - 2 * u) + u * (1 - u) * bend

    return curve


def smoothstep(value: FloatArray) -> FloatArray:
    """0 below 0, 1 above 1, and a smooth rise between."""
    clipped = np.clip(value, 0, 1)
    return clipped * clipped * (3 - 2 * clipped)


def half_chord(value: NDArray) -> FloatArray:
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
    path: NDArray, radius: NDArray | float, across: int, shell: float = 0.0, weight: NDArray | float = 1.0
) -> Cloud:
    """Volume elements (x, y, cm3) of round tubes.

    Args:
        path: (..., points, 2) centre lines in cm.
        radius: cm, broadcastable to (..., points).
        across: samples over the diameter.
        shell: 0 a solid tube; else a hollow one whose wall is this share of the radius.
        weight: density, broadcastable to (..., points).
    """
    path = np.asarray(path, dtype=np.float32)
    step = np.empty_like(path)
    step[..., 1:-1, :] = (path[..., 2:, :] - path[..., :-2, :]) / 2
    step[..., 0, :], step[..., -1, :] = path[..., 1, :] - path[..., 0, :], path[..., -1, :] - path[..., -2, :]
    length = np.maximum(np.sqrt(step[..., 0] ** 2 + step[..., 1] ** 2), np.float32(1e-6))
    offset = (np.arange(across, dtype=np.float32) + np.float32(0.5)) / across * 2 - 1
    thickness = np.sqrt(1 - offset**2)
    if shell > 0:
        inner = 1 - shell
        thickness = thickness - inner * np.sqrt(np.maximum(1 - (offset / inner) ** 2, 0))
    radius = np.broadcast_to(np.asarray(radius, dtype=np.float32), length.shape)
    reach = (radius / length)[..., None] * offset
    x = path[..., 0, None] - step[..., 1, None] * reach
    y = path[..., 1, None] + step[..., 0, None] * reach
    volume = (4 / across * weight * radius**2 * length)[..., None] * thickness
    return x, y, volume.astype(np.float32)
