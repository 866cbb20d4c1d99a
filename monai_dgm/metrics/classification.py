"""Figures of a two-class classifier (paper, section 5.2), from scikit-learn.

The paper's thresholds minimise |sensitivity - specificity| on the validation set and are then applied to the test set:
:func:`balanced_threshold` on one, :func:`classification_figures` on the other. Its Tables 4 and 5 take NORMAL as the
positive class; pass ``positive_class="normal"`` to stand beside them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score, roc_curve

ONE_CLASS = "only one class present"
NOT_FINITE = "scores are not all finite"


@dataclass(frozen=True)
class ClassificationFigures:
    """Figures in [0, 1]; NaN where undefined, with the reason in ``note``."""

    auc: float
    average_precision: float
    sensitivity: float
    specificity: float
    precision: float
    f1: float
    threshold: float
    note: str = ""


def undefined_reason(labels: ArrayLike, scores: ArrayLike) -> str:
    """Why no ranking figure exists for these labels (N,) and scores (N,); empty when one does."""
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
        One of the scores, the one with the larger sum of both among equals; NaN where undefined.
    """
    if undefined_reason(labels, scores):
        return math.nan
    false_positive, sensitivity, thresholds = roc_curve(np.asarray(labels), np.asarray(scores), drop_intermediate=False)
    specificity = 1 - false_positive
    order = np.lexsort((-(sensitivity + specificity), np.round(np.abs(sensitivity - specificity), 12)))
    best = [float(thresholds[i]) for i in order if np.isfinite(thresholds[i])]  # the first threshold is infinite
    return best[0] if best else math.nan


def classification_figures(
    labels: ArrayLike,
    probabilities: ArrayLike,
    threshold: float | None = None,
    positive_class: Literal["abnormal", "normal"] = "abnormal",
) -> ClassificationFigures:
    """All figures of the paper's Tables 4 and 5.

    Args:
        labels: (N,) 0 normal, 1 abnormal.
        probabilities: (N,) abnormality probability in [0, 1].
        threshold: abnormality probability from which an image is called abnormal; None takes the balanced one of these
            very images, which flatters the figures: pass the one of a validation set.
        positive_class: which class sensitivity, precision, F1 and AP are about.
    """
    truth, scores = np.asarray(labels).astype(int), np.asarray(probabilities, dtype=np.float64)
    reason = undefined_reason(truth, scores)
    if reason:
        nan = math.nan
        return ClassificationFigures(nan, nan, nan, nan, nan, nan, nan, note=reason)
    level = balanced_threshold(truth, scores) if threshold is None else threshold
    called = (scores >= level).astype(int)
    if positive_class == "normal":
        truth, scores, called = 1 - truth, 1 - scores, 1 - called
    true_negative, false_positive, false_negative, true_positive = _counts(truth, called)
    return ClassificationFigures(
        auc=auc(truth, scores),
        average_precision=average_precision(truth, scores),
        sensitivity=true_positive / (true_positive + false_negative),
        specificity=true_negative / (true_negative + false_positive),
        precision=_share(true_positive, true_positive + false_positive),
        f1=_share(2 * true_positive, 2 * true_positive + false_positive + false_negative),
        threshold=level,
    )


def _counts(truth: NDArray[np.int_], called: NDArray[np.int_]) -> tuple[int, int, int, int]:
    table = confusion_matrix(truth, called, labels=[0, 1])
    return int(table[0, 0]), int(table[0, 1]), int(table[1, 0]), int(table[1, 1])


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
