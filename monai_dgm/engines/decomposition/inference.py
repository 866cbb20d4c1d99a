"""Decomposes the radiographs of a file, a folder or a datalist, and writes what comes out; bad files stop nobody."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from monai_dgm.engines.decomposition.auxiliary_models import AuxiliaryModels, LungReading
from monai_dgm.engines.decomposition.decompose import Decompose, Decomposition, PreparedRadiograph, prepare
from monai_dgm.engines.decomposition.nifti_affine import nifti_affine
from monai_dgm.engines.decomposition.outputs import OUTPUT_FILES, Source, listed_boxes, write_decomposition
from monai_dgm.engines.detection.inference import Found
from monai_dgm.engines.file_run import FileRun, Loaded, prepare_alone, question_radiograph
from monai_dgm.engines.files import writing
from monai_dgm.engines.overlay import DISCLAIMER, display_levels
from monai_dgm.errors import InputError, reason_of
from monai_dgm.metrics.burden import model_spacing, residue_burden
from monai_dgm.readers.radiograph import Radiograph
from monai_dgm.readers.read import read_mask
from monai_dgm.transforms.saliency import compute_saliency

__all__ = ["BURDEN_THRESHOLD", "SCORES_FILE", "decompose_files"]

logger = logging.getLogger(__name__)

SCORES_FILE = "scores.json"
BURDEN_THRESHOLD = 0.1  # of smoothed |a|, where a model's settings say none: 13 grey levels of 256
NOTES = {
    "boxes": "[xmin, ymin, xmax, ymax], x to the right, y down, pixels of the original, pixel i spans [i, i + 1]",
    "mean_abs_residue": "mean |a| over the radiograph; |a| and saliency_threshold are in units of the [-1, 1] scale",
    "intensity_range": "values of the original that became -1 and 1",
    "normal_png_range": "values of the original that black and white of normal.png stand for",
    "lung_box_source": "lung_mask: box of the lung mask, see lung_mask_source; whole_image: no lungs are known",
    "lung_mask_source": "given: with the image; predicted: by the lung segmentor; null: none, nothing was left out",
    "saliency_boxes": "around the salient parts of the residue",
    "opacity_boxes": "of the opacity detector, scores in [0, 1], no probabilities of disease; null: there is none",
    "chest_score": "distance from the training chests in units of the threshold; above 1 it is questioned",
    "residue_burden": "of the lungs, each lung and its thirds; salient: smoothed |a| > burden_threshold",
}


@dataclass(frozen=True)
class _Input:
    """A radiograph as the decomposer, the detector and the pictures need it."""

    prepared: PreparedRadiograph
    source: Source
    detector_input: PreparedRadiograph | None


@dataclass(frozen=True)
class _Prepare:
    size: int
    fit: str
    percentiles: tuple[float, float] | None
    detector_size: int | None

    def __call__(self, item: Mapping[str, Any], radiograph: Radiograph) -> _Input:
        mask = None if item.get("lung_mask") is None else read_mask(item["lung_mask"])
        fitted, known = (self.size, self.fit, self.percentiles), (radiograph.pixel_spacing, radiograph.valid)
        prepared = prepare(radiograph.pixels, *fitted, *known, mask, radiograph.orientation)
        seen = None if self.detector_size is None else prepare_alone(radiograph, self.detector_size)
        return _Input(prepared, _source_of(item, radiograph, prepared), seen)


def decompose_files(
    datalist: str | os.PathLike[str] | Sequence[Mapping[str, Any]],
    decompose: Decompose,
    output_dir: str | os.PathLike[str],
    batch_size: int = 4,
    num_workers: int = 0,
    model_file: str | os.PathLike[str] | None = None,
    panels: bool = True,
    auxiliary_models: AuxiliaryModels | None = None,
    burden_threshold: float = BURDEN_THRESHOLD,
) -> dict[str, Any]:
    """Decompose radiographs and write ``output_dir/<image_id>/`` for each and ``output_dir/scores.json`` at the end.

    What is written for each image: :mod:`monai_dgm.engines.decomposition.outputs`. A file that cannot be used is
    listed under "failed" with its reason, and the others go on. Outputs of an earlier run are replaced image by image,
    each when its new files are complete.

    Args:
        datalist: a file, a folder (searched with its subfolders), or dicts with "image" (path), "image_id" (unique)
            and, where known, "lung_mask" (path) and "opacity_boxes" (true boxes (N, 4), for the panel).
        decompose: the network with its preparation and its saliency; what they are goes into scores.json.
        output_dir: made when missing.
        batch_size: radiographs that the network takes at once.
        num_workers: processes that read and prepare files; 0 reads in this one.
        model_file: file the network's weights came from; its name and SHA-256 go into scores.json.
        panels: write panel.png, too (the slowest of the files for small images).
        auxiliary_models: models that give lungs, chest check and opacity boxes; by default none.
        burden_threshold: of the smoothed |a| that counts as salient in the residue burden: one for all radiographs, so
            that they compare, whatever the saliency's is.

    Returns:
        What scores.json holds: "images", "failed" ({"image_id", "file", "reason"}), "model", "auxiliary_models",
        "settings", "version", "disclaimer", "notes". "file" is relative to the folder that holds all files.

    Raises:
        InputError: nothing to decompose, equal or unusable image_ids, a folder that cannot be written, a full disk; or
            when no file could be decomposed (scores.json then lists the reasons).
    """
    beside = auxiliary_models or AuxiliaryModels()
    run = FileRun(datalist, output_dir, SCORES_FILE, OUTPUT_FILES, "decomposed")
    prepare_input = _Prepare(decompose.size, decompose.fit, decompose.percentiles, beside.detector_size)
    for batch in run.batches(prepare_input, batch_size, num_workers):
        for loaded, outcome in _read_batch(decompose, beside, batch, run, panels, burden_threshold):
            if isinstance(outcome, str):
                run.fail(loaded.place, outcome)
                continue
            run.add(loaded.place, outcome)
            for remark in outcome["remarks"]:
                logger.warning("%s: %s", run.name(loaded.place), remark)
    settings = {
        "size": decompose.size,
        "fit": decompose.fit,
        "percentiles": None if decompose.percentiles is None else list(decompose.percentiles),
        "threshold": decompose.threshold,
        "score_threshold": None if beside.detector is None else beside.score_threshold,
        "burden_threshold": burden_threshold,
    }
    return run.write(
        model_file,
        disclaimer=f"{DISCLAIMER}. Normal images are synthetic.",
        auxiliary_models=beside.describe(),
        settings=settings,
        notes=NOTES,
    )


def _read_batch(
    decompose: Decompose,
    beside: AuxiliaryModels,
    batch: Sequence[Loaded[_Input]],
    run: FileRun,
    panels: bool,
    burden_threshold: float,
) -> Iterator[tuple[Loaded[_Input], dict[str, Any] | str]]:
    """Each entry with its scores, or with the reason why it has none."""
    if not batch:
        return
    readings = beside.read_lungs([one.value.prepared for one in batch], [one.value.source.remarks for one in batch])
    predictions = decompose.predict([reading.prepared for reading in readings])
    opacities = beside.find_opacities([one.value.detector_input for one in batch])
    for loaded, reading, prediction, found in zip(batch, readings, predictions, opacities, strict=True):
        try:
            decomposition = decompose.assemble(reading.prepared, prediction)
        except Exception as error:  # whatever one image does, the others go on
            yield loaded, reason_of(error, "image")
            continue
        folder, source = run.folder(loaded.place), replace(loaded.value.source, remarks=reading.remarks)
        try:
            with writing(folder):
                scores = write_decomposition(folder, decomposition, source, panels, found)
        except InputError:  # a full disk stops every further image
            raise
        except Exception as error:
            yield loaded, reason_of(error, "image")
            continue
        yield loaded, {**scores, **_beside(reading, decomposition, found, burden_threshold)}


def _beside(
    reading: LungReading, decomposition: Decomposition, found: Found | None, burden_threshold: float
) -> dict[str, Any]:
    """What scores.json says beside the decomposition's own figures."""
    mask, spacing = reading.prepared.lung_mask, model_spacing(decomposition.geometry)
    salient = compute_saliency(decomposition.residue, threshold=burden_threshold, lung_mask=mask).mask
    return {
        "opacity_boxes": None if found is None else listed_boxes(*found),
        "lung_mask_source": reading.source,
        "looks_like_chest": reading.looks_like_chest,
        "chest_score": reading.chest_score,
        "residue_burden": residue_burden(decomposition.residue, salient, mask, spacing).as_dict(),
    }


def _source_of(item: Mapping[str, Any], radiograph: Radiograph, prepared: PreparedRadiograph) -> Source:
    geometry = prepared.geometry
    boxes = item.get("opacity_boxes")
    return Source(
        image_id=str(item["image_id"]),
        display=display_levels(radiograph.pixels, geometry.low, geometry.high),
        format=radiograph.format,
        bits=radiograph.bits,
        affine=nifti_affine(item["image"]) if radiograph.format == "nifti" else None,
        opacity_boxes=np.asarray([] if boxes is None else boxes, dtype=np.float32).reshape(-1, 4),
        remarks=question_radiograph(radiograph),
    )
