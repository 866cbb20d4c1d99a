"""What is measured (a decomposed radiograph with its truth) and what comes out (a figure with its interval)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monai_dgm.metrics.groups import UNKNOWN, groups_of
from monai_dgm.metrics.intervals import interval
from monai_dgm.transforms.boxes import rasterise_boxes

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class DecompositionResult:
    """One decomposed radiograph and what is known of it.

    Attributes:
        image_id: unique name of the image.
        patient_id: images that share it are resampled together.
        source: where the image comes from.
        view, sex: "unknown" where the data does not say.
        label: 0 normal, 1 abnormal.
        category: "normal", "lung_opacity" or "other_abnormal".
        image: z, float32 (S, S) in [-1, 1].
        normal: y', float32 (S, S) in [-1, 1].
        residue: a, float32 (S, S), in the scale of the image.
        probability: abnormality probability in [0, 1].
        opacity_mask: (S, S), nonzero in the opacities, when known.
        opacity_boxes: (N, 4) in model coordinates, when known; used where there is no mask.
        lung_mask: (S, S), nonzero in the lungs, when known.
        true_normal: float32 (S, S) in [-1, 1], when known (simulated radiographs).
        lung_box: (4,) in model coordinates, of a known or a segmented lung, for the prior aligned to it.
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

    def __post_init__(self) -> None:
        for name in ("image", "normal", "residue", "opacity_mask", "lung_mask", "true_normal"):
            array = getattr(self, name)
            if array is not None and (array.ndim != 2 or array.shape != self.image.shape):
                expected = self.image.shape if self.image.ndim == 2 else "(S, S)"
                raise ValueError(f"{self.image_id}: expected {name} of shape {expected}, got {array.shape}")

    def opacity_area(self) -> Mask | None:
        """The opacity mask, else the area of the boxes; None where neither marks a pixel."""
        if self.opacity_mask is not None:
            area = np.asarray(self.opacity_mask) != 0
        elif self.opacity_boxes is not None and len(self.opacity_boxes):
            area = rasterise_boxes(self.opacity_boxes, (self.image.shape[0], self.image.shape[1]))
        else:
            return None
        return area if area.any() else None


@dataclass(frozen=True)
class MetricRow:
    """A figure, the bounds of its 95 % bootstrap interval, and the standard deviation of the resamples.

    ``value`` is NaN where the figure is not defined; ``note`` then says why. A baseline of figure ``x`` is named
    ``x/baseline_<name>``.
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


def standard_groups(records: Sequence[DecompositionResult], by: Sequence[str] = ("source",)) -> dict[str, Group]:
    """Which records count in each of :func:`monai_dgm.metrics.groups.groups_of`."""
    named = {name: {record.image_id for record in part} for name, part in groups_of(records, by=by).items()}
    return {name: partial(_is_among, ids) for name, ids in named.items()}


def _is_among(image_ids: set[str], record: DecompositionResult) -> bool:
    return record.image_id in image_ids


def make_row(
    name: str,
    group: str,
    value: float,
    samples: ArrayLike,
    records: Sequence[DecompositionResult],
    note: str = "",
) -> MetricRow:
    """A row from a figure and its resamples (B,), counted over the ``records`` it was computed on."""
    bounds = interval(samples)
    patients = len({record.patient_id for record in records})
    return MetricRow(name, group, float(value), bounds.low, bounds.high, bounds.std, len(records), patients, note)


def combine_runs(runs: Sequence[Sequence[MetricRow]]) -> list[MetricRow]:
    """Mean over several trainings (the paper's five splits), with their standard deviation as the spread.

    The bounds become the lowest and the highest run. Figures that a run lacks, or has as NaN, are averaged over the
    others.
    """
    table: dict[tuple[str, str], list[MetricRow]] = {}
    for run in runs:
        for row in run:
            table.setdefault((row.name, row.group), []).append(row)
    return [_combined(rows) for rows in table.values()]


def _combined(rows: Sequence[MetricRow]) -> MetricRow:
    values = np.array([row.value for row in rows if np.isfinite(row.value)])
    first, nan = rows[0], float("nan")
    if values.size == 0:
        return first
    return MetricRow(
        name=first.name,
        group=first.group,
        value=float(values.mean()),
        low=float(values.min()),
        high=float(values.max()),
        std=float(values.std(ddof=1)) if values.size > 1 else nan,
        num_images=first.num_images,
        num_patients=first.num_patients,
        note=f"mean of {values.size} runs, bounds are the lowest and highest",
    )


def rows_as_dict(rows: Sequence[MetricRow]) -> Mapping[str, float]:
    """Values by ``group/name``, for trackers and key metrics."""
    return {f"{row.group}/{row.name}": row.value for row in rows}
