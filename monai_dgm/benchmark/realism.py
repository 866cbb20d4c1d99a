"""Realism of y': distance to real normal radiographs, patient kept, diagnosis gone. Metric sets of resampling weights.

References:
    Binkowski et al.: Demystifying MMD GANs. ICLR 2018 (kernel inception distance; here with other features).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from monai_dgm.benchmark.features import CODE
from monai_dgm.benchmark.judge import Prediction
from monai_dgm.benchmark.test_sets import TestSet
from monai_dgm.metrics.image_quality import gradient_energy
from monai_dgm.metrics.intervals import bootstrap_ranking, weighted_mean, weighted_ratio
from monai_dgm.metrics.metric_sets import MetricSet, Weights

__all__ = ["Probe", "fit_probe", "realism_metrics"]

Array = NDArray[np.float64]
FOLDS = 5
_STRENGTH = 0.01  # of the penalty's inverse: far fewer images than features


def _regression() -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=_STRENGTH, max_iter=300))


@dataclass(frozen=True)
class Probe:
    """A classifier of normal and abnormal radiographs on the features, trained on real images of the training folds."""

    model: Pipeline

    def __call__(self, features: NDArray[np.floating]) -> Array:
        """Probability of abnormal, (N,)."""
        return np.asarray(self.model.predict_proba(features)[:, 1])


def fit_probe(features: NDArray[np.float32], labels: NDArray[np.int64]) -> Probe:
    """Train the classifier of diagnoses on features (N, F) of real images with labels (N,)."""
    return Probe(_regression().fit(features, labels))


def matched_images(test_set: TestSet, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of real normal and of abnormal images, equally many of each source, so that no source gives them away."""
    rng, pairs = np.random.default_rng(seed), ([], [])  # type: tuple[np.random.Generator, tuple[list[int], list[int]]]
    for source in sorted(set(test_set.sources.tolist())):
        both = [np.flatnonzero((test_set.sources == source) & (test_set.labels == label)) for label in (0, 1)]
        count = min(len(part) for part in both)
        for kept, part in zip(pairs, both, strict=True):
            kept.extend(sorted(rng.permutation(part)[:count].tolist()))
    return np.array(pairs[0], np.int64), np.array(pairs[1], np.int64)


def _kernel(first: Array, second: Array) -> Array:
    return np.asarray((first @ second.T / first.shape[1] + 1) ** 3)


def _pairs_mean(kernel: Array, weights: Array) -> Array:
    """Mean of the kernel over pairs of different images under each row of weights (B, N)."""
    off = kernel - np.diag(np.diag(kernel))
    below = weights.sum(axis=1) ** 2 - np.square(weights).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.einsum("bi,bi->b", weights @ off, weights) / below)


def kernel_distance(real: Array, made: Array, real_weights: Array, made_weights: Array) -> Array:
    """Kernel inception distance of every resample, (B,): unbiased, polynomial kernel of degree 3.

    Args:
        real, made: features (N, F) and (M, F).
        real_weights, made_weights: (B, N) and (B, M).
    """
    across = np.einsum("bi,bi->b", real_weights @ _kernel(real, made), made_weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        across = across / (real_weights.sum(axis=1) * made_weights.sum(axis=1))
    return _pairs_mean(_kernel(real, real), real_weights) + _pairs_mean(_kernel(made, made), made_weights) - 2 * across


def real_or_made(real: Array, made: Array, patients: NDArray[np.str_]) -> Array:
    """Cross-validated scores (N + M,) of a fresh classifier of made (1) against real (0) images, folds by patient."""
    features = np.concatenate((real, made))
    labels = np.r_[np.zeros(len(real)), np.ones(len(made))]
    scores = np.full(len(labels), 0.5)
    folds = min(FOLDS, len(set(patients.tolist())))
    if folds < 2:
        return scores
    for train, test in GroupKFold(folds).split(features, labels, patients):
        if len(set(labels[train].tolist())) == 2:
            scores[test] = _regression().fit(features[train], labels[train]).predict_proba(features[test])[:, 1]
    return scores


def own_ranks(made: Array, real: Array, sources: NDArray[np.str_]) -> Array:
    """Reciprocal rank (N,) of each patient's own radiograph among those of the source, by cosine of the features."""
    centre, spread = real.mean(axis=0), real.std(axis=0) + 1e-6
    first, second = (made - centre) / spread, (real - centre) / spread
    first /= np.linalg.norm(first, axis=1, keepdims=True) + 1e-12
    second /= np.linalg.norm(second, axis=1, keepdims=True) + 1e-12
    likeness = first @ second.T
    own = np.diag(likeness)[:, None]
    better = (likeness > own) & (sources[:, None] == sources[None])
    return 1.0 / (1 + better.sum(axis=1))


def realism_metrics(
    test_set: TestSet, features: NDArray[np.float32], prediction: Prediction, probe: Probe | None
) -> tuple[MetricSet, dict[str, NDArray[np.int64]]]:
    """Metrics of y' on the real test images, as functions of resampling weights (B, N).

    Args:
        test_set: the real images.
        features: of z, (N, F); F is 0 without a network of features, and only the sharpness is known then.
        prediction: of a system.
        probe: the classifier of diagnoses.

    Returns:
        "kid" (1000 times, features of the last layer), "real_or_made_auc", "own_rank" (mean reciprocal), "probe_auc"
        (y' of abnormal against real normal radiographs) and "sharpness" (gradient energy of y' over that of z, normal
        radiographs); and the images that each is of.
    """
    normal, abnormal = matched_images(test_set)
    both = np.concatenate((normal, abnormal))
    labels = np.r_[np.zeros(len(normal)), np.ones(len(abnormal))]
    of_normal = np.flatnonzero(test_set.labels == 0)
    energy = [
        np.array([gradient_energy(planes[i]) for i in of_normal]) for planes in (prediction.normals, test_set.images)
    ]
    z, made = features.astype(np.float64), prediction.features.astype(np.float64)
    known = z.shape[1] > 0 and len(normal) > 1
    if known:
        scores = real_or_made(z[normal], made[abnormal], test_set.patients[both])
        ranks = own_ranks(made[:, CODE:], z[:, CODE:], test_set.sources)
        gone = np.r_[probe(z[normal]), probe(made[abnormal])] if probe else np.zeros(len(both))
        real_code, made_code = z[normal][:, :CODE], made[abnormal][:, :CODE]

    def metrics(weights: Weights) -> Mapping[str, Array]:
        found: dict[str, Array] = {}
        if known:
            table = weights.astype(np.float64)
            found["kid"] = 1000 * kernel_distance(real_code, made_code, table[:, normal], table[:, abnormal])
            found["real_or_made_auc"] = bootstrap_ranking(scores, labels, weights[:, both]).auc
            if probe:
                found["probe_auc"] = bootstrap_ranking(gone, labels, weights[:, both]).auc
            found["own_rank"] = weighted_mean(ranks, weights)
        if len(of_normal):
            found["sharpness"] = weighted_ratio(energy[0], energy[1], weights[:, of_normal])
        return found

    members = {**dict.fromkeys(("kid", "real_or_made_auc", "probe_auc"), both), "sharpness": of_normal}
    return metrics, members
