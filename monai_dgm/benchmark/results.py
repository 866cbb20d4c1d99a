"""All metrics of all systems with intervals over patients, and paired differences, from the judged cells."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_dgm.benchmark.scores import groups_of
from monai_dgm.benchmark.test_sets import TestSet
from monai_dgm.metrics.comparison import bootstrap_p_value
from monai_dgm.metrics.intervals import interval, patient_weights
from monai_dgm.metrics.metric_sets import mean_and_sd

__all__ = ["METRICS", "REALISM", "Comparison", "Estimate", "Judged", "Results", "badness", "collect", "is_better"]

METRICS: Mapping[str, Mapping[str, str]] = json.loads(Path(__file__).with_name("metrics.json").read_text("utf-8"))
"""Label, meaning, and which values are "better": "higher", "lower", or nearer to "one" or to a "half"."""
REALISM = "realism"
COMPARED = ("inserted", "real")
_DIFFERENCES = ("pixel_ap", "pointing", "area_correlation", "identity", "residue_correlation", "residue_error",
                "lesion_left")  # fmt: skip
_AIMS = {"one": 1.0, "half": 0.5}
Array = NDArray[np.float64]
Key = tuple[str, str, str, str]


@dataclass(frozen=True)
class Judged:
    """A system and what its metrics are computed from.

    Attributes:
        name, title, supervision: of the system.
        cells: seed -> name of a test set -> indices of a group -> metric set, and by metric the images that it
            is of (all of the group where it is not named). Weights that were not trained here, and
            references, have the seed -1.
        is_reference: not a system: a prior, or the radiograph as it is.
    """

    name: str
    title: str
    supervision: str
    cells: Mapping[int, Mapping[str, Any]]
    is_reference: bool = False


@dataclass(frozen=True, eq=False)
class Estimate:
    """A metric of one system on one group of a test set.

    Attributes:
        values: of each seed.
        mean, sd: over the seeds; sd is NaN for one.
        low, high: 95 % interval of the mean, by bootstrap over patients.
        samples: (K, B) resampled values of each of K seeds.
        seeds: in their order.
        num_images, num_patients: that the metric is of.
    """

    values: tuple[float, ...]
    mean: float
    sd: float
    low: float
    high: float
    samples: Array
    seeds: tuple[int, ...]
    num_images: int
    num_patients: int


@dataclass(frozen=True)
class Comparison:
    """Ours minus another system on the same images in the same resamples; the mean over their common seeds."""

    ours: str
    other: str
    test_set: str
    group: str
    metric: str
    difference: float
    low: float
    high: float
    p_value: float
    seeds: int
    num_images: int
    num_patients: int

    @property
    def verdict(self) -> str:
        """ "better", "worse", or "" where the interval holds 0."""
        if not (self.low > 0 or self.high < 0):
            return ""
        return "better" if (self.difference > 0) == (METRICS[self.metric]["better"] == "higher") else "worse"


@dataclass
class Results:
    """Estimates by (system, test set, group, metric), and the comparisons.

    Attributes:
        judged: the systems, and references last.
        groups: names of the groups of each test set.
    """

    judged: list[Judged]
    groups: dict[str, list[str]]
    estimates: dict[Key, Estimate] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)

    def best(self, test_set: str, group: str, metric: str) -> str | None:
        """Name of the system with the best mean; references are left out."""
        found = {
            one.name: estimate.mean
            for one in self.judged
            if not one.is_reference and (estimate := self.estimates.get((one.name, test_set, group, metric)))
        }
        finite = {name: value for name, value in found.items() if math.isfinite(value)}
        best: str | None = None
        for name, value in finite.items():
            if best is None or is_better(metric, value, finite[best]):
                best = name
        return best


def is_better(metric: str, value: float, other: float) -> bool:
    """Whether a value of a metric is better than another."""
    return badness(metric, value) < badness(metric, other)


def badness(metric: str, value: float) -> float:
    """A number that is the lower, the better a value of a metric is."""
    better = METRICS[metric]["better"]
    if better in _AIMS:
        return abs(value - _AIMS[better])
    return -value if better == "higher" else value


def collect(
    judged: Sequence[Judged],
    test_sets: Mapping[str, TestSet],
    ours: Sequence[str],
    num_bootstrap: int,
) -> Results:
    """Estimates of every system, test set and group, and the differences of ours to the others.

    Args:
        judged: systems, and references last.
        test_sets: by name; ``realism`` is of the real images and has the group "all" only.
        ours: names of the systems that the others are compared with.
        num_bootstrap: resamples of the patients.
    """
    results = Results(list(judged), {})
    for name, test_set in test_sets.items():
        groups = groups_of(test_set) if name != REALISM else {"all": np.arange(len(test_set))}
        results.groups[name] = list(groups)
        for group, index in groups.items():
            patients = test_set.patients[index].tolist()
            weights = patient_weights(patients, num_bootstrap)
            for one in judged:
                found = _estimates(one, name, index, weights, test_set.patients)
                results.estimates |= {(one.name, name, group, metric): e for metric, e in found.items()}
    for our in ours:
        for one in judged:
            if one.name != our:
                results.comparisons += _comparisons(results, our, one.name)
    return results


def _estimates(
    one: Judged, test_set: str, index: NDArray[np.int64], weights: NDArray[np.float32], patients: NDArray[np.str_]
) -> dict[str, Estimate]:
    once = np.ones((1, len(index)), np.float32)
    values: dict[str, dict[int, tuple[float, Array]]] = {}
    members: Mapping[str, NDArray[np.int64]] = {}
    for seed, cells in one.cells.items():
        if test_set not in cells:
            continue
        metrics, members = cells[test_set](index)
        sampled = metrics(weights)
        for metric, value in metrics(once).items():
            values.setdefault(metric, {})[seed] = float(value[0]), np.asarray(sampled[metric], dtype=np.float64)
    found = {}
    for metric, by_seed in values.items():
        each = tuple(value for value, _ in by_seed.values())
        samples = np.stack([sample for _, sample in by_seed.values()])
        bounds = interval(samples.mean(axis=0))
        mean, sd = mean_and_sd(each)
        seeds = tuple(by_seed)
        own = members.get(metric, index)
        counts = len(own), len(set(patients[own].tolist()))
        found[metric] = Estimate(each, mean, sd, bounds.low, bounds.high, samples, seeds, *counts)
    return found


def _comparisons(results: Results, our: str, other: str) -> list[Comparison]:
    found = []
    for (name, test_set, group, metric), own in results.estimates.items():
        theirs = results.estimates.get((other, test_set, group, metric))
        if name != our or theirs is None or test_set not in COMPARED or metric not in _DIFFERENCES:
            continue
        pair = _paired(own, theirs)
        if pair is None:
            continue
        value, samples, seeds = pair
        bounds = interval(samples)
        found.append(
            Comparison(
                our, other, test_set, group, metric, value, bounds.low, bounds.high, bootstrap_p_value(samples),
                seeds, own.num_images, own.num_patients,
            )
        )  # fmt: skip
    return found


def _paired(own: Estimate, theirs: Estimate) -> tuple[float, Array, int] | None:
    """Difference of the means over common seeds, its resamples, number of seeds; one without seeds stands for all."""
    if own.seeds == (-1,) or theirs.seeds == (-1,):
        difference = own.samples.mean(axis=0) - theirs.samples.mean(axis=0)
        return own.mean - theirs.mean, difference, max(len(own.seeds), len(theirs.seeds))
    common = [seed for seed in own.seeds if seed in theirs.seeds]
    if not common:
        return None
    rows = [[one.seeds.index(seed) for seed in common] for one in (own, theirs)]
    value = np.mean([own.values[i] for i in rows[0]]) - np.mean([theirs.values[i] for i in rows[1]])
    return float(value), own.samples[rows[0]].mean(axis=0) - theirs.samples[rows[1]].mean(axis=0), len(common)
