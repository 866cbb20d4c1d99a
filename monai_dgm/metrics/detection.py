"""Metrics of opacity detection (paper, Table 7): average precision as in COCO, FROC, and an operating point.

The paper's AP is the mean over the IoU thresholds 0.40:0.05:0.75 of the average precision over all images; AP40 to
AP70 are those of single thresholds. Images without opacities are included: their detections are false positives. Values
equal pycocotools' (precision at 101 recalls, at most 100 detections per image, one class).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monai_dgm.metrics.case_results import MetricRow
from monai_dgm.metrics.detection_matching import (
    IOU_THRESHOLDS,
    MAX_DETECTIONS,
    DetectionResult,
    MatchedDetections,
    match_detections,
)
from monai_dgm.metrics.intervals import weighted_ratio
from monai_dgm.metrics.metric_sets import MetricSet, metric_rows

__all__ = [
    "FROC_RATES",
    "IOU_THRESHOLDS",
    "MAX_DETECTIONS",
    "DetectionMetrics",
    "DetectionResult",
    "FrocCurve",
    "MatchedDetections",
    "average_precisions",
    "detection_metric_set",
    "detection_metrics",
    "froc_curve",
    "match_detections",
    "precision_recall",
    "score_for_rate",
    "sensitivity_at",
]

RECALL_LEVELS: NDArray[np.float64] = np.linspace(0.0, 1.0, 101)
"""Recalls at which COCO reads the precision."""
LOCALISED = 0.40
"""IoU from which a detection counts as correct in FROC and at the operating point: the paper's lowest threshold."""
NO_BOXES = "no image has an opacity box"
_CHUNK = 64  # resamples handled at a time, or a (resamples, detections) table would not fit in memory

FloatArray = NDArray[np.float64]
Weights = NDArray[np.float32]
FROC_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False positives an image at which sensitivities are given (1/8 to 8, as in LUNA16)."""


def average_precisions(matched: MatchedDetections, weights: Weights) -> FloatArray:
    """Average precision of each resample at each IoU threshold.

    An image of weight 2 counts exactly as two copies of it, except for equal scores within one image. Only hits can
    raise the recall, so precisions are computed at hits alone.

    Args:
        matched: detections of N images.
        weights: (B, N), how many times each image is in each resample.

    Returns:
        (B, T) in [0, 1]; NaN in a resample without true boxes.
    """
    parts = [_average_precisions(matched, weights[i : i + _CHUNK]) for i in range(0, len(weights), _CHUNK)]
    return np.concatenate([np.zeros((0, len(matched.thresholds))), *parts])


def _average_precisions(matched: MatchedDetections, weights: Weights) -> FloatArray:
    stops = np.flatnonzero(matched.hits.any(axis=0))
    called = matched.counts_up_to(stops, np.ones(matched.scores.size, dtype=bool), weights)
    at_stop = weights[:, matched.image[stops]].astype(np.float64)
    total = weights.astype(np.float64) @ matched.num_truth
    result = np.zeros((len(weights), len(matched.thresholds)))
    for row, hits in enumerate(matched.hits[:, stops]):
        recall, precision = _steps(at_stop[:, hits], called[:, hits], total)
        levels = np.searchsorted(RECALL_LEVELS, recall, side="right")  # recall levels reached up to each hit
        result[:, row] = (np.diff(levels, axis=1, prepend=0) * precision).sum(axis=1) / RECALL_LEVELS.size
    result[total == 0] = np.nan
    return result


def _steps(hit_weights: FloatArray, called: FloatArray, total: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Recall at each hit, and the best precision there or at a later hit; both (B, K)."""
    found = hit_weights.cumsum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(called > 0, found / called, 0.0)
        recall = np.where(total[:, None] > 0, found / total[:, None], 0.0)
    return recall, np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]


