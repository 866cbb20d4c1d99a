"""Quality of the normal image: similarity, sharpness, standard deviation over patients, error against the truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.metrics import SSIMMetric
from numpy.typing import ArrayLike, NDArray

DATA_RANGE = 2.0
"""Width of the intensity scale [-1, 1]."""
_MAX_STD_PIXELS = 1024
_BATCH = 16


def structural_similarity(
    images: Sequence[NDArray[np.float32]], others: Sequence[NDArray[np.float32]]
) -> NDArray[np.float64]:
    """SSIM of N pairs of planes (S, S), by MONAI: Gaussian window of 11 pixels, data range 2; (N,) in [-1, 1]."""
    found: list[float] = []
    for first in range(0, len(images), _BATCH):
        x = torch.from_numpy(np.stack(images[first : first + _BATCH]))[:, None].float()  # (n, 1, S, S)
        y = torch.from_numpy(np.stack(others[first : first + _BATCH]))[:, None].float()
        window = min(11, min(x.shape[-2:]) // 2 * 2 - 1)
        metric = SSIMMetric(spatial_dims=2, data_range=DATA_RANGE, win_size=window)
        found.extend(metric(x, y).flatten().tolist())  # type: ignore[union-attr]
    return np.array(found, dtype=np.float64)


def mean_absolute_error(image: ArrayLike, other: ArrayLike, area: ArrayLike | None = None) -> float:
    """Mean |image - other| of planes (S, S) over the nonzero pixels of ``area`` (None: all); NaN for an empty area."""
    difference = np.abs(np.asarray(image, dtype=np.float64) - np.asarray(other, dtype=np.float64))
    values = difference if area is None else difference[np.asarray(area) != 0]
    return float(values.mean()) if values.size else math.nan


def gradient_energy(image: ArrayLike) -> float:
    """Mean squared difference of neighbouring pixels of a plane (S, S) in both directions; it decreases with blur."""
    plane = np.asarray(image, dtype=np.float64)
    return float(np.square(np.diff(plane, axis=0)).mean() + np.square(np.diff(plane, axis=1)).mean())


@dataclass(frozen=True)
class LesionErrors:
    """Absolute errors of one image, summed over the lesion area, and the mean error outside of it.

    Attributes:
        pixels: number of pixels of the lesion area.
        image_error: sum over the area of |image - true normal|: the change by the disease.
        normal_error: sum over the area of |normal - true normal|: the part of it that remains.
        outside_error: mean over the other pixels of |normal - true normal|: damage by the decomposition.
    """

    pixels: int
    image_error: float
    normal_error: float
    outside_error: float


def lesion_errors(image: ArrayLike, normal: ArrayLike, true_normal: ArrayLike, area: ArrayLike) -> LesionErrors:
    """Errors of the input and of y' against the true normal, all (S, S), over the lesion ``area``."""
    inside = np.asarray(area) != 0
    truth = np.asarray(true_normal, dtype=np.float64)
    before = np.abs(np.asarray(image, dtype=np.float64) - truth)[inside]
    after = np.abs(np.asarray(normal, dtype=np.float64) - truth)
    outside = float(after[~inside].mean()) if not inside.all() else math.nan
    return LesionErrors(int(inside.sum()), float(before.sum()), float(after[inside].sum()), outside)


def mean_pixel_std(planes: Sequence[NDArray[np.float32]]) -> float:
    """Standard deviation of each pixel over N planes (S, S), averaged over the pixels: 0 if all planes are equal."""
    if len(planes) < 2:
        return math.nan
    total = np.zeros(planes[0].shape, dtype=np.float64)
    squares = np.zeros_like(total)
    for plane in planes:
        total += plane
        squares += np.square(plane, dtype=np.float64)
    variance = squares / len(planes) - np.square(total / len(planes))
    return float(np.sqrt(np.maximum(variance, 0)).mean())


def bootstrap_std(planes: Sequence[NDArray[np.float32]], weights: ArrayLike) -> NDArray[np.float64]:
    """:func:`mean_pixel_std` of every resample, on a regular grid of at most 1,024 pixels.

    Args:
        planes: N planes (S, S).
        weights: (B, N) from :func:`monai_dgm.metrics.intervals.patient_weights`.
    """
    step = max(1, math.ceil(math.sqrt(planes[0].size / _MAX_STD_PIXELS)))
    values = np.stack([plane[step // 2 :: step, step // 2 :: step].ravel() for plane in planes]).astype(np.float64)
    table = np.asarray(weights, dtype=np.float64)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    variance = share @ np.square(values) - np.square(share @ values)
    return np.asarray(np.sqrt(np.maximum(variance, 0)).mean(axis=1))
