"""Free-response ROC: sensitivity against the false positives that an image costs on average."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monai_dgm.metrics.detection_matching import MatchedDetections

FROC_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False positives an image at which sensitivities are given (1/8 to 8, as in LUNA16)."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FrocCurve:
    """Operating points, one a distinct score, strictest first; the first is "nothing called".

    Attributes:
        false_positives: (K,) an image, ascending.
        sensitivity: (K,) share of the true boxes found; NaN without any.
        threshold: (K,) detections with this score and above are called; infinite for the first.
    """

    false_positives: FloatArray
    sensitivity: FloatArray
    threshold: FloatArray


def froc_curve(matched: MatchedDetections, iou: float) -> FrocCurve:
    """Every operating point at one of the matched IoU thresholds."""
    hits = matched.hits[matched.row_of(iou)]
    ends = np.unique(matched.last_of_equals())  # detections of one score are called together
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
    """Highest sensitivity of an operating point with at most so many false positives an image.

    These are points that can be chosen: nothing is interpolated between them (CAMELYON and MONAI's
    ``compute_froc_score`` do), and detections of equal score are called together. A detector that never makes ``rate``
    false positives an image has the sensitivity of all its detections there.

    Args:
        matched: N images.
        weights: (B, N) how often each image counts.
        iou: one of the matched thresholds.
        rates: R false positives an image.

    Returns:
        (B, R), NaN where no true box counts.
    """
    hits = matched.hits[matched.row_of(iou)]
    table = np.asarray(weights, dtype=np.float64)
    stops = np.unique(matched.last_of_equals()[hits])  # between these, sensitivity stands still
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
    """Lowest score from which detections make at most ``rate`` false positives an image; infinite where none does.

    Choose it on a validation set, apply it to a test set.
    """
    curve = froc_curve(matched, iou)
    return float(curve.threshold[np.flatnonzero(curve.false_positives <= rate)[-1]])
