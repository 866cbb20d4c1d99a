"""Metrics of one system on one test set, as functions of resampling weights: the same for values and differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from monai_dgm.benchmark.judge import Prediction
from monai_dgm.benchmark.test_sets import TestSet
from monai_dgm.metrics.agreement import weighted_correlation
from monai_dgm.metrics.image_quality import lesion_errors, structural_similarity
from monai_dgm.metrics.intervals import (
    PixelHistograms,
    bootstrap_ranking,
    pixel_histograms,
    weighted_mean,
    weighted_ratio,
)
from monai_dgm.metrics.localisation import pointing_hit
from monai_dgm.metrics.metric_sets import MetricSet, Weights

__all__ = ["CellScores", "groups_of", "map_scores", "measure"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
_BINS = 1024  # of pixel scores
_TERTILES = ("small", "medium", "large"), ("faint", "medium", "dense")


@dataclass(frozen=True, eq=False)
class CellScores:
    """What the metrics of one system on N images of a test set are computed from.

    Attributes:
        means: name -> (N,) values whose mean is the metric; NaN where an image has none.
        ratios: name -> (numerators, denominators), both (N,); NaN where an image has none.
        hits: (N,) pointing game; NaN where an image has no area.
        histograms: of |a| of the images with an area.
        areas: (N,) share of the pixels; 0 for none.
        strengths: (N,) mean |a|.
        labels, probabilities: (N,).
    """

    means: Mapping[str, Array]
    ratios: Mapping[str, tuple[Array, Array]]
    hits: Array
    histograms: PixelHistograms
    areas: Array
    strengths: Array
    labels: NDArray[np.int64]
    probabilities: Array
    _rows: Indices = field(init=False)

    def __post_init__(self) -> None:
        rows = np.full(len(self.hits), -1)
        rows[np.isfinite(self.hits)] = np.arange(int(np.isfinite(self.hits).sum()))
        object.__setattr__(self, "_rows", rows)

    def members(self, index: Indices) -> dict[str, Indices]:
        """Of some of the images, those that each metric is of."""
        marked = index[np.isfinite(self.hits[index])]
        found = dict.fromkeys(("pixel_ap", "pointing", "area_correlation"), marked)
        found |= {name: index[np.isfinite(one[index])] for name, one in self.means.items()}
        for name, (above, below) in self.ratios.items():
            found[name] = index[np.isfinite(above[index]) & np.isfinite(below[index])]
        return found

    def __call__(self, index: Indices) -> tuple[MetricSet, dict[str, Indices]]:
        """:meth:`metrics` and :meth:`members`."""
        return self.metrics(index), self.members(index)

    def metrics(self, index: Indices) -> MetricSet:
        """The metrics of some of the images."""
        marked = np.flatnonzero(np.isfinite(self.hits[index]))
        own = self._rows[index[marked]]
        histograms = PixelHistograms(self.histograms.inside[own], self.histograms.outside[own])
        labels = self.labels[index]

        def values(weights: Weights) -> Mapping[str, Array]:
            found: dict[str, Array] = {}
            if len(marked):
                part = weights[:, marked]
                found["pixel_ap"] = histograms.pooled_average_precision(part)
                found["pointing"] = weighted_mean(self.hits[index[marked]], part)
                if len(marked) > 2:
                    strength, area = self.strengths[index[marked]], self.areas[index[marked]]
                    found["area_correlation"] = weighted_correlation(strength, area, part)
            for name, one in self.means.items():
                known = np.flatnonzero(np.isfinite(one[index]))
                if len(known):
                    found[name] = weighted_mean(one[index[known]], weights[:, known])
            for name, (above, below) in self.ratios.items():
                known = np.flatnonzero(np.isfinite(above[index]) & np.isfinite(below[index]))
                if len(known):
                    found[name] = weighted_ratio(above[index[known]], below[index[known]], weights[:, known])
            if len(set(labels.tolist())) == 2:
                found["residue_auc"] = bootstrap_ranking(self.strengths[index], labels, weights).auc
                if np.isfinite(self.probabilities[index]).all():
                    found["head_auc"] = bootstrap_ranking(self.probabilities[index], labels, weights).auc
            return found

        return values


def measure(test_set: TestSet, prediction: Prediction) -> CellScores:
    """Scores of a system on a test set.

    ``identity`` is mean |z - y' - a|. With true normal images: ``normal_error`` is mean |y' - y|, ``residue_error``
    mean |a - (z - y)|, ``residue_correlation`` Pearson's over the pixels of an image, ``lesion_left`` the share of the
    lesion's error that y' still has (0: gone, 1: as in z), ``outside_error`` the mean error of y' outside the lesion.
    ``normal_ssim`` is of y' to z on normal radiographs.
    """
    images, residues, normals = test_set.images, prediction.residues, prediction.normals
    count = len(test_set)
    marked = np.flatnonzero(test_set.complete & test_set.areas.any(axis=(1, 2)))
    hits = np.full(count, np.nan)
    strength = [np.abs(residue) for residue in residues]
    hits[marked] = [pointing_hit(strength[i], test_set.areas[i]) for i in marked]
    means = {"identity": np.abs(images - normals - residues).mean(axis=(1, 2)).astype(np.float64)}
    ratios: dict[str, tuple[Array, Array]] = {}
    clean = np.flatnonzero(test_set.labels == 0)
    if len(clean):
        similar = np.full(count, np.nan)
        similar[clean] = structural_similarity([normals[i] for i in clean], [images[i] for i in clean])
        means["normal_ssim"] = similar
    if test_set.normals.ndim == 3:
        means |= _exact_means(test_set, prediction)
        errors = [lesion_errors(images[i], normals[i], test_set.normals[i], test_set.areas[i]) for i in marked]
        left, whole, outside = (np.full(count, np.nan) for _ in range(3))
        left[marked] = [error.normal_error for error in errors]
        whole[marked] = [error.image_error for error in errors]
        outside[marked] = [error.outside_error for error in errors]
        ratios["lesion_left"] = (left, whole)
        means["outside_error"] = outside
    return CellScores(
        means=means,
        ratios=ratios,
        hits=hits,
        histograms=pixel_histograms([strength[i] for i in marked], [test_set.areas[i] for i in marked], _BINS),
        areas=test_set.areas.mean(axis=(1, 2)),
        strengths=np.array([float(plane.mean()) for plane in strength]),
        labels=test_set.labels,
        probabilities=prediction.probabilities.astype(np.float64),
    )


def map_scores(test_set: TestSet, score: Callable[[int], NDArray[np.float32]]) -> CellScores:
    """Scores of a map that does not come from a system, such as a prior: localisation only.

    Args:
        test_set: the images.
        score: index -> (S, S), at least 0.
    """
    marked = np.flatnonzero(test_set.complete & test_set.areas.any(axis=(1, 2)))
    maps = {int(i): score(int(i)) for i in marked}
    hits, strengths = np.full(len(test_set), np.nan), np.zeros(len(test_set))
    hits[marked] = [pointing_hit(maps[int(i)], test_set.areas[i]) for i in marked]
    strengths[marked] = [float(maps[int(i)].mean()) for i in marked]
    histograms = pixel_histograms([maps[int(i)] for i in marked], [test_set.areas[i] for i in marked], _BINS)
    areas, labels = test_set.areas.mean(axis=(1, 2)), np.ones(len(test_set), np.int64)
    return CellScores({}, {}, hits, histograms, areas, strengths, labels, np.full(len(test_set), np.nan))


def _exact_means(test_set: TestSet, prediction: Prediction) -> dict[str, Array]:
    truth = test_set.images - test_set.normals
    correlation = np.full(len(test_set), np.nan)
    for i in np.flatnonzero(test_set.areas.any(axis=(1, 2))):  # elsewhere the truth is rounding
        both = truth[i].ravel().astype(np.float64), prediction.residues[i].ravel().astype(np.float64)
        correlation[i] = np.corrcoef(*both)[0, 1] if both[1].std() > 0 else 0.0  # one that does not vary has none
    return {
        "normal_error": np.abs(prediction.normals - test_set.normals).mean(axis=(1, 2)).astype(np.float64),
        "residue_error": np.abs(prediction.residues - truth).mean(axis=(1, 2)).astype(np.float64),
        "residue_correlation": correlation,
    }


def groups_of(test_set: TestSet) -> dict[str, Indices]:
    """Indices of all images and of groups: by source, and, of inserted opacities, by kind, size, density and place."""
    groups = {"all": np.arange(len(test_set))}
    sources = sorted(set(test_set.sources.tolist()))
    if len(sources) > 1:
        groups |= {f"source: {source}": np.flatnonzero(test_set.sources == source) for source in sources}
    if test_set.name != "inserted" or not len(test_set):
        return groups
    for kind in sorted(set(test_set.kinds.tolist())):
        groups[f"kind: {kind}"] = np.flatnonzero(test_set.kinds == kind)
    area = test_set.areas.sum(axis=(1, 2))
    added = (np.abs(test_set.images - test_set.normals) * test_set.areas).sum(axis=(1, 2)) / np.maximum(area, 1)
    for name, values, words in (("size", area, _TERTILES[0]), ("density", added, _TERTILES[1])):
        bounds = np.quantile(values, (1 / 3, 2 / 3))
        third = np.searchsorted(bounds, values, side="right")
        groups |= {f"{name}: {word}": np.flatnonzero(third == number) for number, word in enumerate(words)}
    rows = np.arange(test_set.areas.shape[1])[None, :] + 0.5
    height = (test_set.areas.sum(axis=2) * rows).sum(axis=1) / np.maximum(area, 1)
    top, bottom = test_set.lung_boxes[:, 1], test_set.lung_boxes[:, 3]
    share = (height - top) / np.maximum(bottom - top, 1)
    places = (("upper", share < 1 / 3), ("middle", (share >= 1 / 3) & (share < 2 / 3)), ("lower", share >= 2 / 3))
    groups |= {f"place: {word}": np.flatnonzero(mask) for word, mask in places}
    return {name: index for name, index in groups.items() if len(index)}
