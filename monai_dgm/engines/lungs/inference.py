"""Segments the lungs in the radiographs of a file, a folder or a datalist; bad files stop nobody."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from monai_dgm.engines.decomposition.decompose import content, stack_images
from monai_dgm.engines.file_run import FileRun, PrepareAlone
from monai_dgm.engines.files import writing
from monai_dgm.engines.lungs.chest_check import ChestReference, chest_plausibility
from monai_dgm.engines.lungs.segmentor import LungSegmentor
from monai_dgm.engines.overlay import DISCLAIMER
from monai_dgm.transforms.geometry import RadiographGeometry
from monai_dgm.transforms.lungs import THRESHOLD, clean_lung_mask, lung_box, split_lungs
from monai_dgm.utils.atomic import atomic_write
from monai_dgm.utils.orientation import to_stored, to_upright

__all__ = ["LUNGS_FILE", "MASK_FILE", "check_chest", "lungs_in_original", "segment_files"]

logger = logging.getLogger(__name__)

LUNGS_FILE = "lungs.json"
MASK_FILE = "lung_mask.png"
NOTES = {
    "boxes": "[xmin, ymin, xmax, ymax], x to the right, y down, pixels of the original, pixel i spans [i, i + 1]",
    "lung_mask.png": "0 outside, 255 inside; the original's pixels",
    "right, left": "the patient's; the right lung is on the image's left",
    "chest_score": "distance from the training chests in units of the threshold; above 1 it is questioned",
}


def segment_files(
    datalist: str | os.PathLike[str] | Sequence[Mapping[str, Any]],
    segmentor: LungSegmentor,
    output_dir: str | os.PathLike[str],
    device: torch.device | str = "cpu",
    batch_size: int = 4,
    num_workers: int = 0,
    model_file: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Segment radiographs; write ``output_dir/<image_id>/lung_mask.png`` for each and ``output_dir/lungs.json``.

    Args:
        datalist: a file, a folder (searched with its subfolders), or dicts with "image" (path) and "image_id".
        segmentor: on ``device``.
        output_dir: made when missing.
        device: where the segmentor is.
        batch_size: radiographs that it takes at once.
        num_workers: processes that read files; 0 reads in this one.
        model_file: the segmentor's weights; their name and SHA-256 go into the file.

    Returns:
        What lungs.json holds: "images" (:func:`lungs_in_original` and the chest check, with the remarks of it and of
        the file's header), "failed" ({"image_id", "file", "reason"}), "model", "notes".

    Raises:
        InputError: nothing to segment, a folder that cannot be written, a full disk; or when no file could be segmented
            (lungs.json then lists the reasons).
    """
    run = FileRun(datalist, output_dir, LUNGS_FILE, (MASK_FILE,), "segmented")
    for batch in run.batches(PrepareAlone(segmentor.size), batch_size, num_workers):
        prepared_batch = [loaded.value[0] for loaded in batch]
        images = stack_images(prepared_batch, device) if batch else None
        seen = [] if images is None else zip(segmentor.probability(images), segmentor.turned(images), strict=True)
        for loaded, (probability, turned) in zip(batch, seen, strict=True):
            prepared, remarks = loaded.value
            mask, lungs = lungs_in_original(probability, prepared.geometry)
            _write_mask(run.folder(loaded.place) / MASK_FILE, mask)
            check = check_chest(probability, prepared.geometry, segmentor.reference, remarks, turned)
            size = {"rows": prepared.geometry.rows, "cols": prepared.geometry.cols}
            run.add(loaded.place, {**size, **lungs, **check})
            for remark in check["remarks"]:
                logger.warning("%s: %s", run.name(loaded.place), remark)
    return run.write(model_file, settings={"size": segmentor.size, "threshold": THRESHOLD}, notes=NOTES)


def lungs_in_original(
    probability: NDArray[np.float32], geometry: RadiographGeometry
) -> tuple[NDArray[np.bool_], dict[str, Any]]:
    """The lungs over the original's pixels.

    Args:
        probability: of lung, (S, S) in model coordinates.
        geometry: of the radiograph.

    Returns:
        the lung mask, bool (rows, cols), and as JSON can hold them "lung_box", "right_lung_box", "left_lung_box" (None
        where there is no such lung) and "lung_area_fraction" of the radiograph.
    """
    # the probability is resampled, not the mask: its edge is then smooth in the original's pixels
    inside = geometry.map_to_original(np.where(_near(clean_lung_mask(probability)), probability, 0.0))
    upright = clean_lung_mask(to_upright(inside, geometry.orientation))
    mask, right, left = (to_stored(one, geometry.orientation) for one in (upright, *split_lungs(upright)))
    boxes = {"lung_box": lung_box(mask), "right_lung_box": lung_box(right), "left_lung_box": lung_box(left)}
    values: dict[str, Any] = {k: None if box is None else [float(e) for e in box] for k, box in boxes.items()}
    return mask, {**values, "lung_area_fraction": round(float(mask.mean()), 6)}


def _near(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask and the pixels next to it, whose probability shapes the edge."""
    padded = np.pad(mask, 1)
    rows, cols = mask.shape
    return np.logical_or.reduce([padded[i : i + rows, j : j + cols] for i in range(3) for j in range(3)])


def check_chest(
    probability: NDArray[np.float32],
    geometry: RadiographGeometry,
    reference: ChestReference | None,
    remarks: Sequence[str] = (),
    turned: tuple[str, float] = ("", 0.0),
) -> dict[str, Any]:
    """The chest check of one radiograph as JSON can hold it.

    Args:
        probability: of lung, (S, S) in model coordinates.
        geometry: of the radiograph.
        reference: of the segmentor; None: not checked.
        remarks: of the file's header.
        turned: what :meth:`monai_dgm.engines.lungs.segmentor.LungSegmentor.turned` says of it.

    Returns:
        "looks_like_chest" and "chest_score" (None where not checked), "remarks" with the reason.
    """
    words, wrongness = turned
    reasons = [f"this does not look like a frontal chest: {words}"] if words else []
    if reference is None and not words:
        return {"looks_like_chest": None, "chest_score": None, "remarks": list(remarks)}
    score = wrongness
    if reference is not None:
        plausible, reason, distance = chest_plausibility(probability[content(geometry)], reference)
        reasons += [] if plausible else [reason]
        score = max(score, distance)
    return {"looks_like_chest": not reasons, "chest_score": round(score, 4), "remarks": [*reasons, *remarks]}


def _write_mask(path: Path, mask: NDArray[np.bool_]) -> None:
    remark = PngInfo()
    remark.add_text("Description", f"Lung mask. {DISCLAIMER}.")
    with writing(path.parent), atomic_write(path) as partial:
        Image.fromarray(mask.astype(np.uint8) * 255).save(partial, pnginfo=remark)
