"""95 % intervals by bootstrap over patients.

Images of one patient are not independent, so whole patients are resampled. A resample is a row of integer weights,
one per image, and every metric is computed for all resamples at once from these weights: means are one matrix product,
and ranking metrics (AUC, average precision) are computed from weighted histograms of the scores.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

NUM_BINS = 4096
_CHUNK = 64  # resamples handled at a time where a (resamples, scores) table would not fit in memory

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """Bounds of the central 95 % of the resamples, and their standard deviation; NaN where undefined."""

    low: float
    high: float
    std: float


def patient_weights(patients: Sequence[Hashable], num_bootstrap: int, seed: int = 0) -> NDArray[np.float32]:
    """Draw ``num_bootstrap`` resamples of the patients, with replacement.

    Args:
        patients: patient of each of N images.
        num_bootstrap: number of resamples B.
        seed: of NumPy's default generator.

    Returns:
        float32 (B, N): how many times each image is in each resample. Images of one patient have equal columns.
    """
    if not patients:
        return np.zeros((num_bootstrap, 0), dtype=np.float32)
    numbers: dict[Hashable, int] = {}
    of_image = np.array([numbers.setdefault(patient, len(numbers)) for patient in patients])
    share = np.full(len(numbers), 1 / len(numbers))
    counts = np.random.default_rng(seed).multinomial(len(numbers), share, num_bootstrap)
    return counts.astype(np.float32)[:, of_image]


def interval(samples: ArrayLike, level: float = 0.95) -> Interval:
    """Percentile interval and standard deviation of bootstrap results; resamples that gave NaN are left out.

    Args:
        samples: (B,) value of the metric in each resample.
        level: share of the resamples between the bounds, in (0, 1).
    """
    values = np.asarray(samples, dtype=np.float64)
    values = values[np.isfinite(values)]
    if values.size < 2:
        return Interval(math.nan, math.nan, math.nan)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), float(values.std(ddof=1)))


def weighted_mean(values: ArrayLike, weights: ArrayLike) -> FloatArray:
    """Mean of ``values`` (N,) under each row of ``weights`` (B, N); NaN for a resample without any weight."""
    table = np.asarray(weights, dtype=np.float64)
    total = table.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(table @ np.asarray(values, dtype=np.float64) / total)


def weighted_ratio(numerators: ArrayLike, denominators: ArrayLike, weights: ArrayLike) -> FloatArray:
    """Sum of ``numerators`` (N,) over sum of ``denominators`` (N,) under each row of ``weights`` (B, N)."""
    table = np.asarray(weights, dtype=np.float64)
    below = table @ np.asarray(denominators, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(below > 0, table @ np.asarray(numerators, dtype=np.float64) / below, np.nan))


def histogram_average_precision(positives: ArrayLike, negatives: ArrayLike) -> FloatArray:
    """Average precision from score histograms, sum of (R_n - R_(n-1)) P_n as in scikit-learn, a bin being one score.

    Args:
        positives: (..., K) weight of positives in each bin, highest scores first.
        negatives: (..., K) weight of negatives.

    Returns:
        (...), NaN where there is no positive.
    """
    hits = np.asarray(positives, dtype=np.float64)
    found = hits.cumsum(axis=-1)
    called = found + np.asarray(negatives, dtype=np.float64).cumsum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(called > 0, found / called, 0.0)
        return np.asarray((precision * hits).sum(axis=-1) / found[..., -1])


def histogram_auc(positives: ArrayLike, negatives: ArrayLike) -> FloatArray:
    """Area under the ROC curve from score histograms, ties counting one half.

    Args and returns as :func:`histogram_average_precision`; NaN where one class is absent.
    """
    hits, misses = np.asarray(positives, dtype=np.float64), np.asarray(negatives, dtype=np.float64)
    above = hits.cumsum(axis=-1) - hits / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((above * misses).sum(axis=-1) / (hits.sum(axis=-1) * misses.sum(axis=-1)))


@dataclass(frozen=True)
class RankingSamples:
    """AUC and average precision of every resample, both (B,)."""

    auc: FloatArray
    average_precision: FloatArray


def bootstrap_ranking(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike) -> RankingSamples:
    """AUC and average precision of N scored images under each row of ``weights``, exactly (ties included).

    Args:
        scores: (N,) higher means more abnormal.
        labels: (N,) 0 or 1.
        weights: (B, N) from :func:`patient_weights`.
    """
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(labels).astype(bool)
    table = np.asarray(weights)
    if values.size == 0 or len(table) == 0:
        nothing = np.full(len(table), np.nan)
        return RankingSamples(nothing, nothing)
    order = np.argsort(-values, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(values[order]) != 0])  # one bin a distinct score
    truth, auc, precision = truth[order], [], []
    for first in range(0, len(table), _CHUNK):
        ordered = table[first : first + _CHUNK][:, order].astype(np.float64)
        hits = np.add.reduceat(ordered * truth, starts, axis=1)
        misses = np.add.reduceat(ordered * ~truth, starts, axis=1)
        auc.append(histogram_auc(hits, misses))
        precision.append(histogram_average_precision(hits, misses))
    return RankingSamples(np.concatenate(auc), np.concatenate(precision))


@dataclass(frozen=True)
class PixelHistograms:
    """Score histograms of N images, highest scores first: pixels inside and outside their masks, both (N, K)."""

    inside: NDArray[np.float32]
    outside: NDArray[np.float32]

    def pooled_average_precision(self, weights: ArrayLike | None = None) -> FloatArray:
        """Average precision over the pixels of all images together: (B,) for ``weights`` (B, N), (1,) for None."""
        table = np.ones((1, len(self.inside)), dtype=np.float32) if weights is None else np.asarray(weights, np.float32)
        parts = [
            histogram_average_precision(table[i : i + _CHUNK] @ self.inside, table[i : i + _CHUNK] @ self.outside)
            for i in range(0, len(table), _CHUNK)
        ]
        return np.concatenate(parts)

    def image_average_precision(self) -> FloatArray:
        """Average precision of each image by itself, (N,)."""
        return histogram_average_precision(self.inside, self.outside)


def pixel_histograms(
    scores: Sequence[NDArray[np.float32]], masks: Sequence[NDArray[np.bool_]], num_bins: int = NUM_BINS
) -> PixelHistograms:
    """Histograms of pixel scores whose bins hold about equally many pixels, so that rankings survive binning.

    Half of the bin edges are quantiles of the pixels inside the masks, half of all pixels: residues crowd at zero and
    lesions are small, so equal-width bins would merge just the scores that matter. Average precision from these bins
    is within 1e-3 of the exact one.

    Args:
        scores: N score maps of any shape, higher means more salient.
        masks: N masks of the same shapes.
        num_bins: at most this many bins.
    """
    if not scores:
        empty = np.zeros((0, 1), dtype=np.float32)
        return PixelHistograms(empty, empty)
    edges = _bin_edges(scores, masks, num_bins)
    inside = np.zeros((len(scores), edges.size + 1), dtype=np.float32)
    outside = np.zeros_like(inside)
    for i, (score, mask) in enumerate(zip(scores, masks, strict=True)):
        bins = edges.size - np.searchsorted(edges, score.ravel(), side="right")  # highest scores in bin 0
        marked = mask.ravel()
        inside[i] = np.bincount(bins[marked], minlength=edges.size + 1)
        outside[i] = np.bincount(bins[~marked], minlength=edges.size + 1)
    return PixelHistograms(inside, outside)


def _bin_edges(
    scores: Sequence[NDArray[np.float32]], masks: Sequence[NDArray[np.bool_]], num_bins: int
) -> NDArray[np.float32]:
    """Distinct ascending edges; a score belongs to the bin of the last edge at or below it."""
    stride = max(1, sum(score.size for score in scores) // 4_000_000)  # quantiles need a sample, not 10^9 pixels
    every = np.concatenate([score.ravel()[::stride] for score in scores])
    marked = np.concatenate([score[mask] for score, mask in zip(scores, masks, strict=True)])
    levels = np.linspace(0, 1, num_bins // 2)
    quantiles = [np.quantile(part, levels, method="nearest") for part in (every, marked) if part.size]
    return np.unique(np.concatenate(quantiles)).astype(np.float32)