def precision_recall(matched: MatchedDetections) -> FloatArray:
    """Precision at ``RECALL_LEVELS`` as in COCO: (T, 101), 0 beyond the largest recall, NaN without true boxes."""
    total = matched.num_truth.sum(keepdims=True)
    curves = np.full((len(matched.thresholds), RECALL_LEVELS.size), np.nan)
    if total[0] > 0:
        for row, hits in enumerate(matched.hits):
            stops = np.flatnonzero(hits)[None]
            recall, precision = _steps(np.ones(stops.shape), stops + 1.0, total)
            first = np.searchsorted(recall[0], RECALL_LEVELS, side="left")
            curves[row] = np.append(precision[0], 0.0)[first]
    return curves


def detection_metric_set(
    matched: MatchedDetections, score_threshold: float | None = None, iou: float = LOCALISED
) -> MetricSet:
    """All metrics of detection as a metric set (see :mod:`monai_dgm.metrics.metric_sets`).

    Args:
        matched: detections of N images.
        score_threshold: of the operating point, chosen on a validation set (:func:`score_for_rate`); None counts
            every detection.
        iou: IoU threshold of FROC and of the operating point.

    Returns:
        a metric set of ``ap``, ``ap40`` ... ``ap75`` (at the matched thresholds), ``froc_0.125`` ... ``froc_8``, their
        mean ``froc_mean``; at the operating point ``sensitivity`` (share of the true boxes found), ``precision`` (share
        of the detections that find one) and ``false_positives`` (per image).
    """
    called = np.ones(matched.scores.size, dtype=bool) if score_threshold is None else matched.scores >= score_threshold
    hits = matched.hits[matched.row_of(iou)] & called
    found, detected = (np.bincount(matched.image[kept], minlength=matched.num_images) for kept in (hits, called))

    def metrics(weights: Weights) -> Mapping[str, FloatArray]:
        precisions, froc = average_precisions(matched, weights), sensitivity_at(matched, weights, iou)
        values = {"ap": precisions.mean(axis=1)}
        values |= {f"ap{round(100 * level)}": precisions[:, i] for i, level in enumerate(matched.thresholds)}
        values |= {f"froc_{rate:g}": froc[:, i] for i, rate in enumerate(FROC_RATES)}
        values["froc_mean"] = froc.mean(axis=1)
        values["sensitivity"] = weighted_ratio(found, matched.num_truth, weights)
        values["precision"] = weighted_ratio(found, detected, weights)
        values["false_positives"] = weighted_ratio(detected - found, np.ones(matched.num_images), weights)
        return values

    return metrics


@dataclass(frozen=True, eq=False)
class DetectionMetrics:
    """Metrics and curves of a detector on a set of images.

    Attributes:
        rows: every metric of :func:`detection_metric_set` with its 95 % interval by patient, ``ap`` first.
        iou_thresholds: T thresholds of ``precision``.
        recall: (101,) recall levels in [0, 1].
        precision: (T, 101) precision in [0, 1] at these levels, as in COCO.
        froc: operating points at IoU ``froc_iou``.
        froc_iou: IoU threshold of ``froc``.
        num_boxes: number of true boxes.
        num_positive_images: number of images with a true box.
        num_detections: number of detections that were counted.
    """

    rows: tuple[MetricRow, ...]
    iou_thresholds: tuple[float, ...]
    recall: FloatArray
    precision: FloatArray
    froc: FrocCurve
    froc_iou: float
    num_boxes: int
    num_positive_images: int
    num_detections: int

    def row(self, name: str) -> MetricRow:
        """The row of a metric by name; KeyError for an unknown name."""
        return {row.name: row for row in self.rows}[name]

    @property
    def ap(self) -> float:
        """The paper's AP: mean over the IoU thresholds."""
        return self.row("ap").value


