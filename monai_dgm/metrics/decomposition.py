"""How well radiographs were taken apart: every figure of the report, with 95 % intervals by patient.

Detection by the head and by |a|; |a| on normal and abnormal images; the residue against the opacity masks beside
baselines that know nothing of it; the normal image's likeness, and its error against the true normal where that is
known; and the two ways in which a decomposition collapses (one normal for everybody, a blurred copy).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monai_dgm.metrics import classification, fidelity, localisation
from monai_dgm.metrics.intervals import (
    PixelHistograms,
    bootstrap_ranking,
    patient_weights,
    pixel_histograms,
    weighted_mean,
    weighted_ratio,
)
from monai_dgm.metrics.records import (
    DecompositionRecord,
    Group,
    MetricRow,
    combine_runs,
    groups_by_source,
    make_row,
    rows_as_dict,
)

__all__ = [
    "DecompositionRecord",
    "MetricRow",
    "combine_runs",
    "evaluate_decomposition",
    "groups_by_source",
    "rows_as_dict",
]

FloatArray = NDArray[np.float64]


def evaluate_decomposition(
    records: Sequence[DecompositionRecord],
    num_bootstrap: int = 1000,
    seed: int = 0,
    groups: Mapping[str, Group] | None = None,
    *,
    mean_box_prior: ArrayLike | None = None,
    mean_lung_box: ArrayLike | None = None,
) -> list[MetricRow]:
    """All figures of all groups.

    Args:
        records: decomposed radiographs, of one side S.
        num_bootstrap: resamples of the patients.
        seed: of the resampling.
        groups: which records count, by group name; None is :func:`groups_by_source`.
        mean_box_prior: (S, S) from :func:`monai_dgm.metrics.baselines.fit_mean_box_prior` on training images.
        mean_lung_box: (4,) from :func:`monai_dgm.metrics.baselines.fit_mean_lung_box` on training images.

    Returns:
        Rows, group by group. A figure that is not defined in a group (one class, no mask, no truth) is left out
        when it needs truth that nobody has there, and is NaN with a note when it needs the other class.
    """
    chosen = groups_by_source(records) if groups is None else groups
    rows: list[MetricRow] = []
    for name, belongs in chosen.items():
        members = [record for record in records if belongs(record)]
        if not members:
            continue
        weights = patient_weights([record.patient_id for record in members], num_bootstrap, seed)
        group = _Group(name, members, weights)
        rows += _detection_rows(group) + _strength_rows(group)
        rows += _localisation_rows(group, mean_box_prior, mean_lung_box)
        rows += _likeness_rows(group) + _truth_rows(group) + _collapse_rows(group)
    return rows


@dataclass(frozen=True)
class _Group:
    name: str
    records: Sequence[DecompositionRecord]
    weights: NDArray[np.float32]  # (B, N)

    def part(self, keep: Callable[[DecompositionRecord], bool]) -> _Group:
        """The records that ``keep`` accepts; the same resamples, so figures of parts stay paired."""
        index = [i for i, record in enumerate(self.records) if keep(record)]
        return _Group(self.name, [self.records[i] for i in index], self.weights[:, index])

    def each(self, figure: Callable[[DecompositionRecord], float]) -> FloatArray:
        """A figure of each image, (N,)."""
        return np.array([figure(record) for record in self.records], dtype=np.float64)

    def row(self, name: str, value: float, samples: ArrayLike, note: str = "") -> MetricRow:
        return make_row(name, self.name, value, samples, self.records, note)

    def mean_row(self, name: str, values: FloatArray, note: str = "") -> MetricRow:
        """Mean over the images of ``values`` (N,)."""
        return self.row(name, float(values.mean()), weighted_mean(values, self.weights), note)

    def ratio_row(self, name: str, above: FloatArray, below: FloatArray, note: str = "") -> MetricRow:
        """Sum of ``above`` (N,) over sum of ``below`` (N,)."""
        value = float(above.sum() / below.sum()) if below.sum() > 0 else math.nan
        return self.row(name, value, weighted_ratio(above, below, self.weights), note)


def mean_abs_residue(record: DecompositionRecord) -> float:
    """Mean |a| over the pixels of an image."""
    return float(np.abs(record.residue).mean())


def _detection_rows(group: _Group) -> list[MetricRow]:
    labels = np.array([record.label for record in group.records])
    rows = []
    for prefix, scores in (
        ("head", group.each(lambda record: record.probability)),
        ("residue", group.each(mean_abs_residue)),
    ):
        reason = classification.undefined_reason(labels, scores)
        samples = bootstrap_ranking(scores, labels, group.weights[:0] if reason else group.weights)
        area = classification.auc(labels, scores)
        rows.append(group.row(f"{prefix}_auc", area, samples.auc, reason))
        precision = classification.average_precision(labels, scores)
        rows.append(group.row(f"{prefix}_ap", precision, samples.average_precision, reason))
    return rows


def _strength_rows(group: _Group) -> list[MetricRow]:
    """Mean |a| on normal and abnormal images, and abnormal over normal."""
    strength = group.each(mean_abs_residue)
    normal = group.part(lambda record: record.label == 0)
    abnormal = group.part(lambda record: record.label == 1)
    rows = [
        part.mean_row(f"residue_mean_{name}", part.each(mean_abs_residue))
        for name, part in (("normal", normal), ("abnormal", abnormal))
        if part.records
    ]
    if normal.records and abnormal.records:
        is_abnormal = group.each(lambda record: float(record.label == 1))
        samples = _mean_where(strength, is_abnormal, group.weights) / _mean_where(
            strength, 1 - is_abnormal, group.weights
        )
        below = rows[0].value
        rows.append(group.row("residue_ratio", rows[1].value / below if below > 0 else math.nan, samples))
    return rows


def _mean_where(values: FloatArray, indicator: FloatArray, weights: NDArray[np.float32]) -> FloatArray:
    return weighted_ratio(values * indicator, indicator, weights)


def _localisation_rows(
    group: _Group, mean_box_prior: ArrayLike | None, mean_lung_box: ArrayLike | None
) -> list[MetricRow]:
    """Pixel average precision and pointing of the residue, then of the baselines on the images they exist for."""
    marked = group.part(lambda record: record.opacity_area() is not None)
    if not marked.records:
        return []
    areas = [_area(record) for record in marked.records]
    residues = [localisation.residue_score(record.residue) for record in marked.records]
    ours = _score_rows(marked, residues, areas, "")
    smoothed = [localisation.smoothed_residue_score(record.residue) for record in marked.records]
    histograms = pixel_histograms(smoothed, areas)
    rows = [
        *ours.rows,
        marked.row(
            "residue_pixel_ap_smoothed",
            histograms.pooled_average_precision()[0],
            histograms.pooled_average_precision(marked.weights),
            "the |a| of which is smoothed as for pointing",
        ),
    ]
    baselines = [localisation.baseline_scores(record, mean_box_prior, mean_lung_box) for record in marked.records]
    for name in sorted({name for scores in baselines for name in scores}):
        index = [i for i, scores in enumerate(baselines) if name in scores]
        part = _Group(marked.name, [marked.records[i] for i in index], marked.weights[:, index])
        theirs = _score_rows(
            part, [baselines[i][name] for i in index], [areas[i] for i in index], f"/baseline_{name}", ours.take(index)
        )
        rows += theirs.rows
    return rows


def _area(record: DecompositionRecord) -> NDArray[np.bool_]:
    area = record.opacity_area()
    assert area is not None  # callers keep only records that have one
    return area


@dataclass(frozen=True)
class _Scored:
    rows: list[MetricRow]
    histograms: PixelHistograms
    hits: FloatArray  # (N,)

    def take(self, index: list[int]) -> _Scored:
        """The same scores on some of the images."""
        part = PixelHistograms(self.histograms.inside[index], self.histograms.outside[index])
        return _Scored([], part, self.hits[index])


def _score_rows(
    part: _Group,
    scores: list[NDArray[np.float32]],
    areas: list[NDArray[np.bool_]],
    suffix: str,
    rival: _Scored | None = None,
) -> _Scored:
    """Rows of one kind of score map; ``rival`` is the residue on the same images, for the paired note."""
    histograms = pixel_histograms(scores, areas)
    hits = np.array([localisation.pointing_hit(score, area) for score, area in zip(scores, areas, strict=True)])
    pooled = histograms.pooled_average_precision(part.weights)
    single = histograms.image_average_precision()
    notes = ["", "", ""]
    if rival is not None:
        theirs = rival.histograms
        each = theirs.image_average_precision()
        notes = [
            _paired(theirs.pooled_average_precision()[0], theirs.pooled_average_precision(part.weights), pooled),
            _paired(each.mean(), weighted_mean(each, part.weights), weighted_mean(single, part.weights)),
            _paired(rival.hits.mean(), weighted_mean(rival.hits, part.weights), weighted_mean(hits, part.weights)),
        ]
    rows = [
        part.row(f"residue_pixel_ap{suffix}", histograms.pooled_average_precision()[0], pooled, notes[0]),
        part.mean_row(f"residue_pixel_ap_image_mean{suffix}", single, notes[1]),
        part.mean_row(f"pointing_game{suffix}", hits, notes[2]),
    ]
    return _Scored(rows, histograms, hits)


def _paired(value: float, residue: FloatArray, baseline: FloatArray) -> str:
    both = np.isfinite(residue) & np.isfinite(baseline)
    share = float((residue[both] > baseline[both]).mean()) if both.any() else math.nan
    return f"residue on these images {value:.3f}, above this in {share:.1%} of resamples"


def _likeness_rows(group: _Group) -> list[MetricRow]:
    """SSIM and L1 of y' to z on normal images, where y' should be z."""
    normal = group.part(lambda record: record.label == 0)
    if not normal.records:
        return []
    similarity = fidelity.structural_similarity(
        [record.normal for record in normal.records], [record.image for record in normal.records]
    )
    return [
        normal.mean_row("normal_ssim", similarity),
        normal.mean_row("normal_l1", normal.each(lambda r: fidelity.mean_absolute_error(r.normal, r.image))),
    ]


def _truth_rows(group: _Group) -> list[MetricRow]:
    """Errors against the true normal, where it and the lesion are known."""
    known = group.part(lambda record: record.true_normal is not None and record.opacity_area() is not None)
    if not known.records:
        return []
    errors = [
        fidelity.lesion_errors(r.image, r.normal, np.asarray(r.true_normal), _area(r)) for r in known.records
    ]
    pixels = np.array([error.pixels for error in errors], dtype=np.float64)
    before = np.array([error.image_error for error in errors])
    after = np.array([error.normal_error for error in errors])
    reduction = 1 - after.sum() / before.sum() if before.sum() > 0 else math.nan
    return [
        known.row("lesion_error_reduction", reduction, 1 - weighted_ratio(after, before, known.weights)),
        known.ratio_row("lesion_l1_image", before, pixels),
        known.ratio_row("lesion_l1_normal", after, pixels),
        known.mean_row("outside_lesion_l1_normal", np.array([error.outside_error for error in errors])),
    ]


def _collapse_rows(group: _Group) -> list[MetricRow]:
    """Spread of y' over patients against the inputs' (0: one normal for all); sharpness of y' (0: blurred)."""
    rows = []
    if len(group.records) > 1:
        images, normals = [r.image for r in group.records], [r.normal for r in group.records]
        below = fidelity.mean_pixel_spread(images)
        value = fidelity.mean_pixel_spread(normals) / below if below > 0 else math.nan
        with np.errstate(invalid="ignore", divide="ignore"):
            samples = fidelity.bootstrap_spread(normals, group.weights) / fidelity.bootstrap_spread(
                images, group.weights
            )
        rows.append(group.row("normal_spread_ratio", value, samples))
    normal = group.part(lambda record: record.label == 0)
    if normal.records:
        sharpness = normal.each(lambda r: fidelity.gradient_energy(r.normal))
        rows.append(normal.ratio_row("sharpness_ratio", sharpness, normal.each(lambda r: fidelity.gradient_energy(r.image))))
    return rows
