"""Localisation of opacities by the residue: pixel average precision and the pointing game, compared with baselines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from monai_dgm.metrics.agreement import removed_score, size_rows
from monai_dgm.metrics.case_results import Cohort, DecompositionResult, MetricRow
from monai_dgm.metrics.intervals import PixelHistograms, pixel_histograms, weighted_mean
from monai_dgm.metrics.prior_maps import LungAlignedPrior, box_score, brightness_score, lung_box_score, lung_mask_score
from monai_dgm.transforms.saliency import smoothing_sigma

ScoreMap = NDArray[np.float32]
Mask = NDArray[np.bool_]
FloatArray = NDArray[np.float64]

COMPARED = ("mean_box_prior", "lung_aligned_prior", "mean_blob", "grad_cam_head", "grad_cam_classifier")
"""Baselines that the residue's paired difference is printed to: priors, and maps of classifiers."""
METRICS = ("residue_pixel_ap", "residue_pixel_ap_image_mean", "pointing_game")


def residue_score(residue: ArrayLike) -> ScoreMap:
    """|a| as a score of disease; float32 (S, S), at least 0."""
    return np.abs(np.asarray(residue, dtype=np.float32))


def smoothed_score(score: ArrayLike) -> ScoreMap:
    """A score map (S, S) after a Gaussian filter of sigma S / 64, as the pointing game uses it; float32 (S, S)."""
    array = np.asarray(score, dtype=np.float32)
    return np.asarray(ndimage.gaussian_filter(array, smoothing_sigma(max(array.shape))), dtype=np.float32)


def pointing_hit(score: ArrayLike, area: ArrayLike) -> float:
    """Pointing game (Zhang et al., IJCV 2018): whether the maximum of the smoothed score is inside the area.

    Args:
        score: (S, S) score map, at least 0; smoothed here with a Gaussian of sigma S / 64.
        area: (S, S), nonzero in the boxes or mask.

    Returns:
        1 for a hit, 0 for a miss. If several pixels have the maximum (as in a lung mask), the share of them inside the
        area. A map that is 0 everywhere is a miss.
    """
    smoothed = smoothed_score(score)
    peak = float(smoothed.max())
    if not peak > 0:
        return 0.0
    at_peak = smoothed >= peak * (1 - 1e-6)
    return float((np.asarray(area) != 0)[at_peak].mean())


def baseline_scores(
    result: DecompositionResult,
    mean_box_prior: ArrayLike | None,
    mean_lung_box: ArrayLike | None,
    aligned_prior: LungAlignedPrior | None = None,
    mean_blob: ArrayLike | None = None,
) -> dict[str, ScoreMap]:
    """Score maps (S, S) of the baselines that can be computed for an image, by name."""
    shape = (result.image.shape[0], result.image.shape[1])
    scores = {"brightness": brightness_score(result.image)}
    if result.lung_mask is not None and np.any(result.lung_mask):
        scores["lung_mask"] = lung_mask_score(result.lung_mask)
        scores["lung_box"] = lung_box_score(result.lung_mask)
    if mean_lung_box is not None:
        scores["mean_lung_box"] = box_score(mean_lung_box, shape)
    if mean_box_prior is not None:
        scores["mean_box_prior"] = np.asarray(mean_box_prior, dtype=np.float32)
    if aligned_prior is not None and result.lung_box is not None:
        scores["lung_aligned_prior"] = aligned_prior.place(result.lung_box, shape)
    if mean_blob is not None:
        scores["mean_blob"] = np.asarray(mean_blob, dtype=np.float32)
    return {**scores, **result.class_maps}


@dataclass(frozen=True)
class LocalisationScores:
    """What the localisation metrics of one kind of score map are computed from.

    Attributes:
        histograms: score histograms of N images.
        hits: (N,) in [0, 1], results of the pointing game.
    """

    histograms: PixelHistograms
    hits: FloatArray

    @classmethod
    def measure(cls, scores: Sequence[ScoreMap], areas: Sequence[Mask]) -> LocalisationScores:
        """Compare N score maps (S, S) with N opacity areas (S, S)."""
        hits = [pointing_hit(score, area) for score, area in zip(scores, areas, strict=True)]
        return cls(pixel_histograms(scores, areas), np.array(hits, dtype=np.float64))

    def take(self, index: Sequence[int]) -> LocalisationScores:
        """The data of some of the images."""
        part = PixelHistograms(self.histograms.inside[list(index)], self.histograms.outside[list(index)])
        return LocalisationScores(part, self.hits[list(index)])

    def metrics(self, weights: NDArray[np.float32]) -> dict[str, tuple[float, FloatArray]]:
        """Metrics by name: the value and its resamples (B,) under ``weights`` (B, N)."""
        single = self.histograms.image_average_precision()
        pooled = self.histograms.pooled_average_precision
        values = (
            (float(pooled()[0]), pooled(weights)),
            (float(single.mean()), weighted_mean(single, weights)),
            (float(self.hits.mean()), weighted_mean(self.hits, weights)),
        )
        return dict(zip(METRICS, values, strict=True))