def detection_metrics(
    results: Sequence[DetectionResult],
    num_bootstrap: int = 1000,
    seed: int = 0,
    *,
    group: str = "all",
    score_threshold: float | None = None,
    iou: float = LOCALISED,
    max_detections: int = MAX_DETECTIONS,
) -> DetectionMetrics:
    """Compute all metrics and curves of a detector.

    Args:
        results: of all images, also those without opacities.
        num_bootstrap: number of resamples of the patients.
        seed: of the resampling.
        group: name of the images, for the rows.
        score_threshold: of the operating point, from a validation set; None counts every detection.
        iou: IoU threshold of FROC and of the operating point; one of ``IOU_THRESHOLDS``.
        max_detections: number of detections per image that count, those with the highest scores.

    Returns:
        metrics; they are NaN, with the reason in the note, if no image has a true box.
    """
    matched = match_detections(results, IOU_THRESHOLDS, max_detections)
    metrics = detection_metric_set(matched, score_threshold, iou)
    total = int(matched.num_truth.sum())
    notes = {} if total else dict.fromkeys(metrics(np.ones((1, len(results)), np.float32)), NO_BOXES)
    notes.pop("false_positives", None)  # defined without true boxes
    return DetectionMetrics(
        rows=tuple(metric_rows(metrics, matched.patients, num_bootstrap, seed, group, notes)),
        iou_thresholds=matched.thresholds,
        recall=RECALL_LEVELS,
        precision=precision_recall(matched),
        froc=froc_curve(matched, iou),
        froc_iou=iou,
        num_boxes=total,
        num_positive_images=int((matched.num_truth > 0).sum()),
        num_detections=matched.scores.size,
    )


@dataclass(frozen=True, eq=False)
class FrocCurve:
    """Free-response ROC curve: an operating point without detections, then one per distinct score, highest score first.

    Attributes:
        false_positives: (K,) per image, ascending.
        sensitivity: (K,) share of the true boxes found; NaN without any.
        threshold: (K,) detections with at least this score are counted; infinite for the first.
    """

    false_positives: FloatArray
    sensitivity: FloatArray
    threshold: FloatArray


def froc_curve(matched: MatchedDetections, iou: float) -> FrocCurve:
    """All operating points at one of the matched IoU thresholds."""
    hits = matched.hits[matched.row_of(iou)]
    ends = np.unique(matched.last_of_equals())  # detections of equal score are counted together
    found, called = hits.cumsum()[ends], ends + 1
    with np.errstate(invalid="ignore", divide="ignore"):
        return FrocCurve(
            false_positives=np.r_[0, called - found] / np.float64(max(matched.num_images, 1)),
            sensitivity=np.r_[0, found] / matched.num_truth.sum(),
            threshold=np.r_[np.inf, matched.scores[ends]],
        )


def sensitivity_at(
    matched: MatchedDetections, weights: NDArray[np.float32], iou: float, rates: Sequence[float] = FROC_RATES
) -> FloatArray:
    """Highest sensitivity of an operating point with at most ``rate`` false positives per image.

    Only operating points that a score threshold can give are used: nothing is interpolated (CAMELYON and MONAI's
    ``compute_froc_score`` interpolate), and detections of equal score are counted together. If a detector never makes
    ``rate`` false positives per image, this is the sensitivity of all its detections.

    Args:
        matched: detections of N images.
        weights: (B, N), how many times each image is in each resample.
        iou: one of the matched IoU thresholds.
        rates: R numbers of false positives per image.

    Returns:
        (B, R) in [0, 1]; NaN in a resample without true boxes.
    """
    hits = matched.hits[matched.row_of(iou)]
    table = np.asarray(weights, dtype=np.float64)
    stops = np.unique(matched.last_of_equals()[hits])  # the sensitivity only changes at these
    found = matched.counts_up_to(stops, hits, weights)
    false_positives = matched.counts_up_to(stops, ~hits, weights)
    allowed = np.asarray(rates, dtype=np.float64) * table.sum(axis=1, keepdims=True)
    most = np.stack(
        [np.where(false_positives <= limit[:, None], found, 0.0).max(axis=1, initial=0.0) for limit in allowed.T],
        axis=1,
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(most / (table @ matched.num_truth)[:, None])


def score_for_rate(matched: MatchedDetections, rate: float, iou: float) -> float:
    """Lowest score threshold with at most ``rate`` false positives per image; infinite if there is none.

    Choose it on a validation set, apply it to a test set.
    """
    curve = froc_curve(matched, iou)
    return float(curve.threshold[np.flatnonzero(curve.false_positives <= rate)[-1]])
