"""Metrics of a two-class classifier (paper, section 5.2), from scikit-learn.

The paper's thresholds minimise |sensitivity - specificity| on the validation set and are then applied to the test set:
:func:`balanced_threshold` on one, :func:`classification_rows` on the other. The paper's Tables 4 and 5 take NORMAL as
the positive class; pass ``positive_class="normal"`` to compare.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from monai_dgm.metrics.case_results import MetricRow
from monai_dgm.metrics.intervals import bootstrap_ranking, weighted_ratio
from monai_dgm.metrics.metric_sets import MetricSet, metric_rows

PositiveClass = Literal["abnormal", "normal"]
METRICS = ("auc", "average_precision", "sensitivity", "specificity", "precision", "f1")
ONE_CLASS = "only one class present"
NOT_FINITE = "scores are not all finite"


def undefined_reason(labels: ArrayLike, scores: ArrayLike) -> str:
    """Why AUC and average precision are undefined for labels (N,) and scores (N,); empty if they are defined."""
    if np.unique(np.asarray(labels)).size < 2:
        return ONE_CLASS
    return "" if np.isfinite(np.asarray(scores, dtype=np.float64)).all() else NOT_FINITE


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve of scores (N,) for labels (N,) in {0, 1}; NaN where undefined."""
    if undefined_reason(labels, scores):
        return math.nan
    return float(roc_auc_score(np.asarray(labels), np.asarray(scores)))


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Average precision of scores (N,) for labels (N,) in {0, 1}; NaN where undefined."""
    if undefined_reason(labels, scores):
        return math.nan
    return float(average_precision_score(np.asarray(labels), np.asarray(scores)))


def balanced_threshold(labels: ArrayLike, scores: ArrayLike) -> float:
    """Score that minimises |sensitivity - specificity| when ``score >= threshold`` is called positive (paper, 5.2).

    Args:
        labels: (N,) 0 or 1.
        scores: (N,) higher means more likely 1.

    Returns:
        one of the scores; among equals the one with the largest sensitivity + specificity; NaN where undefined.
    """
    if undefined_reason(labels, scores):
        return math.nan
    false_positive, sensitivity, thresholds = roc_curve(np.asarray(labels), np.asarray(scores), drop_intermediate=False)
    specificity = 1 - false_positive
    order = np.lexsort((-(sensitivity + specificity), np.round(np.abs(sensitivity - specificity), 12)))
    best = [float(thresholds[i]) for i in order if np.isfinite(thresholds[i])]  # the first threshold is infinite
    return best[0] if best else math.nan


def classification_metric_set(
    labels: ArrayLike,
    probabilities: ArrayLike,
    threshold: float,
    positive_class: PositiveClass = "abnormal",
) -> MetricSet:
    """The six ``METRICS`` as a metric set (see :mod:`monai_dgm.metrics.metric_sets`).

    Arguments as in :func:`classification_rows`. The threshold is the same in every resample.

    Raises:
        ValueError: probabilities that are not all finite; labels other than 0 and 1, or of another length.
    """
    truth, scores = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if truth.shape != scores.shape or truth.ndim != 1 or not np.isin(truth, (0, 1)).all():
        raise ValueError(f"labels: expected 0 or 1 for {scores.size} probabilities, got shape {truth.shape}")
    if not np.isfinite(scores).all():
        raise ValueError(f"probabilities: {NOT_FINITE}")
    positive, called = truth == 1, scores >= threshold
    if positive_class == "normal":
        positive, called, scores = ~positive, ~called, -scores
    hits, misses = (positive & called).astype(np.float64), (~positive & ~called).astype(np.float64)

    def metrics(weights: NDArray[np.float32]) -> Mapping[str, NDArray[np.float64]]:
        ranking = bootstrap_ranking(scores, positive, weights)
        return {
            "auc": ranking.auc,
            "average_precision": ranking.average_precision,
            "sensitivity": weighted_ratio(hits, positive, weights),
            "specificity": weighted_ratio(misses, ~positive, weights),
            "precision": weighted_ratio(hits, called, weights),
            "f1": weighted_ratio(2 * hits, positive.astype(np.float64) + called, weights),
        }

    return metrics


def classification_rows(
    labels: ArrayLike,
    probabilities: ArrayLike,
    patients: Sequence[Hashable],
    threshold: float,
    positive_class: PositiveClass = "abnormal",
    *,
    num_bootstrap: int = 1000,
    seed: int = 0,
    group: str = "all",
) -> list[MetricRow]:
    """The six ``METRICS`` with 95 % intervals by bootstrap over patients; NaN with a note where undefined.

    Args:
        labels: (N,) 0 normal, 1 abnormal.
        probabilities: (N,) abnormality probability in [0, 1].
        patients: patient of each image.
        threshold: from a validation set (:func:`balanced_threshold`).
        positive_class: the class whose sensitivity, precision, F1 and average precision are computed.
        num_bootstrap: number of resamples of the patients.
        seed: of the resampling.
        group: name of the images, for the rows.
    """
    reason = undefined_reason(labels, probabilities)
    if reason:
        nan, count = math.nan, (len(patients), len(set(patients)))
        return [MetricRow(name, group, nan, nan, nan, nan, *count, reason) for name in METRICS]
    metrics = classification_metric_set(labels, probabilities, threshold, positive_class)
    return metric_rows(metrics, patients, num_bootstrap, seed, group)
