"""Decomposes the radiographs of a file, a folder or a datalist, and writes what comes out; bad files stop nobody."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from monai_dgm import __version__
from monai_dgm.data.read import read_mask, read_radiograph
from monai_dgm.dicom.radiograph import Radiograph
from monai_dgm.engines.decomposition import Decompose, PreparedRadiograph, prepare
from monai_dgm.engines.files import (
    all_failed,
    describe_model,
    input_items,
    relative_names,
    without_folders,
    write_results,
    writing,
)
from monai_dgm.engines.outputs import OUTPUT_FILES, Source, write_decomposition
from monai_dgm.engines.overlay import DISCLAIMER, display_levels
from monai_dgm.engines.placement import nifti_affine
from monai_dgm.errors import InputError
from monai_dgm.transforms.saliency import ThresholdRule

__all__ = ["SCORES_FILE", "decompose_files", "question_radiograph"]

logger = logging.getLogger(__name__)

SCORES_FILE = "scores.json"
PROJECTION_MODALITIES = ("CR", "DX", "RG", "RF", "DR", "OT")
CHEST_WORDS = ("CHEST", "THORAX", "TORAX", "LUNG", "RIB")
NOTES = {
    "boxes": "[xmin, ymin, xmax, ymax], x to the right, y down, pixels of the original, pixel i spans [i, i + 1]",
    "mean_abs_residue": "mean |a| over the radiograph; |a| and saliency_threshold are in units of the [-1, 1] scale",
    "intensity_range": "values of the original that became -1 and 1",
    "normal_png_range": "values of the original that black and white of normal.png stand for",
    "lung_box_source": "lung_mask: box of the given lung mask; whole_image: no mask was given, nothing was left out",
}


@dataclass(frozen=True)
class _Loaded:
    """One entry of the datalist, read and prepared, or the reason why not."""

    place: int
    prepared: PreparedRadiograph | None = None
    source: Source | None = None
    reason: str = ""


class _Radiographs(Dataset):
    """Reads and prepares; input that cannot be used is returned as a reason, so that loading goes on."""

    def __init__(
        self, items: Sequence[Mapping[str, Any]], size: int, fit: str, percentiles: tuple[float, float] | None
    ) -> None:
        self.items = items
        self.settings = (size, fit, percentiles)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: int) -> _Loaded:
        item = self.items[place]
        path = str(item["image"])
        try:
            radiograph = read_radiograph(path)
            mask = None if item.get("lung_mask") is None else read_mask(item["lung_mask"])
            prepared = prepare(radiograph.pixels, *self.settings, radiograph.pixel_spacing, radiograph.valid, mask)
            return _Loaded(place, prepared, _source_of(item, radiograph, prepared))
        except (InputError, OSError) as error:
            return _Loaded(place, reason=without_folders(str(error), item))


def decompose_files(
    datalist: str | os.PathLike[str] | Sequence[Mapping[str, Any]],
    network: nn.Module,
    output_dir: str | os.PathLike[str],
    size: int,
    device: torch.device | str = "cpu",
    batch_size: int = 4,
    fit: str = "pad",
    percentiles: Sequence[float] | None = (0.5, 99.5),
    threshold: ThresholdRule | float = "otsu",
    num_workers: int = 0,
    model_file: str | os.PathLike[str] | None = None,
    panels: bool = True,
) -> dict[str, Any]:
    """Decompose radiographs and write ``output_dir/<image_id>/`` for each and ``output_dir/scores.json`` at the end.

    What is written for each image: :mod:`monai_dgm.engines.outputs`. A file that cannot be used is listed under
    "failed" with its reason, and the others go on. Outputs of an earlier run are replaced image by image, each when
    its new files are complete.

    Args:
        datalist: a file, a folder (searched with its subfolders), or dicts with "image" (path), "image_id" (unique)
            and, where known, "lung_mask" (path) and "opacity_boxes" (true boxes (N, 4), for the panel).
        network, size, fit, percentiles, threshold, device: as in :class:`monai_dgm.engines.decomposition.Decompose`.
        output_dir: made when missing.
        batch_size: radiographs that the network takes at once.
        num_workers: processes that read and prepare files; 0 reads in this one.
        model_file: file the network's weights came from; its name and SHA-256 go into scores.json.
        panels: write panel.png, too (the slowest of the files for small images).

    Returns:
        What scores.json holds: "images", "failed" ({"image_id", "file", "reason"}), "model", "settings", "version",
        "disclaimer", "notes". "file" is relative to the folder that holds all files.

    Raises:
        InputError: nothing to decompose, settings that there are not, equal or unusable image_ids, a folder that cannot
            be written, a full disk; or when no file could be decomposed (scores.json then lists the reasons).
    """
    decompose = Decompose(network, size, fit, percentiles, threshold, device)
    target = Path(output_dir)
    items = input_items(datalist, target, OUTPUT_FILES, SCORES_FILE)
    with writing(target):
        target.mkdir(parents=True, exist_ok=True)
    model = None if model_file is None else describe_model(model_file)
    names = relative_names([str(item["image"]) for item in items])
    results: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    dataset = _Radiographs(items, size, fit, decompose.percentiles)
    loader: DataLoader = DataLoader(dataset, batch_size, num_workers=num_workers, collate_fn=list)
    with tqdm(total=len(items), desc="decomposing", unit="image", disable=None) as progress:
        for batch in loader:
            for loaded, outcome in _decompose_batch(decompose, batch, target, panels):
                file = {"image_id": str(items[loaded.place]["image_id"]), "file": names[loaded.place]}
                if isinstance(outcome, str):
                    failed.append({**file, "reason": outcome})
                    logger.warning("%s: not decomposed: %s", file["file"], outcome)
                else:
                    results.append({**file, **outcome})
            progress.update(len(batch))
    report = {
        "disclaimer": f"{DISCLAIMER}. Normal images are synthetic.",
        "version": f"monai-dgm {__version__}",
        "model": model,
        "settings": {"size": size, "fit": fit, "percentiles": _listed(decompose.percentiles), "threshold": threshold},
        "notes": NOTES,
        "images": results,
        "failed": failed,
    }
    write_results(target / SCORES_FILE, report)
    if not results:
        raise InputError(all_failed(failed, "decomposed"))
    logger.info("%s: %d decomposed, %d not", target, len(results), len(failed))
    return report


def _decompose_batch(
    decompose: Decompose, batch: Sequence[_Loaded], target: Path, panels: bool
) -> Iterator[tuple[_Loaded, dict[str, Any] | str]]:
    """Each entry with its scores, or with the reason why it has none."""
    usable = [loaded.prepared for loaded in batch if loaded.prepared is not None]
    predictions = iter(decompose.predict(usable)) if usable else iter(())
    for loaded in batch:
        if loaded.prepared is None or loaded.source is None:
            yield loaded, loaded.reason
            continue
        try:
            decomposition = decompose.assemble(loaded.prepared, next(predictions))
        except InputError as error:
            yield loaded, str(error)
            continue
        folder = target / loaded.source.image_id
        with writing(folder):
            outcome = write_decomposition(folder, decomposition, loaded.source, panels)
        yield loaded, outcome


def question_radiograph(radiograph: Radiograph) -> tuple[str, ...]:
    """What in a file's header speaks against a frontal chest radiograph; a header that says nothing is believed."""
    # code strings of at most 16 characters by the standard (PS3.5, 6.2); a file may hold anything
    modality, part, view = (
        " ".join((value or "").upper().split())[:16]
        for value in (radiograph.modality, radiograph.body_part, radiograph.view)
    )
    remarks = []
    if modality and modality not in PROJECTION_MODALITIES:
        remarks.append(f"modality {modality}, expected a projection radiograph")
    if part and not any(word in part for word in CHEST_WORDS):
        remarks.append(f"body part {part}, expected a chest")
    if view and not any(word in view for word in ("PA", "AP")):
        remarks.append(f"view {view}, expected PA or AP")
    return tuple(remarks)


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


def _listed(values: Sequence[float] | None) -> list[float] | None:
    return None if values is None else list(values)
