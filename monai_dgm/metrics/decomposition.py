"""Metrics of a decomposition, as in the report, with 95 % intervals by bootstrap over patients.

AUC of the head and of |a|; |a| on normal and abnormal images; the residue against the opacity masks, next to baselines
that do not use the residue; similarity of the normal image, and its error against the true normal image where that is
known; and the two ways in which a decomposition can collapse (the same normal image for all inputs, a blurred copy).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monai_dgm.metrics import classification
from monai_dgm.metrics import image_quality as fidelity
from monai_dgm.metrics.agreement import identity_rows
from monai_dgm.metrics.case_results import (
    Cohort,
    DecompositionResult,
    Group,
    MetricRow,
    standard_groups,
)
from monai_dgm.metrics.intervals import bootstrap_ranking, weighted_ratio
from monai_dgm.metrics.localisation import localisation_rows
from monai_dgm.metrics.prior_maps import LungAlignedPrior

__all__ = [
    "DecompositionResult",
    "MetricRow",
    "evaluate_decomposition",
    "standard_groups",
]


def evaluate_decomposition(
    results: Sequence[DecompositionResult],
    num_bootstrap: int = 1000,
    seed: int = 0,
    groups: Mapping[str, Group] | None = None,
    *,
    mean_box_prior: ArrayLike | None = None,
    mean_lung_box: ArrayLike | None = None,
    aligned_prior: LungAlignedPrior | None = None,
    mean_blob: ArrayLike | None = None,
) -> list[MetricRow]:
    """Compute all metrics of all groups.

    Args:
        results: decomposed radiographs, all of the same side S.
        num_bootstrap: number of resamples of the patients.
        seed: of the resampling.
        groups: by name, a function that says which results belong to the group; None for :func:`standard_groups`.
        mean_box_prior: (S, S) from :func:`monai_dgm.metrics.prior_maps.fit_mean_box_prior` on training images.
        mean_lung_box: (4,) from :func:`monai_dgm.metrics.prior_maps.fit_mean_lung_box` on training images.
        aligned_prior: from :class:`monai_dgm.metrics.prior_maps.LungAlignedPrior` on training images.
        mean_blob: (S, S), mean of the superimposed opacities that a training saw.

    Returns:
        rows, group by group; a group without results has no row. A metric is left out where no result has the truth
        that it needs (no opacity, no true normal image, no normal radiograph). It is NaN, with a note, where one class
        is absent or a score is not finite.

    Raises:
        ValueError: results of different shapes.
    """
    sides = sorted({result.image.shape for result in results})
    if len(sides) > 1:
        raise ValueError(f"results: expected images of one shape, got {sides}")
    rows: list[MetricRow] = []
    for name, belongs in (standard_groups(results) if groups is None else groups).items():
        members = [result for result in results if belongs(result)]
        if members:
            cohort = Cohort.draw(name, members, num_bootstrap, seed)
            rows += _detection_rows(cohort) + _strength_rows(cohort)
            rows += identity_rows(cohort)
            rows += localisation_rows(cohort, mean_box_prior, mean_lung_box, aligned_prior, mean_blob)
            rows += _likeness_rows(cohort) + _truth_rows(cohort) + _collapse_rows(cohort)
    return rows


def mean_abs_residue(result: DecompositionResult) -> float:
    """Mean |a| over the pixels of an image."""
    return float(np.abs(result.residue).mean())


def _normals(cohort: Cohort) -> Cohort:
    return cohort.part(lambda result: result.label == 0)


def _detection_rows(cohort: Cohort) -> list[MetricRow]:
    """AUC and average precision of the head's probability and of mean |a|."""
    labels = np.array([result.label for result in cohort.results])
    rows = []
    for prefix, scores in (
        ("head", cohort.each(lambda result: result.probability)),
        ("residue", cohort.each(mean_abs_residue)),
    ):
        reason = classification.undefined_reason(labels, scores)
        samples = bootstrap_ranking(scores, labels, cohort.weights[:0] if reason else cohort.weights)
        area = classification.auc(labels, scores)
        rows.append(cohort.row(f"{prefix}_auc", area, samples.auc, reason))
        precision = classification.average_precision(labels, scores)
        rows.append(cohort.row(f"{prefix}_ap", precision, samples.average_precision, reason))
    return rows


