"""Handlers that write the decomposition or the opacity boxes of each radiograph, see :mod:`.result_saver`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from monai_dgm.engines.decomposition.outputs import OUTPUT_FILES, OUTPUTS, UNCERTAINTY_FILES, write_decomposition
from monai_dgm.engines.decomposition.values import BURDEN_THRESHOLD, model_values
from monai_dgm.engines.file_run import FileRun
from monai_dgm.engines.files import describe_model, writing
from monai_dgm.engines.overlay import DISCLAIMER, draw_overlay
from monai_dgm.engines.pipeline import RadiographPipeline
from monai_dgm.engines.radiograph_result import OpacityBoxes, RadiographResult
from monai_dgm.errors import InputError
from monai_dgm.handlers.result_saver import BOXES_NOTE, ResultSaver
from monai_dgm.transforms.preparation import RadiographSource
from monai_dgm.utils.atomic import atomic_write

__all__ = ["BURDEN_THRESHOLD", "DETECTIONS_FILE", "OVERLAY_FILE", "DecompositionSaver", "DetectionSaver"]

DETECTIONS_FILE = "detections.json"
OVERLAY_FILE = "opacities.png"
DECOMPOSITION_NOTES = {
    "boxes": BOXES_NOTE,
    "mean_abs_residue": "mean |a| over the radiograph; |a| and saliency_threshold are in units of the [-1, 1] scale",
    "intensity_range": "values of the original that became -1 and 1",
    "normal_png_range": "values of the original that black and white of normal.png stand for",
    "lung_box_source": "lung_mask: box of the lung mask, see lung_mask_source; whole_image: no lungs are known",
    "lung_mask_source": "given: with the image; predicted: by the lung segmentor; null: none, nothing was left out",
    "saliency_boxes": "around the salient parts of the residue",
    "opacity_boxes": "of the opacity detector, scores in [0, 1], no probabilities of disease; null: there is none",
    "chest_score": "distance from the training chests in units of the threshold; above 1 it is questioned",
    "uncertainty": "of the residue: disagreement of its passes, 0 to 1; null: not asked for",
    "residue_burden": "of the lungs, each lung and its thirds; salient: smoothed |a| > burden_threshold",
}
DETECTION_NOTES = {
    "boxes": BOXES_NOTE,
    "scores": "in [0, 1], higher is more certain; no probabilities of disease",
    "score_threshold": "boxes below it are not listed; chosen on validation images",
    "remarks": "reasons, from the file's header, why this may be no frontal chest radiograph",
}


class DecompositionSaver(ResultSaver):
    """Writes ``<image_id>/`` for each radiograph (:mod:`monai_dgm.engines.decomposition.outputs`) and ``scores.json``.

    Outputs of an earlier run are replaced image by image, each when its new files are complete.

    Args:
        files, pipeline: as in :class:`ResultSaver`; the pipeline has a decomposer.
        preprocessing: of the run, whose "fit" and "percentiles" are listed; None where they are not known.
        panels: write panel.png, too.
        outputs: which files are written for each radiograph: "all", "maps" (normal.png, residue.nii.gz, saliency.png:
            what programs read), or "scores" (none; what an earlier run wrote there is removed).
        burden_threshold: of the smoothed |a| that counts as salient in the residue burden: one for all radiographs, so
            that they compare, whatever the threshold of the saliency is.
    """

    output_files = (*OUTPUT_FILES, *UNCERTAINTY_FILES)
    done = "decomposed"
    logs_remarks = True

    def __init__(
        self,
        files: FileRun,
        pipeline: RadiographPipeline,
        preprocessing: Any = None,
        panels: bool = True,
        burden_threshold: float = BURDEN_THRESHOLD,
        outputs: str = "all",
    ) -> None:
        super().__init__(files, pipeline)
        detector = pipeline.detector
        self.score_threshold = None if detector is None else float(detector.settings.get("score_threshold") or 0.0)
        self.preprocessing = preprocessing
        if outputs not in OUTPUTS:
            raise InputError(f"outputs: expected one of {', '.join(OUTPUTS)}, got {outputs!r}")
        self.panels = panels
        self.outputs = outputs
        self.burden_threshold = burden_threshold

    def save(self, index: int, source: RadiographSource, result: RadiographResult) -> Mapping[str, Any]:
        """Write normal image, residue, saliency and pictures; scores, boxes and residue burden."""
        if result.decomposition is None:
            raise InputError("expected a decomposer in the pipeline, got none")
        folder, remarks = self.files.folder(index), result.chest_check.remarks
        found = None if result.opacities is None else result.opacities.above(self.score_threshold or 0.0)
        spread = None if result.uncertainty is None else result.uncertainty.map
        with writing(folder):
            parts = (result.decomposition, source, self.panels, found, remarks, spread, self.outputs)
            scores = write_decomposition(folder, *parts)
        return {**scores, **model_values(result, found, self.burden_threshold)}

    def details(self) -> dict[str, Any]:
        """Models, settings and notes."""
        model_files, percentiles = self.pipeline.model_files, getattr(self.preprocessing, "percentiles", None)
        known = {name: describe_model(model_files[name]) for name in ("lungs", "detector") if name in model_files}
        return {
            "model_file": model_files.get("decomposer"),
            "disclaimer": f"{DISCLAIMER}. Normal images are synthetic.",
            "auxiliary_models": {"lungs": None, "detector": None, **known},
            "settings": {
                "size": self.pipeline.size,
                "fit": getattr(self.preprocessing, "fit", None),
                "percentiles": None if percentiles is None else list(percentiles),
                "threshold": self.pipeline.threshold,
                "score_threshold": self.score_threshold,
                "burden_threshold": self.burden_threshold,
                "uncertainty_passes": self.pipeline.passes if self.pipeline.uncertainty else None,
            },
            "notes": DECOMPOSITION_NOTES,
        }


class DetectionSaver(ResultSaver):
    """Writes ``<image_id>/opacities.png`` for each radiograph, and ``detections.json``.

    Args:
        files, pipeline: as in :class:`ResultSaver`; the pipeline has a detector.
        score_threshold: replaces the one that was chosen in training, "score_threshold" of the detector's settings.
        overlays: write the pictures.
    """

    results_file = DETECTIONS_FILE
    output_files = (OVERLAY_FILE,)
    done = "looked at"

    def __init__(
        self,
        files: FileRun,
        pipeline: RadiographPipeline,
        score_threshold: float | None = None,
        overlays: bool = True,
    ) -> None:
        super().__init__(files, pipeline)
        self.detector = pipeline.required("detector")
        chosen = self.detector.settings.get("score_threshold")
        self.score_threshold = chosen if score_threshold is None else score_threshold
        self.overlays = overlays

    def save(self, index: int, source: RadiographSource, result: RadiographResult) -> Mapping[str, Any]:
        """Draw the boxes; boxes in the original's pixels and scores."""
        assert result.opacities is not None
        found, geometry = result.opacities.above(self.score_threshold or 0.0), result.prepared.geometry
        values = {
            "rows": geometry.rows,
            "cols": geometry.cols,
            "boxes": found.boxes.astype(np.float64).round(2).tolist(),
            "scores": found.scores.astype(np.float64).round(4).tolist(),
            "remarks": list(result.chest_check.remarks),
        }
        if self.overlays:
            _draw(self.files.folder(index) / OVERLAY_FILE, source, (geometry.rows, geometry.cols), found)
        return values

    def details(self) -> dict[str, Any]:
        """Model, channels, score threshold and notes."""
        return {
            "model_file": self.pipeline.model_files.get("detector"),
            "channels": list(self.detector.channels),
            "score_threshold": self.score_threshold,
            "notes": DETECTION_NOTES,
        }


def _draw(path: Path, source: RadiographSource, shape: tuple[int, int], found: OpacityBoxes) -> None:
    caption = "No box above the score threshold"
    if len(found.boxes):
        caption = f"{len(found.boxes)} opacity box{'es' if len(found.boxes) > 1 else ''}"
    no_heat = np.zeros(shape, dtype=np.float32)
    with writing(path.parent), atomic_write(path) as partial:
        draw_overlay(source.display, no_heat, found.boxes, found.scores, caption).save(partial)
