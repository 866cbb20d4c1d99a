"""Paired tests: is one method better than another on the same images ("with residue - without")?

Two tests, both by patient: :func:`paired_differences` resamples patients and suits every metric;
:func:`delong_test` needs no resampling and is for AUC.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from monai_dgm.metrics.delong import DeLongResult, delong_test
from monai_dgm.metrics.intervals import interval, patient_weights
from monai_dgm.metrics.metric_sets import MetricSet

__all__ = [
    "DeLongResult",
    "PairedDifference",
    "delong_test",
    "paired_differences",
]


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
            :func:`monai_dgm.metrics.across_splits.mean_over_splits`.
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
