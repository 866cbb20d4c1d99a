"""Mean and standard deviation over several trainings (the paper's five splits), with an interval over patients.

The standard deviation says how much trainings vary, the interval how much test patients do; the paper prints the former
alone. Splits may share a test set, as the paper's do, or have one each, as five folds do. The figure of each split is
computed by itself and then averaged: scores of different networks are never ranked together.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from monai_dgm.metrics.intervals import interval, patient_weights
from monai_dgm.metrics.metric_sets import FloatArray, MetricSet, Weights, metric_values


@dataclass(frozen=True)
class SplitSummary:
    """One figure over K splits.

    Attributes:
        name: of the figure.
        values: of each split, NaN where undefined.
        mean: over the splits where it is defined.
        sd: their standard deviation (ddof = 1); NaN for fewer than two.
        low: lower bound of the mean's 95 % interval, by bootstrap over the patients of all splits.
        high: upper bound.
        num_images: evaluated images of all splits; one that is in several test sets counts in each.
        num_patients: different patients.
        note: where a split is missing.
    """

    name: str
    values: tuple[float, ...]
    mean: float
    sd: float
    low: float
    high: float
    num_images: int
    num_patients: int
    note: str = ""


def mean_and_sd(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation (ddof = 1) of the finite values; NaN for none, and the latter for a single one."""
    finite = np.array([value for value in values if math.isfinite(value)], dtype=np.float64)
    mean = float(finite.mean()) if finite.size else math.nan
    return mean, float(finite.std(ddof=1)) if finite.size > 1 else math.nan


def mean_over_splits(metrics: Sequence[MetricSet], sizes: Sequence[int]) -> MetricSet:
    """The mean over splits as one figure set of all their images, one split after the other.

    Feed two of these to :func:`monai_dgm.metrics.comparison.paired_differences` to compare two methods over all splits.

    Args:
        figures: of each split.
        sizes: number of images of each split.

    Returns:
        Figures that every split has; NaN in a resample where one of the splits is NaN.
    """
    stops = np.cumsum([0, *sizes])

    def pooled(weights: Weights) -> Mapping[str, FloatArray]:
        parts = [figure(weights[:, stops[i] : stops[i + 1]]) for i, figure in enumerate(metrics)]
        shared = [name for name in parts[0] if all(name in part for part in parts)]
        return {name: np.mean([part[name] for part in parts], axis=0) for name in shared}

    return pooled


def summarise_splits(
    metrics: Sequence[MetricSet],
    patients: Sequence[Sequence[Hashable]],
    num_bootstrap: int = 1000,
    seed: int = 0,
) -> dict[str, SplitSummary]:
    """Every figure that all splits share, by name.

    Args:
        figures: of each of K splits, at least one.
        patients: of each split, the patient of each of its images. A patient who is in several splits is drawn for all
            of them at once.
        num_bootstrap: resamples of the patients.
        seed: of the resampling.

    Returns:
        Summaries. A split whose figure is NaN is left out of mean and deviation, the note says so, and there is no
        interval.

    Raises:
        ValueError: no split, or different numbers of figures and patients.
    """
    if not metrics or len(metrics) != len(patients):
        raise ValueError(f"metrics: expected one a split, got {len(metrics)} for {len(patients)} splits")
    sizes = [len(part) for part in patients]
    everyone = [patient for part in patients for patient in part]
    values = [metric_values(figure, size) for figure, size in zip(metrics, sizes, strict=True)]
    samples = mean_over_splits(metrics, sizes)(patient_weights(everyone, num_bootstrap, seed))
    summaries = {}
    for name, sample in samples.items():
        each = tuple(value[name] for value in values)
        lost, bounds = sum(not math.isfinite(value) for value in each), interval(sample)
        note = f"undefined in {lost} of {len(each)} splits" if lost else ""
        low, high = (math.nan, math.nan) if lost else (bounds.low, bounds.high)
        count = (len(everyone), len(set(everyone)))
        summaries[name] = SplitSummary(name, each, *mean_and_sd(each), low, high, *count, note)
    return summaries
