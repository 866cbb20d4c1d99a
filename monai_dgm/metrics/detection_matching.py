"""Matching of detected with true boxes, once per image, and counts under the weights of a bootstrap.

The matching is that of COCO (pycocotools' ``COCOeval.evaluateImg``, one class, no crowds): detections in the order of
their scores each take the free true box that they overlap most, if by the IoU threshold at least. MONAI has the same
matching (``monai.apps.detection.metrics``), but in Python loops over detections, thresholds and boxes, with float32
IoUs, and without weights of patients, so that each bootstrap sample would need the whole computation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from monai_dgm.errors import InputError
from monai_dgm.transforms.boxes import box_iou, check_boxes

IOU_THRESHOLDS = (0.40, 0.45, 0.50, 0.55, 0.60, 0.65, 0.70, 0.75)
"""IoU thresholds of the paper's Table 7."""
MAX_DETECTIONS = 100
"""Number of detections per image that count, those with the highest scores: COCO's limit."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DetectionResult:
    """The detected and the true boxes of one image.

    Attributes:
        image_id: unique id of the image.
        patient_id: images of one patient are resampled together.
        boxes: (N, 4) ``[xmin, ymin, xmax, ymax]``, in the coordinates of ``truth``; any order; N may be 0.
        scores: (N,) finite, higher is more certain.
        truth: (M, 4) true opacity boxes; M is 0 for an image without any.

    Raises:
        InputError: shapes that do not fit, scores or edges that are not finite, a true box without area, or a detected
            one whose edges are swapped (one without area is a false positive).
    """

    image_id: str
    patient_id: str
    boxes: NDArray[np.floating]
    scores: NDArray[np.floating]
    truth: NDArray[np.floating]

    def __post_init__(self) -> None:
        check_boxes(self.truth, name=f"{self.image_id}: truth")
        boxes, scores = np.asarray(self.boxes), np.asarray(self.scores)
        if scores.ndim != 1 or (boxes.shape != (len(scores), 4) and boxes.size + scores.size > 0):
            raise InputError(
                f"{self.image_id}: expected boxes (N, 4) with scores (N,), got shapes {boxes.shape} and {scores.shape}"
            )
        lost = int((~np.isfinite(scores)).sum())
        if lost:
            raise InputError(f"{self.image_id}: expected finite scores, got {lost} of {len(scores)} NaN or infinite")
        if boxes.size and not (np.isfinite(boxes).all() and (boxes[:, :2] <= boxes[:, 2:]).all()):
            raise InputError(f"{self.image_id}: expected finite boxes with xmin <= xmax and ymin <= ymax")


def match_boxes(boxes: ArrayLike, truth: ArrayLike, thresholds: Sequence[float] = IOU_THRESHOLDS) -> NDArray[np.bool_]:
    """Which detections of one image match a true box.

    Args:
        boxes: (N, 4) detections, best score first.
        truth: (M, 4) true boxes. Among equal overlaps the last free one is taken, as in pycocotools.
        thresholds: T IoU thresholds.

    Returns:
        bool (T, N), True for a match and False for a false positive.
    """
    least = np.minimum(np.asarray(thresholds, dtype=np.float64), 1 - 1e-10)[:, None]
    overlaps = box_iou(boxes, truth)
    hits = np.zeros((len(least), len(overlaps)), dtype=bool)
    if not overlaps.size:
        return hits
    free, rows = np.ones((len(least), overlaps.shape[1]), dtype=bool), np.arange(len(least))
    for index in np.flatnonzero(overlaps.max(axis=1) >= least.min()):
        candidates = np.where(free & (overlaps[index] >= least), overlaps[index], -1.0)
        best = candidates.shape[1] - 1 - candidates[:, ::-1].argmax(axis=1)
        hits[:, index] = candidates[rows, best] >= 0
        free[rows, best] &= ~hits[:, index]
    return hits


@dataclass(frozen=True, eq=False)
class MatchedDetections:
    """All matched detections of N images, highest score first, equal scores in the order of the images.

    Attributes:
        thresholds: (T,) IoU thresholds.
        image: (D,) index of the image of each detection.
        scores: (D,) descending.
        hits: bool (T, D), True for a detection that matches a true box.
        num_truth: (N,) true boxes of each image.
        patients: patient of each image.
    """

    thresholds: tuple[float, ...]
    image: NDArray[np.int64]
    scores: FloatArray
    hits: NDArray[np.bool_]
    num_truth: FloatArray
    patients: tuple[str, ...]

    @property
    def num_images(self) -> int:
        """N."""
        return len(self.num_truth)

    def row_of(self, iou: float) -> int:
        """Row of ``hits`` for an IoU threshold; ValueError if it is not one of ``thresholds``."""
        near = np.flatnonzero(np.abs(np.asarray(self.thresholds) - iou) < 1e-9)
        if not near.size:
            raise ValueError(f"iou: expected one of {self.thresholds}, got {iou}")
        return int(near[0])

    def last_of_equals(self) -> NDArray[np.int64]:
        """(D,): for each detection, the index of the last detection with the same score."""
        return np.searchsorted(-self.scores, -self.scores, side="right") - 1

    def counts_up_to(
        self, stops: NDArray[np.int64], counted: NDArray[np.bool_], weights: NDArray[np.float32]
    ) -> FloatArray:
        """Weighted number of ``counted`` detections from the best one to each stop, stops included.

        Args:
            stops: (K,) ascending indices of detections.
            counted: (D,) which detections are counted.
            weights: (B, N) weight of each image in each of B bootstrap samples.

        Returns:
            (B, K).
        """
        chosen = np.flatnonzero(counted)
        chosen = chosen[chosen <= stops[-1]] if stops.size else chosen[:0]
        step = np.searchsorted(stops, chosen, side="left")  # the first stop that includes the detection
        shape = (self.num_images, stops.size)
        each = sparse.csr_array((np.ones(chosen.size), (self.image[chosen], step)), shape=shape)
        return np.asarray((each.T @ weights.T.astype(np.float64)).T.cumsum(axis=1))


def match_detections(
    results: Sequence[DetectionResult],
    thresholds: Sequence[float] = IOU_THRESHOLDS,
    max_detections: int = MAX_DETECTIONS,
) -> MatchedDetections:
    """Match every image's detections at every threshold.

    Args:
        results: of N images, also those without true boxes: their detections are false positives.
        thresholds: IoU thresholds.
        max_detections: per image, only the detections with the highest scores count (the first of equal ones); the
            others are neither hits nor false positives, as in COCO.
    """
    image, scores, hits = [], [], []
    for index, result in enumerate(results):
        values = np.asarray(result.scores, dtype=np.float64)
        order = np.argsort(-values, kind="stable")[:max_detections]
        hits.append(match_boxes(np.asarray(result.boxes).reshape(-1, 4)[order], result.truth, thresholds))
        scores.append(values[order])
        image.append(np.full(order.size, index))
    nothing = np.zeros(0)
    together = np.concatenate([nothing, *scores])
    order = np.argsort(-together, kind="stable")
    return MatchedDetections(
        thresholds=tuple(thresholds),
        image=np.concatenate([nothing, *image]).astype(np.int64)[order],
        scores=together[order],
        hits=np.concatenate([np.zeros((len(thresholds), 0), dtype=bool), *hits], axis=1)[:, order],
        num_truth=np.array([len(np.asarray(result.truth).reshape(-1, 4)) for result in results], dtype=np.float64),
        patients=tuple(result.patient_id for result in results),
    )
