"""Inputs and outputs of the evaluation: results of single radiographs, groups of them, and rows of metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monai_dgm.metrics.intervals import interval, patient_weights, weighted_mean, weighted_ratio
from monai_dgm.transforms.boxes import rasterise_boxes

GROUPED_BY = ("source", "view", "sex")
UNKNOWN = "unknown"

T = TypeVar("T")
Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]
FloatArray = NDArray[np.float64]


def origin_of(item: Mapping[str, Any]) -> dict[str, str]:
    """ "source", "view" and "sex" of an entry of a datalist; "unknown" where the entry does not give them."""
    return {name: str(item.get(name) or UNKNOWN) for name in GROUPED_BY}


def groups_of(
    results: Sequence[T],
    source_groups: Mapping[str, Sequence[str]] | None = None,
    origins: Sequence[Mapping[str, str]] | None = None,
    by: Sequence[str] = GROUPED_BY,
) -> dict[str, list[T]]:
    """Results by group: "all", then "source:<name>", "view:<name>" and "sex:<name>" where there are several values.

    Args:
        results: of an evaluation, in any order.
        source_groups: further groups "sources:<name>": the names of the sources of each; empty groups are left out.
        origins: origin of each result, from :func:`origin_of`; None takes the attributes of the results.
        by: properties to group by, of "source", "view" and "sex".
    """
    if origins is None:
        origins = [{name: getattr(result, name) for name in GROUPED_BY if hasattr(result, name)} for result in results]
    pairs = list(zip(results, origins, strict=True))
    groups = {"all": list(results)}
    for kind in by:
        known = sorted({origin[kind] for _, origin in pairs if origin.get(kind, UNKNOWN) != UNKNOWN})
        if kind == "source" and any(origin.get(kind) == UNKNOWN for _, origin in pairs):
            known.append(UNKNOWN)  # images without a source form a group, too
        if len(known) > 1:
            groups.update({f"{kind}:{name}": [r for r, o in pairs if o.get(kind) == name] for name in known})
    for name, members in (source_groups or {}).items():
        if kept := [result for result, origin in pairs if origin.get("source") in members]:
            groups[f"sources:{name}"] = kept
    return groups


@dataclass(frozen=True)
class DecompositionResult:
    """One decomposed radiograph with the known truth.

    Attributes:
        image_id: unique name of the image.
        patient_id: images that share it are resampled together.
        source: where the image comes from.
        view, sex: "unknown" where the data does not give them.
        label: 0 normal, 1 abnormal.
        category: "normal", "lung_opacity" or "other_abnormal".
        image: z, float32 (S, S) in [-1, 1].
        normal: y', float32 (S, S) in [-1, 1].
        residue: a, float32 (S, S), on the scale of the image.
        probability: abnormality probability in [0, 1].
        opacity_mask: (S, S), nonzero in the opacities, where known.
        opacity_boxes: (N, 4) in model coordinates, where known; used if there is no mask.
        lung_mask: (S, S), nonzero in the lungs, where known.
        true_normal: float32 (S, S) in [-1, 1], where known (simulated radiographs).
        lung_box: (4,) in model coordinates, of a known or a segmented lung, for the prior aligned to it.
        class_maps: maps (S, S), at least 0, of where classifiers look, by name; baselines of the residue.
    """

    image_id: str
    patient_id: str
    source: str
    label: int
    category: str
    image: Plane
    normal: Plane
    residue: Plane
    probability: float
    opacity_mask: NDArray[Any] | None = None
    opacity_boxes: NDArray[np.float32] | None = None
    lung_mask: NDArray[Any] | None = None
    true_normal: Plane | None = None
    view: str = UNKNOWN
    sex: str = UNKNOWN
    lung_box: NDArray[np.float32] | None = None
    class_maps: Mapping[str, Plane] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("image", "normal", "residue", "opacity_mask", "lung_mask", "true_normal"):
            array = getattr(self, name)
            if array is not None and (array.ndim != 2 or array.shape != self.image.shape):
                expected = self.image.shape if self.image.ndim == 2 else "(S, S)"
                raise ValueError(f"{self.image_id}: expected {name} of shape {expected}, got {array.shape}")

    def opacity_area(self) -> Mask | None:
        """The opacity mask, or the area of the boxes if there is no mask; bool (S, S), None if no pixel is marked."""
        if self.opacity_mask is not None:
            area = np.asarray(self.opacity_mask) != 0
        elif self.opacity_boxes is not None and len(self.opacity_boxes):
            area = rasterise_boxes(self.opacity_boxes, (self.image.shape[0], self.image.shape[1]))
        else:
            return None
        return area if area.any() else None


@dataclass(frozen=True)
class MetricRow:
    """One metric of one group of images, with its 95 % bootstrap interval and the standard deviation of the resamples.

    ``value`` is NaN where the metric is not defined; ``note`` then gives the reason. A baseline of the metric ``x`` has
    the name ``x/baseline_<name>``.
    """

    name: str
    group: str
    value: float
    low: float
    high: float
    std: float
    num_images: int
    num_patients: int
    note: str = ""


Group = Callable[[DecompositionResult], bool]


def standard_groups(results: Sequence[DecompositionResult], by: Sequence[str] = ("source",)) -> dict[str, Group]:
    """A predicate for each group of :func:`monai_dgm.metrics.case_results.groups_of`."""
    named = {name: {result.image_id for result in part} for name, part in groups_of(results, by=by).items()}
    return {name: partial(_is_among, ids) for name, ids in named.items()}


def _is_among(image_ids: set[str], result: DecompositionResult) -> bool:
    return result.image_id in image_ids


def make_row(
    name: str,
    group: str,
    value: float,
    samples: ArrayLike,
    results: Sequence[DecompositionResult],
    note: str = "",
) -> MetricRow:
    """A row from a value and its resamples (B,); images and patients are counted over ``results``."""
    bounds = interval(samples)
    patients = len({result.patient_id for result in results})
    return MetricRow(name, group, float(value), bounds.low, bounds.high, bounds.std, len(results), patients, note)


@dataclass(frozen=True)
class Cohort:
    """The results of a group, and how many times each of them is in each bootstrap resample.

    Attributes:
        name: of the group.
        results: N results.
        weights: (B, N) from :func:`monai_dgm.metrics.intervals.patient_weights`.
    """

    name: str
    results: Sequence[DecompositionResult]
    weights: NDArray[np.float32]

    @classmethod
    def draw(cls, name: str, results: Sequence[DecompositionResult], num_bootstrap: int, seed: int) -> Cohort:
        """Make a cohort by resampling the patients of ``results``."""
        return cls(name, results, patient_weights([result.patient_id for result in results], num_bootstrap, seed))

    def take(self, index: Sequence[int]) -> Cohort:
        """Some of the results, in the same resamples, so that metrics of both stay paired."""
        return Cohort(self.name, [self.results[i] for i in index], self.weights[:, list(index)])

    def part(self, keep: Callable[[DecompositionResult], bool]) -> Cohort:
        """The results for which ``keep`` is true."""
        return self.take([i for i, result in enumerate(self.results) if keep(result)])

    def each(self, metric: Callable[[DecompositionResult], float]) -> FloatArray:
        """The value of ``metric`` for each result, (N,)."""
        return np.array([metric(result) for result in self.results], dtype=np.float64)

    def row(self, name: str, value: float, samples: ArrayLike, note: str = "") -> MetricRow:
        """A row from a value and its resamples (B,)."""
        return make_row(name, self.name, value, samples, self.results, note)

    def mean_row(self, name: str, values: FloatArray, note: str = "") -> MetricRow:
        """Mean over the results of ``values`` (N,)."""
        return self.row(name, float(values.mean()), weighted_mean(values, self.weights), note)

    def ratio_row(self, name: str, above: FloatArray, below: FloatArray, note: str = "") -> MetricRow:
        """Sum of ``above`` (N,) over sum of ``below`` (N,)."""
        value = float(above.sum() / below.sum()) if below.sum() > 0 else math.nan
        return self.row(name, value, weighted_ratio(above, below, self.weights), note)