def _strength_rows(cohort: Cohort) -> list[MetricRow]:
    """Mean |a| on normal and on abnormal images, and their ratio (abnormal / normal)."""
    strength = cohort.each(mean_abs_residue)
    abnormal = cohort.each(lambda result: float(result.label == 1))
    means: list[tuple[float, NDArray[np.float64]]] = []
    rows = []
    for name, indicator in (("normal", 1 - abnormal), ("abnormal", abnormal)):
        part = cohort.take(np.flatnonzero(indicator).tolist())
        if part.results:
            samples = weighted_ratio(strength * indicator, indicator, cohort.weights)
            means.append((float(strength[indicator > 0].mean()), samples))
            rows.append(part.row(f"residue_mean_{name}", *means[-1]))
    if len(means) == 2:
        (below, below_samples), (above, above_samples) = means
        ratio = above / below if below > 0 else math.nan
        note = "" if below > 0 else "the residue is 0 on every normal image"
        with np.errstate(invalid="ignore", divide="ignore"):
            rows.append(cohort.row("residue_ratio", ratio, above_samples / below_samples, note))
    return rows


def _likeness_rows(cohort: Cohort) -> list[MetricRow]:
    """SSIM and L1 between y' and z on normal images, where y' should equal z."""
    normal = _normals(cohort)
    if not normal.results:
        return []
    similarity = fidelity.structural_similarity(
        [result.normal for result in normal.results], [result.image for result in normal.results]
    )
    return [
        normal.mean_row("normal_ssim", similarity),
        normal.mean_row("normal_l1", normal.each(lambda r: fidelity.mean_absolute_error(r.normal, r.image))),
    ]


def _truth_rows(cohort: Cohort) -> list[MetricRow]:
    """Errors against the true normal image, where that and the lesion are known."""
    known, errors = [], []
    for i, result in enumerate(cohort.results):
        area = result.opacity_area()
        if result.true_normal is not None and area is not None:
            known.append(i)
            errors.append(fidelity.lesion_errors(result.image, result.normal, result.true_normal, area))
    if not errors:
        return []
    part = cohort.take(known)
    pixels = np.array([error.pixels for error in errors], dtype=np.float64)
    before = np.array([error.image_error for error in errors])
    after = np.array([error.normal_error for error in errors])
    reduction = 1 - after.sum() / before.sum() if before.sum() > 0 else math.nan
    return [
        part.row("lesion_error_reduction", reduction, 1 - weighted_ratio(after, before, part.weights)),
        part.ratio_row("lesion_l1_image", before, pixels),
        part.ratio_row("lesion_l1_normal", after, pixels),
        part.mean_row("outside_lesion_l1_normal", np.array([error.outside_error for error in errors])),
    ]


def _collapse_rows(cohort: Cohort) -> list[MetricRow]:
    """Standard deviation of y' over images, relative to the inputs (0: one image for all), and sharpness."""
    rows = []
    if len(cohort.results) > 1:
        images, normals = [r.image for r in cohort.results], [r.normal for r in cohort.results]
        below = fidelity.mean_pixel_std(images)
        value = fidelity.mean_pixel_std(normals) / below if below > 0 else math.nan
        inputs = fidelity.bootstrap_std(images, cohort.weights)
        with np.errstate(invalid="ignore", divide="ignore"):
            samples = fidelity.bootstrap_std(normals, cohort.weights) / inputs
        rows.append(cohort.row("normal_std_ratio", value, samples))
    normal = _normals(cohort)
    if normal.results:
        sharpness = normal.each(lambda r: fidelity.gradient_energy(r.normal))
        inputs = normal.each(lambda r: fidelity.gradient_energy(r.image))
        rows.append(normal.ratio_row("sharpness_ratio", sharpness, inputs))
    return rows
