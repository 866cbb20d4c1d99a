"""Paired tests: is one method better than another on the same images ("with residue - without")?

Two tests, both by patient: :func:`paired_differences` resamples patients and suits every metric;
:func:`delong_test` needs no resampling and is for AUC.

References:
    DeLong, DeLong, Clarke-Pearson: Comparing the areas under two or more correlated receiver operating characteristic
    curves. Biometrics 44, 1988. Sun, Xu: Fast implementation of DeLong's algorithm, IEEE Signal Processing Letters 21,
    2014 (mid-ranks). Obuchowski: Nonparametric analysis of clustered ROC curve data, Biometrics 53, 1997.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from monai_dgm.metrics.intervals import interval, patient_weights
from monai_dgm.metrics.metric_sets import MetricSet

__all__ = [
    "DeLongResult",
    "PairedDifference",
    "delong_test",
    "paired_differences",
]

FloatArray = NDArray[np.float64]
_ROUNDING = 1e-12


@dataclass(frozen=True)
class DeLongResult:
    """Two AUCs and their difference, first - second.

    Attributes:
        auc_first: AUC of the first scores, in [0, 1].
        auc_second: AUC of the second scores, in [0, 1].
        difference: first - second.
        standard_error: of the difference.
        low: lower bound of the difference's 95 % interval (normal approximation).
        high: upper bound of that interval.
        p_value: two-sided, in [0, 1].
        note: why a value is NaN.
    """

    auc_first: float
    auc_second: float
    difference: float
    standard_error: float
    low: float
    high: float
    p_value: float
    note: str = ""


def auc_components(labels: ArrayLike, scores: ArrayLike) -> FloatArray:
    """For each image, the share of the other class that it is ranked correctly against; ties count one half.

    DeLong's structural components, from mid-ranks (Sun and Xu, 2014, eq. 9 to 12). Their mean over either class is the
    AUC.

    Args:
        labels: (N,) 0 or 1, both present.
        scores: (N,) finite.

    Returns:
        (N,) in [0, 1].
    """
    positive, values = np.asarray(labels).astype(bool), np.asarray(scores, dtype=np.float64)
    ranks, components = stats.rankdata(values), np.empty(values.size)
    above = ranks[positive] - stats.rankdata(values[positive])  # negatives below each positive
    components[positive] = above / (~positive).sum()
    components[~positive] = 1 - (ranks[~positive] - stats.rankdata(values[~positive])) / positive.sum()
    return components


def auc_covariance(
    labels: ArrayLike, scores: Sequence[ArrayLike], patients: Sequence[Hashable] | None = None
) -> tuple[FloatArray, FloatArray]:
    """AUCs of K scores on the same images, and their covariance.

    Args:
        labels: (N,) 0 or 1, at least two images of each (from at least two patients, if ``patients`` is given).
        scores: K scores (N,).
        patients: patient of each image (Obuchowski's covariance); None treats images as independent (DeLong's).

    Returns:
        AUCs (K,) and covariance (K, K); the covariance is NaN where a class has too few images.
    """
    positive = np.asarray(labels).astype(bool)
    components = np.stack([auc_components(positive, score) for score in scores])
    areas = components[:, positive].mean(axis=1)
    numbers: dict[Hashable, int] = {}
    people: Sequence[Hashable] = range(positive.size) if patients is None else patients
    of_image = np.array([numbers.setdefault(patient, len(numbers)) for patient in people])
    both = []  # of each class: (K, patients) sum of a patient's deviations over the size of the class
    covariance = np.zeros((len(areas), len(areas)))
    for members in (positive, ~positive):
        sums = np.zeros((len(numbers), len(areas)))
        np.add.at(sums, of_image[members], (components[:, members] - areas[:, None]).T)
        both.append(sums.T / members.sum())
        covariance += _unbiased(np.unique(of_image[members]).size) * both[-1] @ both[-1].T
    across = _unbiased(len(numbers)) * both[0] @ both[1].T  # 0 where every patient has one class
    return areas, covariance + across + across.T


def _unbiased(count: int) -> float:
    return count / (count - 1) if count > 1 else math.nan


def delong_test(
    labels: ArrayLike, first: ArrayLike, second: ArrayLike, patients: Sequence[Hashable] | None = None
) -> DeLongResult:
    """Test whether two scores have different AUCs on the same images.

    Args:
        labels: (N,) 0 or 1.
        first: (N,) scores, higher means more likely 1.
        second: (N,) scores.
        patients: patient of each image; None treats images as independent.

    Returns:
        the result; values are NaN, with a note, where a class has too few images, a score is not finite, or the
        difference is not 0 but has no variance (both rank perfectly or not at all).
    """
    truth, scores = np.asarray(labels), [np.asarray(score, dtype=np.float64) for score in (first, second)]
    nan = math.nan
    if np.unique(truth).size < 2:
        return DeLongResult(nan, nan, nan, nan, nan, nan, nan, "only one class present")
    if not all(np.isfinite(score).all() for score in scores):
        return DeLongResult(nan, nan, nan, nan, nan, nan, nan, "scores are not all finite")
    areas, covariance = auc_covariance(truth, scores, patients)
    difference = float(areas[0] - areas[1])
    error = float(np.sqrt(np.maximum([1, -1] @ covariance @ [1, -1], 0)))
    p_value, note = nan, ""
    if math.isnan(error):
        note = "a class has fewer than two independent images"
    elif error > _ROUNDING:
        p_value = float(2 * stats.norm.sf(abs(difference) / error))
    elif abs(difference) <= _ROUNDING:
        p_value = 1.0
    else:
        note = "the difference has no variance"
    reach = float(stats.norm.ppf(0.975)) * error
    bounds = (difference - reach, difference + reach)
    return DeLongResult(float(areas[0]), float(areas[1]), difference, error, *bounds, p_value, note)


@dataclass(frozen=True)
class PairedDifference:
    """One metric of two methods on the same images.

    Attributes:
        name: of the metric.
        first: value for the first method.
        second: value for the second method.
        difference: first - second.
        low: lower bound of the difference's 95 % interval, by bootstrap over patients.
        high: upper bound of that interval.
        std: standard deviation of the difference over the resamples.
        p_value: two-sided, in [0, 1].
        num_images: number of images compared.
        num_patients: number of patients compared.
        test: method that gave ``p_value``: "paired bootstrap".
        note: why a value is NaN.
    """

    name: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    std: float
    p_value: float
    num_images: int
    num_patients: int
    test: str
    note: str = ""


def bootstrap_p_value(differences: ArrayLike) -> float:
    """Two-sided p-value from resampled differences (B,).

    Twice the smaller share of the resamples at or beyond 0, with one resample added.

    It is below 0.05 when the percentile interval does not contain 0, up to the added resample, which keeps p above 0
    (Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 4.2.3). NaN if no difference is finite.
    """
    values = np.asarray(differences, dtype=np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return math.nan
    smaller = min((values <= 0).sum(), (values >= 0).sum())
    return float(min(1.0, 2 * (smaller + 1) / (values.size + 1)))


def paired_differences(
    first: MetricSet,
    second: MetricSet,
    patients: Sequence[Hashable],
    num_bootstrap: int = 2000,
    seed: int = 0,
) -> dict[str, PairedDifference]:
    """Compare every metric that both methods have, in the same resamples of the patients.

    Args:
        first: metrics of the first method on N images, from
            :func:`monai_dgm.metrics.classification.classification_metric_set`,
            :func:`monai_dgm.metrics.detection.detection_metric_set`, or
            :func:`monai_dgm.metrics.metric_sets.mean_over_splits`.
        second: metrics of the second method on the same images in the same order.
        patients: patient of each of the N images.
        num_bootstrap: number of resamples of the patients.
        seed: of the resampling.

    Returns:
        the comparisons by name of the metric; NaN with a note where a metric is undefined for one of the two methods.
    """
    once, weights = np.ones((1, len(patients)), np.float32), patient_weights(patients, num_bootstrap, seed)
    values, samples = (first(once), second(once)), (first(weights), second(weights))
    count, found = (len(patients), len(set(patients))), {}
    for name in (name for name in values[0] if name in values[1]):
        ours, theirs = (float(value[name][0]) for value in values)
        if math.isfinite(ours - theirs):
            differences, note = samples[0][name] - samples[1][name], ""
        else:
            differences, note = np.zeros(0), "undefined for one of the two"
        bounds, p_value = interval(differences), bootstrap_p_value(differences)
        std = (bounds.low, bounds.high, bounds.std)
        found[name] = PairedDifference(
            name, ours, theirs, ours - theirs, *std, p_value, *count, "paired bootstrap", note
        )
    return found
