"""How far the readers of the same radiographs agree.

For each pair of readers, over the radiographs that both read: Cohen's kappa of "boxes" or "no finding" (J. Cohen, "A
coefficient of agreement for nominal scales", Educational and Psychological Measurement 20, 1960), and the mean IoU of
boxes that are paired one to one with the largest sum of IoU. Adjudications are no readings and do not count.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from monai_dgm.labelling.labels.image_label import ADJUDICATION, ImageLabel
from monai_dgm.metrics.intervals import interval, patient_weights
from monai_dgm.transforms.boxes import box_iou, pair_boxes

__all__ = ["PairAgreement", "agree", "cohen_kappa", "reader_agreement", "readings"]

MATCHED_IOU = 0.4  # the lowest IoU of the paper's average precision; readers' boxes that overlap less are two findings
NUM_BOOTSTRAP = 1000


@dataclass(frozen=True)
class PairAgreement:
    """Agreement of two readers. A number that is not defined is None.

    Attributes:
        readers: names of the two, sorted.
        images: radiographs that both read.
        same_status: share of them in which both say "boxes", or both "no finding".
        kappa: Cohen's kappa of that, in [-1, 1]; None where both say the same of all radiographs.
        kappa_low, kappa_high: 95 % confidence interval, by a bootstrap over radiographs.
        boxes: number of boxes of each reader in radiographs that both read.
        matched: pairs of boxes with an IoU of at least :data:`MATCHED_IOU`.
        matched_iou: mean IoU of these pairs.
        matched_share: 2 matched / sum of boxes.
    """

    readers: tuple[str, str]
    images: int
    same_status: float
    kappa: float | None
    kappa_low: float | None
    kappa_high: float | None
    boxes: tuple[int, int]
    matched: int
    matched_iou: float | None
    matched_share: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def cohen_kappa(first: Sequence[bool], second: Sequence[bool], weights: Sequence[float] | None = None) -> float:
    """Cohen's kappa of two readers' yes or no; NaN where chance alone would give full agreement.

    Args:
        first, second: (N,) of the same cases.
        weights: (N,) of the cases, at least 0; 1 where not given.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    shares = np.ones(len(a)) if weights is None else np.asarray(weights, dtype=np.float64)
    total = float(shares.sum())
    if not total:
        return math.nan
    observed = float(shares @ (a == b)) / total
    yes_a, yes_b = float(shares @ a) / total, float(shares @ b) / total
    chance = yes_a * yes_b + (1 - yes_a) * (1 - yes_b)
    return math.nan if chance >= 1 - 1e-12 else (observed - chance) / (1 - chance)


def readings(labels: Iterable[ImageLabel]) -> list[ImageLabel]:
    """The labels that are readings, not decisions between readings."""
    return [label for label in labels if label.source != ADJUDICATION]


def agree(labels: Sequence[ImageLabel], iou: float = MATCHED_IOU) -> bool:
    """Whether the readings of one radiograph agree: all have the same status, and each two have boxes that are paired
    one to one with an IoU of at least ``iou``."""
    found = readings(labels)
    return all(
        one.status == other.status and len(one.boxes) == len(other.boxes) == len(_matched(one, other, iou))
        for one, other in itertools.combinations(found, 2)
    )


def reader_agreement(labels: Iterable[ImageLabel], iou: float = MATCHED_IOU) -> list[PairAgreement]:
    """The agreement of each two readers who read at least one radiograph both, sorted by their names.

    Args:
        labels: one per image and reader. Labels of one image for different image sizes are not compared.
        iou: lowest IoU of boxes that are the same finding.
    """
    by_image: dict[str, list[ImageLabel]] = {}
    for label in readings(labels):
        by_image.setdefault(label.image_id, []).append(label)
    pairs: dict[tuple[str, str], list[tuple[ImageLabel, ImageLabel]]] = {}
    for name in sorted(by_image):
        for one, other in itertools.combinations(sorted(by_image[name], key=lambda label: label.reader), 2):
            if one.size == other.size:
                pairs.setdefault((one.reader, other.reader), []).append((one, other))
    return [_of_pair(readers, pairs[readers], iou) for readers in sorted(pairs)]


def _of_pair(readers: tuple[str, str], cases: Sequence[tuple[ImageLabel, ImageLabel]], iou: float) -> PairAgreement:
    status = [[label.status == "boxes" for label in labels] for labels in zip(*cases, strict=True)]
    overlaps = [overlap for one, other in cases for overlap in _matched(one, other, iou)]
    counts = tuple(sum(len(label.boxes) for label in labels) for labels in zip(*cases, strict=True))
    weights = patient_weights([one.image_id for one, _ in cases], NUM_BOOTSTRAP)
    samples = np.array([cohen_kappa(status[0], status[1], row) for row in weights])
    if not all(0 < sum(answers) < len(answers) for answers in status):  # kappa is 0 in each sample: that is no interval
        samples = np.full(len(samples), math.nan)
    spread = interval(samples)
    return PairAgreement(
        readers=readers,
        images=len(cases),
        same_status=float(np.mean(np.array(status[0]) == np.array(status[1]))),
        kappa=_known(cohen_kappa(status[0], status[1])),
        kappa_low=_known(spread.low),
        kappa_high=_known(spread.high),
        boxes=(counts[0], counts[1]),
        matched=len(overlaps),
        matched_iou=float(np.mean(overlaps)) if overlaps else None,
        matched_share=2 * len(overlaps) / sum(counts) if sum(counts) else None,
    )


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _matched(one: ImageLabel, other: ImageLabel, iou: float) -> list[float]:
    overlap = box_iou(one.boxes_array, other.boxes_array)
    return [float(overlap[i, j]) for i, j in pair_boxes(overlap) if overlap[i, j] >= iou]
