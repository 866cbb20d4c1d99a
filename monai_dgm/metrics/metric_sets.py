"""Figures as functions of resampling weights, so that one code gives the value, its interval and paired differences.

A figure set takes weights (B, N), how often each of N images counts in each of B resamples, and returns its figures by
name, each (B,), NaN where undefined. Weights of one give the figures themselves; weights from
:func:`monai_dgm.metrics.intervals.patient_weights` their bootstrap. Two figure sets under the same weights are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from monai_dgm.metrics.case_results import MetricRow
from monai_dgm.metrics.intervals import interval, patient_weights

FloatArray = NDArray[np.float64]
Weights = NDArray[np.float32]
MetricSet = Callable[[Weights], Mapping[str, FloatArray]]


def metric_values(metrics: MetricSet, num_images: int) -> dict[str, float]:
    """Every figure on the images as they are."""
    return {name: float(value[0]) for name, value in metrics(np.ones((1, num_images), dtype=np.float32)).items()}


def metric_rows(
    metrics: MetricSet,
    patients: Sequence[Hashable],
    num_bootstrap: int = 1000,
    seed: int = 0,
    group: str = "all",
    notes: Mapping[str, str] | None = None,
) -> list[MetricRow]:
    """Every figure with its 95 % interval by bootstrap over patients.

    Args:
        figures: of N images.
        patients: patient of each of the N images.
        num_bootstrap: resamples of the patients.
        seed: of the resampling.
        group: which images these are, for the rows.
        notes: remarks by name of the figure.

    Returns:
        A row a figure, in the order of the figure set.
    """
    samples = metrics(patient_weights(patients, num_bootstrap, seed)) if num_bootstrap else {}
    rows = []
    for name, value in metric_values(metrics, len(patients)).items():
        bounds, note = interval(samples.get(name, [])), (notes or {}).get(name, "")
        std = (bounds.low, bounds.high, bounds.std)
        rows.append(MetricRow(name, group, value, *std, len(patients), len(set(patients)), note))
    return rows
