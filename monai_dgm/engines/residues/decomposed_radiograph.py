"""One decomposed radiograph: normal image, residue and saliency, in model coordinates and over the original's pixels.

Pure computation: nothing here reads or writes a file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from monai_dgm.errors import InputError
from monai_dgm.networks.residue_system import split_prediction
from monai_dgm.transforms.geometry import DARKEST, RadiographGeometry
from monai_dgm.transforms.preparation import PreparedRadiograph, clear_border
from monai_dgm.transforms.saliency import Saliency, ThresholdRule, compute_saliency, saliency_to_boxes

__all__ = ["Decomposition", "OriginalDecomposition", "decompose_prediction", "to_original"]


@dataclass(frozen=True, eq=False)
class Decomposition:
    """One decomposed radiograph in model coordinates. All planes are (S, S), S the side of the model input.

    The border that fit "pad" added belongs to no patient: there image and normal are -1 and the residue is 0.

    Attributes:
        prepared: the model input, with the lung mask where lungs are known.
        normal: y', float32 in [-1, 1].
        residue: a, float32 in [-1, 1].
        probability: abnormality probability in [0, 1]; NaN from a system that gives none.
        saliency: of the residue.
        boxes: opacity boxes of the saliency, float32 (N, 4), strongest first.
        box_scores: float32 (N,) in [0, 1].
    """

    prepared: PreparedRadiograph
    normal: NDArray[np.float32]
    residue: NDArray[np.float32]
    probability: float
    saliency: Saliency
    boxes: NDArray[np.float32]
    box_scores: NDArray[np.float32]

    @property
    def image(self) -> NDArray[np.float32]:
        """z, float32 in [-1, 1]."""
        return self.prepared.image[0]

    @property
    def geometry(self) -> RadiographGeometry:
        """The way back to the original's pixels."""
        return self.prepared.geometry

    @property
    def mean_abs_residue(self) -> float:
        """Mean |a| over the radiograph, without the border that "pad" added."""
        return float(np.abs(self.residue[self.geometry.content]).mean())

    @property
    def max_abs_residue(self) -> float:
        """Largest |a|."""
        return float(np.abs(self.residue).max())

    @property
    def saliency_area_fraction(self) -> float:
        """Salient share of the radiograph, in [0, 1]."""
        return float(self.saliency.mask[self.geometry.content].mean())

    def with_threshold(self, threshold: ThresholdRule | float) -> Decomposition:
        """The same decomposition with the saliency and the boxes of another threshold; the network does not run."""
        saliency = compute_saliency(self.residue, threshold=threshold, lung_mask=self.prepared.lung_mask)
        boxes, scores = saliency_to_boxes(saliency.mask, saliency.heat)
        return replace(self, saliency=saliency, boxes=boxes, box_scores=scores)

    def original_boxes(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Boxes float32 (N, 4) in the original's pixels and scores (N,) of the saliency, strongest first."""
        boxes, kept = self.geometry.clip_to_original(self.boxes)  # smoothing may put one into the border
        return boxes[kept], self.box_scores[kept]


@dataclass(frozen=True, eq=False)
class OriginalDecomposition:
    """A decomposition over the original's pixels. All planes are (rows, cols) of the file as it was read.

    Attributes:
        normal: y' in the original's own intensity scale, bright = dense, float32.
        residue: a in units of the model's [-1, 1] scale, float32. One unit is (high - low) / 2 of the original's.
        heat: saliency heat, float32 in [0, 1], 0 outside ``mask``.
        mask: saliency mask, bool.
        boxes: opacity boxes, float32 (N, 4) within the image, strongest first.
        box_scores: float32 (N,) in [0, 1].
        lung_box: float32 (4,); the whole image where no lung box is known.
    """

    normal: NDArray[np.float32]
    residue: NDArray[np.float32]
    heat: NDArray[np.float32]
    mask: NDArray[np.bool_]
    boxes: NDArray[np.float32]
    box_scores: NDArray[np.float32]
    lung_box: NDArray[np.float32]


def decompose_prediction(
    prepared: PreparedRadiograph, prediction: Tensor, threshold: ThresholdRule | float = "otsu"
) -> Decomposition:
    """Make a decomposition of what a residue system predicts for one radiograph.

    Args:
        prepared: the model input; its lung mask, where known, gives the lung box of the saliency.
        prediction: (3, S, S) on the CPU: normal, residue, abnormality probability (NaN from a system without one).
        threshold: of the saliency, as in :func:`monai_dgm.transforms.saliency.compute_saliency`.

    Raises:
        InputError: NaN or infinity in normal or residue, or an infinite probability.
    """
    parts = split_prediction(prediction[None].float())
    probability = float(parts["abnormality_probability"][0])
    if not torch.isfinite(prediction[:2]).all() or probability in (float("inf"), float("-inf")):
        raise InputError("expected finite values from the network, got NaN or infinity: are the weights sound?")
    normal = clear_border(parts["normal"], [prepared.geometry], DARKEST)[0, 0].numpy()
    residue = clear_border(parts["residue"], [prepared.geometry])[0, 0].numpy()
    saliency = compute_saliency(residue, threshold=threshold, lung_mask=prepared.lung_mask)
    boxes, scores = saliency_to_boxes(saliency.mask, saliency.heat)
    return Decomposition(prepared, normal, residue, probability, saliency, boxes, scores)


def to_original(decomposition: Decomposition) -> OriginalDecomposition:
    """Map a decomposition back to the pixels and the intensity scale of the file it came from."""
    geometry, saliency = decomposition.geometry, decomposition.saliency
    unit = (geometry.map_to_original(decomposition.normal) + np.float32(1)) * np.float32(0.5)
    normal = unit * np.float32(geometry.high - geometry.low) + np.float32(geometry.low)
    mask = geometry.map_to_original(saliency.mask) >= 0.5
    heat = np.where(mask, geometry.map_to_original(saliency.heat), np.float32(0))
    (lung_box,), _ = geometry.clip_to_original(saliency.lung_box[None])
    boxes, box_scores = decomposition.original_boxes()
    return OriginalDecomposition(
        normal=normal,
        residue=geometry.map_to_original(decomposition.residue),
        heat=heat,
        mask=mask,
        boxes=boxes,
        box_scores=box_scores,
        lung_box=lung_box,
    )
