"""Metrics as functions of resampling weights: the same code gives a value, its interval and paired differences.

A metric set is a function. It takes weights (B, N): how many times each of N images is in each of B resamples. It
returns its metrics by name, each (B,), NaN where undefined. Weights of one give the metrics themselves; weights from
:func:`monai_dgm.metrics.intervals.patient_weights` give their bootstrap. Two metric sets under the same weights are
paired.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monai_dgm.metrics.case_results import MetricRow
from monai_dgm.metrics.intervals import interval, patient_weights

FloatArray = NDArray[np.float64]
Weights = NDArray[np.float32]
MetricSet = Callable[[Weights], Mapping[str, FloatArray]]


def metric_values(metrics: MetricSet, num_images: int) -> dict[str, float]:
    """Every metric on the N images without resampling."""
    return {name: float(value[0]) for name, value in metrics(np.ones((1, num_images), dtype=np.float32)).items()}


def metric_rows(
    metrics: MetricSet,
    patients: Sequence[Hashable],
    num_bootstrap: int = 1000,
    seed: int = 0,
    group: str = "all",
    notes: Mapping[str, str] | None = None,
) -> list[MetricRow]:
    """Every metric with its 95 % interval by bootstrap over patients.

    Args:
        metrics: metric set of N images.
        patients: patient of each of the N images.
        num_bootstrap: number of resamples of the patients.
        seed: of the resampling.
        group: name of the images, for the rows.
        notes: notes by name of the metric.

    Returns:
        One row per metric, in the order of the metric set.
    """
    samples = metrics(patient_weights(patients, num_bootstrap, seed)) if num_bootstrap else {}
    rows = []
    for name, value in metric_values(metrics, len(patients)).items():
        bounds, note = interval(samples.get(name, [])), (notes or {}).get(name, "")
        std = (bounds.low, bounds.high, bounds.std)
        rows.append(MetricRow(name, group, value, *std, len(patients), len(set(patients)), note))
    return rows


@dataclass(frozen=True)
class SplitSummary:
    """One metric over K splits (trainings).

    Attributes:
        name: name of the metric.
        values: value of each split, NaN where undefined.
        mean: mean over the splits where the metric is defined.
        sd: their standard deviation (ddof = 1); NaN for fewer than two.
        low: lower bound of the mean's 95 % interval, by bootstrap over the patients of all splits.
        high: upper bound.
        num_images: evaluated images of all splits; an image in several test sets is counted in each.
        num_patients: number of different patients.
        note: says in how many splits the metric is undefined.
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
    """Mean and standard deviation (ddof = 1) of the finite values; NaN where there are too few of them."""
    finite = np.array([value for value in values if math.isfinite(value)], dtype=np.float64)
    mean = float(finite.mean()) if finite.size else math.nan
    return mean, float(finite.std(ddof=1)) if finite.size > 1 else math.nan


def mean_over_splits(metrics: Sequence[MetricSet], sizes: Sequence[int]) -> MetricSet:
    """The mean over splits as one metric set over all their images, one split after the other.

    Pass two of these to :func:`monai_dgm.metrics.comparison.paired_differences` to compare two methods over all splits.

    Args:
        metrics: metric set of each split.
        sizes: number of images in each split.

    Returns:
        a metric set of the metrics that every split has; NaN in a resample in which one of the splits is NaN.
    """
    stops = np.cumsum([0, *sizes])

    def pooled(weights: Weights) -> Mapping[str, FloatArray]:
        parts = [metric(weights[:, stops[i] : stops[i + 1]]) for i, metric in enumerate(metrics)]
        shared = [name for name in parts[0] if all(name in part for part in parts)]
        return {name: np.mean([part[name] for part in parts], axis=0) for name in shared}

    return pooled


def summarise_splits(
    metrics: Sequence[MetricSet],
    patients: Sequence[Sequence[Hashable]],
    num_bootstrap: int = 1000,
    seed: int = 0,
) -> dict[str, SplitSummary]:
    """Mean, standard deviation and interval over splits of every metric that all splits have, by name.

    The standard deviation says how much trainings vary, the interval how much test patients do; the paper prints the
    standard deviation alone. Splits may share a test set, as the paper's do, or have one each, as five folds do. The
    metric of each split is computed separately and then averaged: scores of different networks are never ranked
    together.

    Args:
        metrics: metric set of each of K splits, at least one.
        patients: for each split, the patient of each of its images. A patient who is in several splits is drawn for
            all of them together.
        num_bootstrap: number of resamples of the patients.
        seed: of the resampling.

    Returns:
        summaries. A split whose metric is NaN is left out of mean and standard deviation; the note says so, and low and
        high are NaN.

    Raises:
        ValueError: no split, or not one list of patients per split.
    """
    if not metrics or len(metrics) != len(patients):
        raise ValueError(f"metrics: expected one per split, got {len(metrics)} for {len(patients)} splits")
    sizes = [len(part) for part in patients]
    everyone = [patient for part in patients for patient in part]
    values = [metric_values(metric, size) for metric, size in zip(metrics, sizes, strict=True)]
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
