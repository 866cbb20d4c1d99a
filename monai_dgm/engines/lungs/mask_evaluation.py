"""Evaluation of a lung segmentor on known masks: Dice, and the IoU of the lung boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from ignite.metrics import Metric
from numpy.typing import NDArray

from monai_dgm.data.lung_dataset import LungDataset
from monai_dgm.metrics.case_results import MetricRow, groups_of, origin_of
from monai_dgm.metrics.intervals import weighted_mean
from monai_dgm.metrics.metric_sets import Weights, metric_rows
from monai_dgm.transforms.boxes import box_iou, box_of_mask
from monai_dgm.transforms.lungs import split_lungs

__all__ = ["LungMaskResult", "LungMetrics", "dice", "lung_box_iou", "lung_rows"]

Mask = NDArray[np.bool_]


def dice(mask: Mask, truth: Mask) -> float:
    """2 |A and B| / (|A| + |B|) of two masks; 1 for two empty ones."""
    total = int(mask.sum()) + int(truth.sum())
    return 2 * int((mask & truth).sum()) / total if total else 1.0


def lung_box_iou(one: NDArray[Any] | None, other: NDArray[Any] | None) -> float:
    """Intersection over union of two boxes (4,); 0 where one of them is None."""
    return 0.0 if one is None or other is None else float(box_iou(one, other)[0, 0])


@dataclass(frozen=True)
class LungMaskResult:
    """One segmented radiograph; Dice and IoU are in [0, 1], masks bool (S, S)."""

    image_id: str
    patient_id: str
    source: str
    view: str
    sex: str
    dice: float
    right_dice: float
    left_dice: float
    box_iou: float
    mask: Mask
    truth: Mask


class LungMetrics(Metric):
    """Metrics of a segmentation over a data set; ``results`` keeps every image, ``rows`` makes the intervals.

    ``compute`` gives "lung_box_iou", "right_lung_dice" and "left_lung_dice" in addition to MONAI's own Dice.

    Args:
        dataset: that the evaluator runs over, in its order. The evaluator's output is a list of dicts with "pred", the
            cleaned mask (1, S, S) of 0 and 1.
        source_groups: further groups for the rows, by name the sources in each.
        num_bootstrap: number of resamples of the intervals.
    """

    def __init__(
        self,
        dataset: LungDataset,
        source_groups: Mapping[str, Sequence[str]] | None = None,
        num_bootstrap: int = 1000,
        device: str = "cpu",
    ) -> None:
        self.dataset = dataset
        self.source_groups = dict(source_groups or {})
        self.num_bootstrap = num_bootstrap
        self.results: list[LungMaskResult] = []
        super().__init__(output_transform=lambda output: [item["pred"] for item in output], device=device)

    def reset(self) -> None:
        """Remove all results."""
        self.results = []

    def update(self, output: Sequence[torch.Tensor]) -> None:
        """Add the predicted masks of the next images."""
        for prediction in output:
            index = len(self.results)
            item, mask = self.dataset.items[index], prediction[0].cpu().numpy() > 0
            truth = self.dataset.masks[index].astype(bool)
            (right, left), (true_right, true_left) = split_lungs(mask), split_lungs(truth)
            result = LungMaskResult(
                image_id=str(item["image_id"]),
                patient_id=str(item["patient_id"]),
                **origin_of(item),
                dice=dice(mask, truth),
                right_dice=dice(right, true_right),
                left_dice=dice(left, true_left),
                box_iou=lung_box_iou(box_of_mask(mask), box_of_mask(truth)),
                mask=mask,
                truth=truth,
            )
            self.results.append(result)

    def compute(self) -> dict[str, float]:
        """Means over the images, by name."""
        names = {"lung_box_iou": "box_iou", "right_lung_dice": "right_dice", "left_lung_dice": "left_dice"}
        return {name: float(np.mean([getattr(r, field) for r in self.results])) for name, field in names.items()}

    @property
    def rows(self) -> list[MetricRow]:
        """Every metric with its interval, over all images and by group."""
        return lung_rows(self.results, self.source_groups, self.num_bootstrap)


def lung_rows(
    results: Sequence[LungMaskResult],
    source_groups: Mapping[str, Sequence[str]] | None = None,
    num_bootstrap: int = 1000,
) -> list[MetricRow]:
    """Mean and standard deviation of Dice and lung box IoU, with 95 % intervals by bootstrap over patients.

    Args:
        results: results of one evaluation.
        source_groups: further groups, by name the sources in each; left out where no image is in one.
        num_bootstrap: resamples.

    Returns:
        rows "lung_dice", "lung_dice_sd" (over images), "right_lung_dice", "left_lung_dice", "lung_box_iou" and
        "lung_box_iou_sd", for each of :func:`monai_dgm.metrics.case_results.groups_of`.
    """
    rows = []
    for group, members in groups_of(results, source_groups).items():
        patients = [result.patient_id for result in members]
        rows += metric_rows(partial(_metrics, members), patients, num_bootstrap, group=group)
    return rows


def _metrics(results: Sequence[LungMaskResult], weights: Weights) -> dict[str, NDArray[np.float64]]:
    metrics = {}
    for name, field, std in (
        ("lung_dice", "dice", True),
        ("right_lung_dice", "right_dice", False),
        ("left_lung_dice", "left_dice", False),
        ("lung_box_iou", "box_iou", True),
    ):
        values = np.array([getattr(result, field) for result in results])
        metrics[name] = weighted_mean(values, weights)
        if std:
            variance = weighted_mean(values**2, weights) - metrics[name] ** 2
            metrics[f"{name}_sd"] = np.sqrt(np.clip(variance, 0, None))
    return metrics