def localisation_rows(
    cohort: Cohort,
    mean_box_prior: ArrayLike | None = None,
    mean_lung_box: ArrayLike | None = None,
    aligned_prior: LungAlignedPrior | None = None,
    mean_blob: ArrayLike | None = None,
) -> list[MetricRow]:
    """Metrics of |a| on the images with an opacity area, then of each baseline where it can be computed.

    ``residue_pixel_ap`` ranks the pixels of all these images together; ``residue_pixel_ap_image_mean`` ranks those of
    each image separately and averages. The note of a baseline's row compares it with the residue on the same images in
    the same resamples, and a row ``<metric>/above_<baseline>`` has the difference with its interval. Metrics whose name
    begins with ``removed`` are of what y' took away instead of |a|.

    Args:
        cohort: results with their resamples.
        mean_box_prior: (S, S), see :func:`monai_dgm.metrics.prior_maps.fit_mean_box_prior`.
        mean_lung_box: (4,), see :func:`monai_dgm.metrics.prior_maps.fit_mean_lung_box`.
        aligned_prior: see :class:`monai_dgm.metrics.prior_maps.LungAlignedPrior`; for images whose lung box is known.
        mean_blob: (S, S), mean of the superimposed opacities of a training, which saw no box.
    """
    areas_of = [result.opacity_area() for result in cohort.results]
    cohort = cohort.take([i for i, area in enumerate(areas_of) if area is not None])
    areas = [area for area in areas_of if area is not None]
    if not areas:
        return []
    residues = [residue_score(result.residue) for result in cohort.results]
    if not all(np.isfinite(residue).all() for residue in residues):
        return [cohort.row(name, math.nan, [], "a residue is not finite: the network diverged") for name in METRICS]
    ours = LocalisationScores.measure(residues, areas)
    rows = [cohort.row(name, *metric) for name, metric in ours.metrics(cohort.weights).items()]
    smoothed = pixel_histograms([smoothed_score(score) for score in residues], areas).pooled_average_precision
    rows.append(cohort.row("residue_pixel_ap_smoothed", float(smoothed()[0]), smoothed(cohort.weights)))
    taken = LocalisationScores.measure([removed_score(result) for result in cohort.results], areas)
    for name, metric in taken.metrics(cohort.weights).items():
        rows.append(cohort.row(name.replace("residue_", "removed_").replace("pointing", "removed_pointing"), *metric))
    rows += size_rows(cohort, ours.hits)
    known = (mean_box_prior, mean_lung_box, aligned_prior, mean_blob)
    baselines = [baseline_scores(result, *known) for result in cohort.results]
    for name in sorted({name for scores in baselines for name in scores}):
        index = [i for i, scores in enumerate(baselines) if name in scores]
        theirs = LocalisationScores.measure([baselines[i][name] for i in index], [areas[i] for i in index])
        rows += _baseline_rows(name, cohort.take(index), theirs, ours.take(index))
    return rows


def _baseline_rows(
    baseline: str, cohort: Cohort, theirs: LocalisationScores, ours: LocalisationScores
) -> list[MetricRow]:
    residue = ours.metrics(cohort.weights)
    rows = []
    for name, (value, samples) in theirs.metrics(cohort.weights).items():
        own, own_samples = residue[name]
        rows.append(cohort.row(f"{name}/baseline_{baseline}", value, samples, _compared(own, own_samples, samples)))
        if baseline in COMPARED:
            rows.append(cohort.row(f"{name}/above_{baseline}", own - value, own_samples - samples))
    return rows


def _compared(value: float, residue: FloatArray, baseline: FloatArray) -> str:
    both = np.isfinite(residue) & np.isfinite(baseline)
    share = float((residue[both] > baseline[both]).mean()) if both.any() else math.nan
    return f"residue on these images {value:.3f}, above this in {share:.1%} of resamples"
