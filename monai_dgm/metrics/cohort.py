"""Records with the resamples of their patients: rows of means and ratios whose intervals stay paired."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monai_dgm.metrics.case_results import DecompositionResult, MetricRow, make_row
from monai_dgm.metrics.intervals import patient_weights, weighted_mean, weighted_ratio

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Cohort:
    """The records of a group and how often each is in each resample.

    Attributes:
        name: of the group.
        records: N records.
        weights: (B, N) from :func:`monai_dgm.metrics.intervals.patient_weights`.
    """

    name: str
    records: Sequence[DecompositionResult]
    weights: NDArray[np.float32]

    @classmethod
    def draw(cls, name: str, records: Sequence[DecompositionResult], num_bootstrap: int, seed: int) -> Cohort:
        """Resample the patients of ``records``."""
        return cls(name, records, patient_weights([record.patient_id for record in records], num_bootstrap, seed))

    def take(self, index: Sequence[int]) -> Cohort:
        """Some of the records, in the same resamples, so that figures of parts stay paired."""
        return Cohort(self.name, [self.records[i] for i in index], self.weights[:, list(index)])

    def part(self, keep: Callable[[DecompositionResult], bool]) -> Cohort:
        """The records that ``keep`` accepts."""
        return self.take([i for i, record in enumerate(self.records) if keep(record)])

    def each(self, figure: Callable[[DecompositionResult], float]) -> FloatArray:
        """A figure of each record, (N,)."""
        return np.array([figure(record) for record in self.records], dtype=np.float64)

    def row(self, name: str, value: float, samples: ArrayLike, note: str = "") -> MetricRow:
        """A row from a figure and its resamples (B,)."""
        return make_row(name, self.name, value, samples, self.records, note)

    def mean_row(self, name: str, values: FloatArray, note: str = "") -> MetricRow:
        """Mean over the records of ``values`` (N,)."""
        return self.row(name, float(values.mean()), weighted_mean(values, self.weights), note)

    def ratio_row(self, name: str, above: FloatArray, below: FloatArray, note: str = "") -> MetricRow:
        """Sum of ``above`` (N,) over sum of ``below`` (N,)."""
        value = float(above.sum() / below.sum()) if below.sum() > 0 else math.nan
        return self.row(name, value, weighted_ratio(above, below, self.weights), note)
