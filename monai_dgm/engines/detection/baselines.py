"""What a detector must beat: boxes that never look at the image, and boxes around what is salient in a residue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from monai_dgm.data.opacity_boxes import OpacityBoxDataset
from monai_dgm.metrics.detection import DetectionResult, average_precisions, match_detections
from monai_dgm.metrics.prior_maps import fit_mean_box_prior
from monai_dgm.transforms.boxes import rasterise_boxes
from monai_dgm.transforms.saliency import compute_saliency, saliency_to_boxes

__all__ = ["prior_boxes", "prior_results", "saliency_results"]

PRIOR_LEVELS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4)
LOOSEST = (0.4,)  # IoU at which the level is chosen

FloatArray = NDArray[np.float32]


def prior_boxes(boxes: Sequence[FloatArray], size: int) -> tuple[FloatArray, FloatArray]:
    """Boxes of the mean-box prior: around the parts where many training images have an opacity.

    Args:
        boxes: of each training image with opacities, (N, 4) in model coordinates.
        size: side S of the model input.

    Returns:
        boxes float32 (M, 4) and scores float32 (M,), the mean of the prior within. The level of the prior that cuts
        the parts out is the one with the best AP40 on the training images.
    """
    marked = [own for own in boxes if len(own)]
    prior = fit_mean_box_prior([rasterise_boxes(own, (size, size)) for own in marked])
    candidates = [saliency_to_boxes(prior >= level, prior) for level in PRIOR_LEVELS]
    candidates = [found for found in candidates if len(found[0])] or [saliency_to_boxes(prior >= prior.max(), prior)]
    return max(candidates, key=lambda found: _average_precision(found, marked))


def _average_precision(found: tuple[FloatArray, FloatArray], truth: Sequence[FloatArray]) -> float:
    records = [DetectionResult(str(i), str(i), *found, own) for i, own in enumerate(truth)]
    weights = np.ones((1, len(records)), dtype=np.float32)
    return float(average_precisions(match_detections(records, LOOSEST), weights)[0, 0])


def prior_results(records: Sequence[DetectionResult], training: OpacityBoxDataset) -> list[DetectionResult]:
    """``records`` with the boxes of the mean-box prior of a training set in the place of what was detected."""
    boxes, scores = prior_boxes([own.numpy() for own in training.boxes], training.size)
    return [replace(record, boxes=boxes, scores=scores) for record in records]


def saliency_results(records: Sequence[DetectionResult], dataset: OpacityBoxDataset) -> list[DetectionResult]:
    """``records`` with the boxes around what is salient in the residue, as the decomposition bundle shows them.

    Args:
        records: of all images of ``dataset``, in its order.
        dataset: with residues.
    """
    found = []
    for index, record in enumerate(records):
        saliency = compute_saliency(dataset.residue(index)[0].numpy())
        boxes, scores = saliency_to_boxes(saliency.mask, saliency.heat)
        found.append(replace(record, boxes=boxes, scores=scores))
    return found
