"""Boxes that need no detector, for comparison: those of the mean-box prior, and of the salient parts of the residue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from monai_dgm.data.opacity_boxes import OpacityBoxDataset
from monai_dgm.engines.detection.workflow import OpacityDetections
from monai_dgm.metrics.detection import DetectionResult, average_precisions, match_detections
from monai_dgm.metrics.prior_maps import fit_mean_box_prior
from monai_dgm.transforms.boxes import rasterise_boxes
from monai_dgm.transforms.saliency import compute_saliency, saliency_to_boxes

__all__ = ["baseline_results", "prior_boxes", "prior_results", "saliency_results"]

PRIOR_LEVELS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4)
LOOSEST = (0.4,)  # IoU at which the level is chosen

FloatArray = NDArray[np.float32]


def prior_boxes(boxes: Sequence[FloatArray], size: int) -> tuple[FloatArray, FloatArray]:
    """Boxes of the mean-box prior: around the regions where many training images have an opacity.

    Args:
        boxes: boxes (N, 4) of each training image, in model coordinates.
        size: side S of the model input.

    Returns:
        boxes float32 (M, 4) and scores float32 (M,), the mean of the prior in the region. The regions are those above
        the level with the best AP40 on the training images.
    """
    marked = [own for own in boxes if len(own)]
    prior = fit_mean_box_prior([rasterise_boxes(own, (size, size)) for own in marked])
    candidates = [saliency_to_boxes(prior >= level, prior) for level in PRIOR_LEVELS]
    candidates = [found for found in candidates if len(found[0])] or [saliency_to_boxes(prior >= prior.max(), prior)]
    return max(candidates, key=lambda found: _average_precision(found, marked))


def _average_precision(found: tuple[FloatArray, FloatArray], truth: Sequence[FloatArray]) -> float:
    results = [DetectionResult(str(i), str(i), *found, own) for i, own in enumerate(truth)]
    weights = np.ones((1, len(results)), dtype=np.float32)
    return float(average_precisions(match_detections(results, LOOSEST), weights)[0, 0])


def prior_results(results: Sequence[DetectionResult], training: OpacityBoxDataset) -> list[DetectionResult]:
    """Copies of ``results`` with the boxes of a training set's mean-box prior as detections."""
    boxes, scores = prior_boxes([own.numpy() for own in training.boxes], training.size)
    return [replace(result, boxes=boxes, scores=scores) for result in results]


def saliency_results(results: Sequence[DetectionResult], dataset: OpacityBoxDataset) -> list[DetectionResult]:
    """Copies of ``results`` with boxes around salient parts of the residue as detections.

    Args:
        results: results of all images of ``dataset``, in its order.
        dataset: data set with residues.
    """
    found = []
    for index, result in enumerate(results):
        saliency = compute_saliency(dataset.residue(index)[0].numpy())
        boxes, scores = saliency_to_boxes(saliency.mask, saliency.heat)
        found.append(replace(result, boxes=boxes, scores=scores))
    return found


def baseline_results(test: OpacityDetections, training: OpacityBoxDataset) -> dict[str, list[DetectionResult]]:
    """Baselines by name: the mean-box prior of the training set, and saliency boxes where there are residues.

    Args:
        test: detections in all images of the test set.
        training: training set of the detector.
    """
    baselines = {"mean_box_prior": prior_results(test.results, training)}
    if "residue" in test.dataset.channels:
        baselines["saliency_boxes"] = saliency_results(test.results, test.dataset)
    return baselines
