"""Paired tests: is one method better than another on the same images ("with residue - without")?

Three tests, all by patient: :func:`paired_differences` resamples patients and suits any figure;
:func:`monai_dgm.metrics.delong.delong_test` needs no resampling and is for AUC; :func:`sign_flip_test` is for figures
that every image has by itself (Dice, a hit or a miss).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from monai_dgm.metrics.delong import DeLongResult, delong_test
from monai_dgm.metrics.intervals import interval, patient_weights, weighted_mean
from monai_dgm.metrics.metric_sets import FloatArray, MetricSet, Weights

__all__ = [
    "DeLongResult",
    "PairedDifference",
    "delong_test",
    "paired_difference",
    "paired_differences",
    "sign_flip_test",
]


@dataclass(frozen=True)
class PairedDifference:
    """A figure of two methods on the same images.

    Attributes:
        name: of the figure.
        first: its value for the first method (with residue).
        second: for the second method (without).
        difference: first - second.
        low: lower bound of the difference's 95 % interval, by bootstrap over patients.
        high: upper bound.
        spread: standard deviation of the resamples' differences.
        p_value: two-sided.
        num_images: compared.
        num_patients: compared.
        test: how ``p_value`` was found, "paired bootstrap" or "sign flip".
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
    """Two-sided p from resampled differences (B,): twice the smaller share at or beyond 0, counting one more resample.

    It is below 0.05 when the percentile interval leaves 0 out (but for the one added resample, which keeps p above 0:
    Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 4.2.3). NaN for no finite difference.
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
    """Every figure that both methods have, compared in the same resamples of the patients.

    Args:
        first: figures of the first method on N images (``classification_figure_set``, ``detection_figure_set``, or
            ``mean_over_splits`` of several).
        second: of the second method, on the same images in the same order.
        patients: patient of each image.
        num_bootstrap: resamples of the patients.
        seed: of the resampling.
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


def paired_difference(
    first: Callable[[Weights], FloatArray],
    second: Callable[[Weights], FloatArray],
    patients: Sequence[Hashable],
    num_bootstrap: int = 2000,
    seed: int = 0,
    name: str = "metric",
) -> PairedDifference:
    """:func:`paired_differences` of a single figure: functions from weights (B, N) to the figure (B,)."""
    compared = paired_differences(
        lambda weights: {name: first(weights)}, lambda weights: {name: second(weights)}, patients, num_bootstrap, seed
    )
    return compared[name]


def sign_flip_test(
    first: ArrayLike,
    second: ArrayLike,
    patients: Sequence[Hashable],
    num_resamples: int = 9999,
    seed: int = 0,
    name: str = "metric",
) -> PairedDifference:
    """Permutation test of a figure that every image has by itself: are the methods exchangeable within patients?

    The difference of all images of a patient changes sign together (``scipy.stats.permutation_test``; exact where there
    are fewer than ``num_resamples`` ways). The interval is that of a bootstrap over patients.

    Args:
        first: (N,) figure of each image with the first method, finite.
        second: (N,) with the second.
        patients: patient of each image.
        num_resamples: sign patterns tried, and resamples of the interval.
        seed: of both.
        name: of the figure.

    Raises:
        ValueError: a figure is not finite, lengths differ, or there are fewer than two patients.
    """
    ours, theirs = (np.asarray(values, dtype=np.float64) for values in (first, second))
    if not ours.shape == theirs.shape == (len(patients),) or not np.isfinite(ours - theirs).all():
        shapes = f"shapes {ours.shape} and {theirs.shape}"
        raise ValueError(f"{name}: expected {len(patients)} finite values of each method, got {shapes}")
    numbers: dict[Hashable, int] = {}
    of_image = [numbers.setdefault(patient, len(numbers)) for patient in patients]
    if len(numbers) < 2:
        raise ValueError(f"{name}: expected at least two patients, got {len(numbers)}")
    differences = ours - theirs
    bounds = interval(weighted_mean(differences, patient_weights(patients, num_resamples, seed)))
    tested = stats.permutation_test(
        (np.bincount(of_image, weights=differences),),
        np.mean,
        permutation_type="samples",
        n_resamples=num_resamples,
        batch=1000,
        random_state=np.random.default_rng(seed),
    )
    values = (float(ours.mean()), float(theirs.mean()), float(differences.mean()))
    std = (bounds.low, bounds.high, bounds.std)
    count = (len(patients), len(numbers))
    return PairedDifference(name, *values, *std, float(tested.pvalue), *count, "sign flip")
