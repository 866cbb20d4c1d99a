"""DeLong's test for two AUCs on the same images, and its extension to several images a patient.

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

FloatArray = NDArray[np.float64]
_ROUNDING = 1e-12


@dataclass(frozen=True)
class DeLongResult:
    """Two AUCs and their difference, first - second.

    Attributes:
        auc_first: of the first scores.
        auc_second: of the second scores.
        difference: between them.
        standard_error: of the difference.
        low: lower bound of its 95 % interval (normal approximation).
        high: upper bound.
        p_value: two-sided.
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
    """Share of the other class that each image is ranked on the right side of, ties counting one half.

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
    """AUCs of several scores on the same images, and their covariance.

    Args:
        labels: (N,) 0 or 1, at least two of each (from two patients, if given).
        scores: K scores (N,).
        patients: patient of each image (Obuchowski's covariance); None takes images as independent (DeLong's).

    Returns:
        AUCs (K,) and covariance (K, K); NaN covariance where there is too little of a class.
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
    """Is the AUC of ``first`` another than that of ``second`` on the same images?

    Args:
        labels: (N,) 0 or 1.
        first: (N,) scores, higher means more likely 1.
        second: (N,) scores.
        patients: patient of each image, when patients have several; None takes images as independent.

    Returns:
        NaN with a note where a class is (nearly) absent, a score is not finite, or the difference has no variance
        though it is not 0 (both rank perfectly or not at all).
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
