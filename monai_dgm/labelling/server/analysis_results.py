"""Answers to inference requests: numbers as JSON, and the one file that a viewer loads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_dgm.engines.decomposition.outputs import (
    normal_levels,
    overlay_png,
    saliency_levels,
    stepped_residue,
)
from monai_dgm.engines.decomposition.values import known_probability
from monai_dgm.engines.overlay import DISCLAIMER
from monai_dgm.engines.residues.decomposed_radiograph import Decomposition, to_original
from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.image_label import OPACITY, LabelledBox, make_boxes
from monai_dgm.labelling.labels.markups import boxes_to_markups, note_to_markups
from monai_dgm.labelling.server.analysis import AnalysisResult, Detections, RadiographAnalysis
from monai_dgm.labelling.server.request_options import DecomposeOptions, DetectOptions, options_of
from monai_dgm.metrics.burden import ResidueBurden, model_spacing, residue_burden
from monai_dgm.transforms.placement import plane_nifti

__all__ = ["Answer", "classify", "decompose", "detect", "image_nifti", "shown_boxes"]


@dataclass(frozen=True)
class Answer:
    """Result of an inference.

    Attributes:
        params: plain values that JSON can hold.
        name: of the file, whose suffix tells a viewer what to do with it; None without file.
        content: of the file.
    """

    params: dict[str, Any]
    name: str | None = None
    content: bytes = b""


def decompose(analysis: RadiographAnalysis, image_id: str, params: Mapping[str, Any]) -> Answer:
    """Take a radiograph apart.

    Options: see :class:`DecomposeOptions`. The file of a map is PNG for "overlay", else NIfTI with the position of the
    radiograph: "saliency" and "lungs" are masks, "heat" is 0 to 255, "normal", "residue" and "uncertainty" are images.
    The value "uncertainty" is the number of :class:`monai_dgm.engines.residues.uncertainty.ResidueUncertainty`, null
    unless the map "uncertainty" is asked for: it takes another pass of the decomposer.

    Raises:
        InputError: an option that cannot be used, or as :meth:`RadiographAnalysis.examine`.
    """
    options = options_of(DecomposeOptions, params)
    chosen = options.map
    analysis_result = analysis.examine(image_id, uncertainty=chosen == "uncertainty")
    uncertainty = analysis_result.uncertainty
    decomposition = analysis.decomposition(image_id, options.saliency_threshold)
    burden = burden_of(analysis_result, decomposition)
    values = {
        **_common(analysis_result),
        "severity": burden.total.as_dict()["salient_share"],
        "burden": burden.as_dict(),
        "mean_abs_residue": round(decomposition.mean_abs_residue, 6),
        "saliency_threshold": round(decomposition.saliency.threshold, 6),
        "saliency_area_fraction": round(decomposition.saliency_area_fraction, 6),
        "uncertainty": None if uncertainty is None else round(uncertainty.score, 6),
        "map": chosen,
        "label_names": {chosen: 1} if chosen in ("saliency", "lungs") else {},
    }
    name, content = output_file(chosen, analysis_result, decomposition)
    return Answer(values, name, content)


def detect(analysis: RadiographAnalysis, image_id: str, params: Mapping[str, Any]) -> Answer:
    """Opacity boxes as a markups document that 3D Slicer loads, "opacities.json"; without boxes it has a note that says
    why, for Slicer takes an empty document for an error.

    A radiograph with remarks (it may be no frontal chest radiograph) has no boxes unless they are asked for.

    Options: see :class:`DetectOptions`.

    Raises:
        InputError: as :func:`decompose`.
    """
    options, found = options_of(DetectOptions, params), analysis.detections(image_id)
    threshold = found.score_threshold if options.score_threshold is None else options.score_threshold
    boxes, remarks = shown_boxes(found, threshold), analysis.examine(image_id).remarks
    withheld = len(boxes) if remarks and not options.despite_remarks else 0
    boxes = () if withheld else boxes
    values = {
        "boxes": [box.as_dict() for box in boxes],
        "boxes_withheld": withheld,
        "remarks": list(remarks),
        "box_source": found.source,
        "score_threshold": threshold,
        "model_version": found.version,
        "rows": found.placement.rows,
        "cols": found.placement.cols,
        "label_names": {OPACITY: 1},
        "disclaimer": DISCLAIMER,
    }
    note = remarks[0] if withheld else f"no opacity with a score of {threshold:.2f} or more"
    markups = boxes_to_markups(boxes, found.placement) if boxes else note_to_markups(note, found.placement)
    return Answer(values, "opacities.json", json.dumps(markups, allow_nan=False).encode("utf-8"))


def classify(analysis: RadiographAnalysis, image_id: str) -> Answer:
    """Abnormality probability of the decomposer's head, and what the classifier says, null without one.

    A classifier is of opacities or of abnormality; the latter's probability stands beside the head's.

    Raises:
        InputError: as :meth:`RadiographAnalysis.examine`.
    """
    task, probability, version = analysis.class_probability(image_id) or (None, 0.0, None)
    known = {name: round(probability, 6) if task == name else None for name in ("opacity", "abnormality")}
    values = {
        **_common(analysis.examine(image_id)),
        "opacity_probability": known["opacity"],
        "classifier_abnormality_probability": known["abnormality"],
        "classifier_version": version,
    }
    return Answer(values)


def shown_boxes(found: Detections, threshold: float) -> tuple[LabelledBox, ...]:
    """The boxes of score ``threshold`` or more, as labels have them."""
    kept = found.scores >= threshold
    boxes = found.boxes[kept].astype(np.float64).round(3)
    return make_boxes(boxes, [OPACITY] * int(kept.sum()), [round(float(s), 4) for s in found.scores[kept]])


def image_nifti(analysis: RadiographAnalysis, image_id: str) -> bytes:
    """A radiograph as NIfTI of one channel, bright = dense, where its labels lie: what viewers are served.

    Whole numbers stay whole (int16 or int32), others become float32. No patient data go along.

    Raises:
        InputError: as :meth:`RadiographAnalysis.view`.
    """
    view = analysis.view(image_id)
    pixels: NDArray[Any] = view.radiograph.pixels
    low, high = float(pixels.min()), float(pixels.max())
    if (pixels == np.rint(pixels)).all() and low >= -(2**31) and high < 2**31:
        pixels = pixels.astype(np.int16 if low >= -(2**15) and high < 2**15 else np.int32)
    return plane_nifti(pixels, view.placement)


def burden_of(analysis_result: AnalysisResult, decomposition: Decomposition) -> ResidueBurden:
    """Residue burden over the lungs, over the whole image where none are known."""
    spacing = model_spacing(decomposition.geometry)
    return residue_burden(decomposition.residue, decomposition.saliency.mask, analysis_result.lung_mask, spacing)


def output_file(name: str, analysis_result: AnalysisResult, decomposition: Decomposition) -> tuple[str, bytes]:
    """(file name, content) of a map.

    Raises:
        InputError: lungs of a radiograph in which none were found, or an uncertainty that was not measured.
    """
    original, placement = to_original(decomposition), analysis_result.placement
    if name == "overlay":
        source, remarks = analysis_result.source, analysis_result.result.chest_check.remarks
        return "overlay.png", overlay_png(decomposition, original, source, remarks=remarks)
    if name == "saliency":
        plane: NDArray[Any] = original.mask.astype(np.uint8)
    elif name == "heat":
        plane = saliency_levels(original)
    elif name == "residue":
        plane = stepped_residue(original.residue)
    elif name == "uncertainty":
        if analysis_result.uncertainty is None:
            raise InputError("map: expected an uncertainty, it was not measured")
        plane = stepped_residue(decomposition.geometry.map_to_original(analysis_result.uncertainty.map))
    elif name == "normal":
        levels = normal_levels(original, decomposition.geometry, analysis_result.source)
        plane = levels.astype(np.int32) if levels.dtype == np.uint16 else levels
    else:
        mask = analysis_result.lung_mask
        if mask is None:
            raise InputError("map: expected lungs, but there is no lung segmentor, or it found none")
        plane = (decomposition.geometry.map_to_original(mask) >= 0.5).astype(np.uint8)
    return f"{name}.nii.gz", plane_nifti(plane, placement)


def _common(analysis_result: AnalysisResult) -> dict[str, Any]:
    decomposer, lungs = analysis_result.versions
    found, check = analysis_result.lung_mask is not None, analysis_result.result.chest_check
    return {
        "abnormality_probability": known_probability(analysis_result.decomposition),
        "model_version": decomposer,
        "lung_mask_source": (lungs if found else f"{lungs}, found none") if lungs else "none, the whole image counts",
        **check.as_dict(),
        "rows": analysis_result.placement.rows,
        "cols": analysis_result.placement.cols,
        "disclaimer": DISCLAIMER,
    }
