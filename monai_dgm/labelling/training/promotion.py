"""Promotion: decide whether a newly trained detector replaces the one that is served, on fixed validation images.

The metric is the paper's AP, the mean of the average precisions at IoU 0.40:0.05:0.75. The higher AP wins. If both are
equal, AP at IoU 0.40 decides; if that is equal too, the new detector is promoted. There is no tolerance. With fewer
validation images than :data:`monai_dgm.labelling.training.validation_set.MIN_IMAGES`, or fewer with boxes than
``MIN_IMAGES_WITH_BOXES``, nothing is promoted unless the user asked for that. The confidence
interval of the difference (paired bootstrap over patients) is stored, but does not decide: with few images it would
always contain 0.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader

from monai_dgm.data.opacity_boxes import OpacityBoxDataset, collate_boxes
from monai_dgm.engines.detection.workflow import DetectionEvaluator, OpacityDetections
from monai_dgm.engines.metric_rows import finite
from monai_dgm.engines.residues.frozen_decomposer import (
    check_decomposer,
    decomposed_dataset,
    load_decomposer,
    needs_decomposer,
)
from monai_dgm.engines.weights import load_weights, model_channels, read_model_settings
from monai_dgm.labelling.training.validation_set import MIN_IMAGES, MIN_IMAGES_WITH_BOXES
from monai_dgm.metrics.comparison import paired_differences
from monai_dgm.metrics.detection import (
    IOU_THRESHOLDS,
    MAX_DETECTIONS,
    DetectionResult,
    detection_metric_set,
    detection_metrics,
    match_detections,
)
from monai_dgm.networks.detector import OpacityDetector, build_detector

__all__ = ["Decision", "compare", "decide", "detect_in", "detector_of", "metrics_of"]

METRICS = ("ap", "ap40", "ap50", "froc_mean")
EQUAL = 1e-9
Metrics = dict[str, float | None]


@dataclass(frozen=True)
class Decision:
    """Whether the new model is promoted, and the reason as a sentence."""

    promoted: bool
    reason: str


def decide(before: Metrics, after: Metrics, images: int, with_boxes: int, few_are_enough: bool = False) -> Decision:
    """Decide by the rule of this module.

    Args:
        before: "ap" and "ap40" of the model that is served, None where undefined.
        after: the same of the new model.
        images: number of validation images.
        with_boxes: number of those that have boxes.
        few_are_enough: decide with fewer images than the minimum.
    """
    values = [before.get("ap"), after.get("ap"), before.get("ap40"), after.get("ap40")]
    if any(value is None or not math.isfinite(value) for value in values):
        return Decision(False, "the validation images have no opacity box to compare the models by")
    for name, words in (("ap", "AP"), ("ap40", "equal AP, AP at IoU 0.40")):
        old, new = float(before[name] or 0.0), float(after[name] or 0.0)
        if abs(new - old) > EQUAL:
            wins = new > old
            reason = f"{words} {new:.4f} {'beats' if wins else 'is below'} {old:.4f} of the current model"
            break
    else:
        wins, reason = True, f"AP {float(after['ap'] or 0.0):.4f}, equal to that of the current model"
    if wins and not few_are_enough and (images < MIN_IMAGES or with_boxes < MIN_IMAGES_WITH_BOXES):
        return Decision(
            False,
            f"{reason}, but on {images} validation images, {with_boxes} with boxes; expected at least {MIN_IMAGES} and "
            f"{MIN_IMAGES_WITH_BOXES}: label more, give original data (setting replay), or train with the option "
            "promote_on_few",
        )
    return Decision(wins, f"{reason}, on {images} validation images, {with_boxes} with boxes")


def detector_of(weights: str | os.PathLike[str]) -> OpacityDetector:
    """The detector in a file of weights, in evaluation mode; its size is in the JSON file of the same name.

    Raises:
        InputError: no such file, or weights of another network.
    """
    return load_weights(build_detector(read_model_settings(weights)), weights).eval()  # type: ignore[return-value]


def detect_in(
    items: Sequence[dict[str, Any]],
    weights: str | os.PathLike[str],
    cache_dir: str | os.PathLike[str],
    decomposer_path: str | os.PathLike[str] | None = None,
    device: torch.device | str = "cpu",
    batch_size: int = 16,
) -> list[DetectionResult]:
    """Detections in images whose boxes are known, in the order of ``items``.

    Args:
        items: images of a datalist, with "opacity_boxes".
        weights: file of the detector, with its settings in the JSON file of the same name.
        cache_dir: folder for prepared radiographs and residues.
        decomposer_path: weights of the decomposer that the detector was trained with, if its input has residues.
        device: of both models.
        batch_size: number of radiographs in a batch.

    Raises:
        InputError: files that cannot be used, another decomposer, or boxes that are not finite.
    """
    settings = read_model_settings(weights)
    channels, decomposer = model_channels(settings), None
    if needs_decomposer(channels) and decomposer_path is not None:
        check_decomposer(settings, decomposer_path)
        decomposer = load_decomposer(decomposer_path, device)
    size = int(settings["image_size"])
    radiographs = decomposed_dataset(items, channels, size, cache_dir, decomposer, decomposer_path, device)
    dataset = OpacityBoxDataset(radiographs)
    detections = OpacityDetections(dataset)
    loader: DataLoader = DataLoader(dataset, batch_size, collate_fn=collate_boxes)
    DetectionEvaluator(device, loader, detector_of(weights).to(device), detections, strict=True).run()
    return detections.results


def metrics_of(results: Sequence[DetectionResult]) -> Metrics:
    """The metrics by which versions are compared; None where undefined."""
    metrics = detection_metrics(results, 0)
    return {name: finite(metrics.row(name).value, 6) for name in METRICS}


def compare(
    after: Sequence[DetectionResult], before: Sequence[DetectionResult], num_bootstrap: int = 500
) -> dict[str, float | None]:
    """Difference of AP (after - before) and its 95 % confidence interval over patients: "difference", "low", "high"."""
    matched = [match_detections(results, IOU_THRESHOLDS, MAX_DETECTIONS) for results in (after, before)]
    sets = [detection_metric_set(one) for one in matched]
    found = paired_differences(sets[0], sets[1], list(matched[0].patients), num_bootstrap)["ap"]
    return {name: finite(getattr(found, name), 6) for name in ("difference", "low", "high")}
