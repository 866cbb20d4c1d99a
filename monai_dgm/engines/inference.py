"""Run a pipeline over the radiographs of a file, a folder or a datalist, and write what comes out.

A file that cannot be used is listed under "failed" with its reason, and the others go on.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from monai_dgm.engines.classification.tasks import TASKS
from monai_dgm.engines.decomposition.outputs import OUTPUT_FILES, listed_boxes, write_decomposition
from monai_dgm.engines.file_run import SCORES_FILE, FileRun
from monai_dgm.engines.files import describe_model, writing
from monai_dgm.engines.overlay import DISCLAIMER, draw_overlay
from monai_dgm.engines.pipeline import RadiographPipeline
from monai_dgm.engines.radiograph_result import OpacityBoxes, RadiographResult
from monai_dgm.errors import InputError, reason_of
from monai_dgm.metrics.burden import model_spacing, residue_burden
from monai_dgm.transforms.load_radiograph import LoadRadiographd
from monai_dgm.transforms.lungs import THRESHOLD, lungs_in_original
from monai_dgm.transforms.preparation import RadiographSource
from monai_dgm.utils.atomic import atomic_write

__all__ = [
    "BURDEN_THRESHOLD",
    "DETECTIONS_FILE",
    "LUNGS_FILE",
    "MASK_FILE",
    "OVERLAY_FILE",
    "classify_files",
    "decompose_files",
    "detect_files",
    "segment_files",
]

logger = logging.getLogger(__name__)

LUNGS_FILE = "lungs.json"
MASK_FILE = "lung_mask.png"
DETECTIONS_FILE = "detections.json"
OVERLAY_FILE = "opacities.png"
BURDEN_THRESHOLD = 0.1  # of smoothed |a|, where a model's settings have none: 13 grey levels of 256
BOXES_NOTE = "[xmin, ymin, xmax, ymax], x to the right, y down, pixels of the original, pixel i spans [i, i + 1]"
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
    "residue_burden": "of the lungs, each lung and its thirds; salient: smoothed |a| > burden_threshold",
}
DETECTION_NOTES = {
    "boxes": BOXES_NOTE,
    "scores": "in [0, 1], higher is more certain; no probabilities of disease",
    "score_threshold": "boxes below it are not listed; chosen on validation images",
    "remarks": "reasons, from the file's header, why this may be no frontal chest radiograph",
}
LUNG_NOTES = {
    "boxes": BOXES_NOTE,
    "lung_mask.png": "0 outside, 255 inside; the original's pixels",
    "right, left": "the patient's; the right lung is on the image's left",
    "chest_score": "distance from the training chests in units of the threshold; above 1 it is questioned",
}


def decompose_files(
    datalist: str | os.PathLike[str] | Sequence[Mapping[str, Any]],
    pipeline: RadiographPipeline,
    output_dir: str | os.PathLike[str],
    batch_size: int = 4,
    num_workers: int = 0,
    panels: bool = True,
    burden_threshold: float = BURDEN_THRESHOLD,
    preprocessing: LoadRadiographd | None = None,
) -> dict[str, Any]:
    """Decompose radiographs and write ``output_dir/<image_id>/`` for each and ``output_dir/scores.json`` at the end.

    What is written for each image: :mod:`monai_dgm.engines.decomposition.outputs`. Outputs of an earlier run are
    replaced image by image, each when its new files are complete.

    Args:
        datalist: a file, a folder (searched with its subfolders), or dicts with "image" (path), "image_id" (unique)
            and, where known, "lung_mask" (path) and "opacity_boxes" (true boxes (N, 4), for the panel).
        pipeline: with a decomposer, and where there are any lung segmentor and detector.
        output_dir: made when missing.
        batch_size: radiographs that the models take at once.
        num_workers: processes that read and prepare files; 0 reads in this one.
        panels: write panel.png, too (the slowest of the files for small images).
        burden_threshold: of the smoothed |a| that counts as salient in the residue burden: one for all radiographs, so
            that they compare, whatever the saliency's is.
        preprocessing: reads and prepares; by default with the settings that all bundles train with.

    Returns:
        What scores.json holds: "images", "failed" ({"image_id", "file", "reason"}), "model", "auxiliary_models",
        "settings", "version", "disclaimer", "notes". "file" is relative to the folder that holds all files.

    Raises:
        InputError: nothing to decompose, equal or unusable image_ids, a folder that cannot be written, a full disk; or
            when no file could be decomposed (scores.json then lists the reasons).
    """
    transform = preprocessing or LoadRadiographd("image", pipeline.sides, lung_mask_key="lung_mask")
    detector, files = pipeline.detector, pipeline.model_files
    score_threshold = None if detector is None else float(detector.settings.get("score_threshold") or 0.0)
    run = FileRun(datalist, output_dir, SCORES_FILE, OUTPUT_FILES, "decomposed")
    for index, source, result in run.results(pipeline, batch_size, num_workers, transform):
        if result.decomposition is None:
            raise InputError("expected a decomposer in the pipeline, got none")
        folder, remarks = run.folder(index), result.chest_check.remarks
        found = None if result.opacities is None else result.opacities.above(score_threshold or 0.0)
        try:
            with writing(folder):
                scores = write_decomposition(folder, result.decomposition, source, panels, found, remarks)
        except InputError:  # a full disk stops every further image
            raise
        except Exception as error:  # whatever one image does, the others go on
            run.fail(index, reason_of(error, "image"))
            continue
        run.add(index, {**scores, **_auxiliary_results(result, found, burden_threshold)})
        for remark in remarks:
            logger.warning("%s: %s", run.name(index), remark)
    settings = {
        "size": pipeline.size,
        "fit": transform.fit,
        "percentiles": None if transform.percentiles is None else list(transform.percentiles),
        "threshold": pipeline.threshold,
        "score_threshold": score_threshold,
        "burden_threshold": burden_threshold,
    }
    beside = {name: describe_model(files[name]) if name in files else None for name in ("lungs", "detector")}
    return run.write(
        files.get("decomposer"),
        disclaimer=f"{DISCLAIMER}. Normal images are synthetic.",
        auxiliary_models=beside,
        settings=settings,
        notes=DECOMPOSITION_NOTES,
    )


def _auxiliary_results(result: RadiographResult, found: OpacityBoxes | None, burden_threshold: float) -> dict[str, Any]:
    """What scores.json says of a radiograph beside the decomposition itself."""
    decomposition, check = result.decomposition, result.chest_check
    assert decomposition is not None
    mask, spacing = result.prepared.lung_mask, model_spacing(decomposition.geometry)
    salient = decomposition.with_threshold(burden_threshold).saliency.mask
    return {
        "opacity_boxes": None if found is None else listed_boxes(found.boxes, found.scores),
        "lung_mask_source": result.lung_mask_source,
        "looks_like_chest": check.looks_like_chest,
        "chest_score": check.chest_score,
        "residue_burden": residue_burden(decomposition.residue, salient, mask, spacing).as_dict(),
    }


def detect_files(
    datalist: str | os.PathLike[str] | Sequence[Mapping[str, Any]],
    pipeline: RadiographPipeline,
    output_dir: str | os.PathLike[str],
    batch_size: int = 4,
    num_workers: int = 0,
    score_threshold: float | None = None,
    overlays: bool = True,
) -> dict[str, Any]:
    """Detect opacities; write ``output_dir/detections.json``, and ``<image_id>/opacities.png`` for each radiograph.

    Args:
        datalist: a file, a folder (searched with its subfolders), or dicts with "image" (path) and "image_id".
        pipeline: with a detector, and a decomposer where the detector has a channel residue.
        output_dir: made when missing.
        batch_size: radiographs that the models take at once.
        num_workers: processes that read files; 0 reads in this one.
        score_threshold: replaces the one that was chosen in training, "score_threshold" of the detector's settings.
        overlays: write the pictures.

    Returns:
        What detections.json holds: "images" (image_id, file, rows, cols, boxes in the original's pixels, scores,
        remarks), "failed" (image_id, file, reason), "model", "channels", "score_threshold", "notes", "disclaimer".

    Raises:
        InputError: no detector, no radiograph, a folder that cannot be written, maps that are not finite; or when no
            file could be used (detections.json then lists the reasons).
    """
    detector = pipeline.required("detector")
    threshold = detector.settings.get("score_threshold") if score_threshold is None else score_threshold
    run = FileRun(datalist, output_dir, DETECTIONS_FILE, (OVERLAY_FILE,), "looked at")
    for index, source, result in run.results(pipeline, batch_size, num_workers):
        assert result.opacities is not None
        found, geometry = result.opacities.above(threshold or 0.0), result.prepared.geometry
        values = {
            "rows": geometry.rows,
            "cols": geometry.cols,
            "boxes": found.boxes.astype(np.float64).round(2).tolist(),
            "scores": found.scores.astype(np.float64).round(4).tolist(),
            "remarks": list(result.chest_check.remarks),
        }
        run.add(index, values)
        if overlays:
            _draw(run.folder(index) / OVERLAY_FILE, source, (geometry.rows, geometry.cols), found)
    model_file = pipeline.model_files.get("detector")
    return run.write(model_file, channels=list(detector.channels), score_threshold=threshold, notes=DETECTION_NOTES)


def _draw(path: Path, source: RadiographSource, shape: tuple[int, int], found: OpacityBoxes) -> None:
    caption = "No box above the score threshold"
    if len(found.boxes):
        caption = f"{len(found.boxes)} opacity box{'es' if len(found.boxes) > 1 else ''}"
    no_heat = np.zeros(shape, dtype=np.float32)
    with writing(path.parent), atomic_write(path) as partial:
        draw_overlay(source.display, no_heat, found.boxes, found.scores, caption).save(partial)


def classify_files(
    datalist: str | os.PathLike[str] | Sequence[Mapping[str, Any]],
    pipeline: RadiographPipeline,
    output_dir: str | os.PathLike[str],
    batch_size: int = 4,
    num_workers: int = 0,
) -> dict[str, Any]:
    """Classify radiographs and write ``output_dir/scores.json``.

    Args:
        datalist: a file, a folder (searched with its subfolders), or dicts with "image" (path) and "image_id".
        pipeline: with a classifier, and a decomposer where the classifier has a channel residue. The classifier's
            settings name its "task", and the "threshold" where one was chosen on validation images.
        output_dir: made when missing.
        batch_size: radiographs that the models take at once.
        num_workers: processes that read files; 0 reads in this one.

    Returns:
        What scores.json holds: "images" (image_id, file, "<task>_probability", "called": the class by the threshold or
        None, "remarks": why this may be no frontal chest radiograph), "failed", "model", "task", "threshold".

    Raises:
        InputError: no classifier, no radiograph, a folder that cannot be written, scores that are not finite; or when
            no file could be classified (scores.json then lists the reasons).
    """
    settings = pipeline.required("classifier").settings
    task, threshold = str(settings["task"]), settings.get("threshold")
    run = FileRun(datalist, output_dir, SCORES_FILE, done="classified")
    for index, _, result in run.results(pipeline, batch_size, num_workers):
        probability = result.class_probability
        assert probability is not None
        called = None if threshold is None else TASKS[task][0 if probability >= threshold else 1]
        remarks = list(result.chest_check.remarks)
        run.add(index, {f"{task}_probability": round(probability, 6), "called": called, "remarks": remarks})
    return run.write(pipeline.model_files.get("classifier"), task=task, threshold=threshold)


def segment_files(
    datalist: str | os.PathLike[str] | Sequence[Mapping[str, Any]],
    pipeline: RadiographPipeline,
    output_dir: str | os.PathLike[str],
    batch_size: int = 4,
    num_workers: int = 0,
) -> dict[str, Any]:
    """Segment radiographs; write ``output_dir/<image_id>/lung_mask.png`` for each and ``output_dir/lungs.json``.

    Args:
        datalist: a file, a folder (searched with its subfolders), or dicts with "image" (path) and "image_id".
        pipeline: with a lung segmentor.
        output_dir: made when missing.
        batch_size: radiographs that the segmentor takes at once.
        num_workers: processes that read files; 0 reads in this one.

    Returns:
        What lungs.json holds: "images" (:func:`lungs_in_original` and the chest check, with the remarks of it and of
        the file's header), "failed" ({"image_id", "file", "reason"}), "model", "notes".

    Raises:
        InputError: no segmentor, no radiograph, a folder that cannot be written, a full disk; or when no file could be
            segmented (lungs.json then lists the reasons).
    """
    run = FileRun(datalist, output_dir, LUNGS_FILE, (MASK_FILE,), "segmented")
    for index, _, result in run.results(pipeline, batch_size, num_workers):
        if result.lung_probability is None:
            raise InputError("expected a lung segmentor in the pipeline, got none")
        geometry = result.prepared.geometry
        mask, lungs = lungs_in_original(result.lung_probability, geometry)
        _write_mask(run.folder(index) / MASK_FILE, mask)
        run.add(index, {"rows": geometry.rows, "cols": geometry.cols, **lungs, **result.chest_check.as_dict()})
        for remark in result.chest_check.remarks:
            logger.warning("%s: %s", run.name(index), remark)
    settings = {"size": pipeline.sides[0], "threshold": THRESHOLD}
    return run.write(pipeline.model_files.get("lungs"), settings=settings, notes=LUNG_NOTES)


def _write_mask(path: Path, mask: NDArray[np.bool_]) -> None:
    remark = PngInfo()
    remark.add_text("Description", f"Lung mask. {DISCLAIMER}.")
    with writing(path.parent), atomic_write(path) as partial:
        Image.fromarray(mask.astype(np.uint8) * 255).save(partial, pnginfo=remark)
