"""The numbers of one radiograph's results, as JSON can hold them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_dgm.engines.radiograph_result import OpacityBoxes, RadiographResult
from monai_dgm.engines.residues.decomposed_radiograph import Decomposition
from monai_dgm.metrics.burden import model_spacing, residue_burden

__all__ = ["BURDEN_THRESHOLD", "decomposition_values", "known_probability", "listed_boxes", "model_values"]

BURDEN_THRESHOLD = 0.1  # of smoothed |a|, where a model's settings have none: 13 grey levels of 256


def decomposition_values(decomposition: Decomposition) -> dict[str, Any]:
    """Probability, residue, saliency, lung box and geometry; boxes in the original's pixels."""
    geometry, saliency = decomposition.geometry, decomposition.saliency
    boxes, box_scores = decomposition.original_boxes()
    (lung_box,), _ = geometry.clip_to_original(saliency.lung_box[None])
    spacing = geometry.pixel_spacing
    return {
        "abnormality_probability": known_probability(decomposition),
        "mean_abs_residue": round(decomposition.mean_abs_residue, 6),
        "max_abs_residue": round(decomposition.max_abs_residue, 6),
        "saliency_area_fraction": round(decomposition.saliency_area_fraction, 6),
        "saliency_threshold": round(saliency.threshold, 6),
        "saliency_boxes": listed_boxes(boxes, box_scores),
        "lung_box": _numbers(lung_box),
        "lung_box_source": saliency.lung_box_source,
        "rows": geometry.rows,
        "cols": geometry.cols,
        "pixel_spacing_mm": None if spacing is None else list(spacing),
        "intensity_range": [round(geometry.low, 6), round(geometry.high, 6)],
    }


def model_values(result: RadiographResult, found: OpacityBoxes | None, burden_threshold: float) -> dict[str, Any]:
    """Opacity boxes, lungs, chest check, uncertainty and residue burden.

    Args:
        result: of a pipeline with a decomposer.
        found: the boxes of its detector that are listed; None without one.
        burden_threshold: of the smoothed |a| that counts as salient in the residue burden.
    """
    decomposition, check = result.decomposition, result.chest_check
    assert decomposition is not None
    mask, spacing = result.prepared.lung_mask, model_spacing(decomposition.geometry)
    salient = decomposition.with_threshold(burden_threshold).saliency.mask
    return {
        "opacity_boxes": None if found is None else listed_boxes(found.boxes, found.scores),
        "lung_mask_source": result.lung_mask_source,
        "looks_like_chest": check.looks_like_chest,
        "chest_score": check.chest_score,
        "uncertainty": None if result.uncertainty is None else round(result.uncertainty.score, 6),
        "residue_burden": residue_burden(decomposition.residue, salient, mask, spacing).as_dict(),
    }


def known_probability(decomposition: Decomposition) -> float | None:
    """The abnormality probability; None from a system that gives none."""
    return None if math.isnan(decomposition.probability) else round(decomposition.probability, 6)


def listed_boxes(boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> list[dict[str, Any]]:
    """Boxes (N, 4) and scores (N,)."""
    pairs = zip(boxes, scores, strict=True)
    return [{"box": _numbers(box), "score": round(float(score), 4)} for box, score in pairs]


def _numbers(box: NDArray[np.float32]) -> list[float]:
    return [round(float(edge), 2) for edge in box]
