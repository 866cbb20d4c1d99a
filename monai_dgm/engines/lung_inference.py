"""Segments the lungs in the radiographs of a file, a folder or a datalist; bad files stop nobody."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from monai_dgm import __version__
from monai_dgm.data.read import read_radiograph
from monai_dgm.engines.chest_check import ChestReference, chest_plausibility
from monai_dgm.engines.decomposition import PreparedRadiograph, content, prepare
from monai_dgm.engines.files import (
    all_failed,
    describe_model,
    input_items,
    relative_names,
    without_folders,
    write_results,
    writing,
)
from monai_dgm.engines.inference import question_radiograph
from monai_dgm.engines.lungs import LungSegmentor
from monai_dgm.engines.overlay import DISCLAIMER
from monai_dgm.errors import InputError
from monai_dgm.transforms.geometry import RadiographGeometry
from monai_dgm.transforms.lungs import THRESHOLD, clean_lung_mask, lung_box, split_lungs
from monai_dgm.utils.atomic import atomic_write

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


@dataclass(frozen=True)
class _Loaded:
    place: int
    prepared: PreparedRadiograph | None
    remarks: tuple[str, ...] = ()
    reason: str = ""


class _Radiographs(Dataset):
    """Reads and prepares; input that cannot be used is returned as a reason, so that loading goes on."""

    def __init__(self, items: Sequence[Mapping[str, Any]], size: int) -> None:
        self.items = items
        self.size = size

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: int) -> _Loaded:
        item = self.items[place]
        try:
            radiograph = read_radiograph(str(item["image"]))
            spacing, valid = radiograph.pixel_spacing, radiograph.valid
            prepared = prepare(radiograph.pixels, self.size, pixel_spacing=spacing, valid=valid)
            return _Loaded(place, prepared, question_radiograph(radiograph))
        except (InputError, OSError) as error:
            return _Loaded(place, None, reason=without_folders(str(error), item))


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
    target = Path(output_dir)
    items = input_items(datalist, target, (MASK_FILE,), LUNGS_FILE)
    with writing(target):
        target.mkdir(parents=True, exist_ok=True)
    names = relative_names([str(item["image"]) for item in items])
    results: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    for loaded, probability in _outcomes(items, segmentor, device, batch_size, num_workers):
        file = {"image_id": str(items[loaded.place]["image_id"]), "file": names[loaded.place]}
        if probability is None or loaded.prepared is None:
            failed.append({**file, "reason": loaded.reason})
            logger.warning("%s: not segmented: %s", file["file"], loaded.reason)
            continue
        geometry = loaded.prepared.geometry
        mask, lungs = lungs_in_original(probability, geometry)
        _write_mask(target / file["image_id"] / MASK_FILE, mask)
        check = check_chest(probability, geometry, segmentor.reference, loaded.remarks)
        results.append({**file, "rows": geometry.rows, "cols": geometry.cols, **lungs, **check})
        for remark in check["remarks"]:
            logger.warning("%s: %s", file["file"], remark)
    report = {
        "disclaimer": DISCLAIMER,
        "version": f"monai-dgm {__version__}",
        "model": None if model_file is None else describe_model(model_file),
        "settings": {"size": segmentor.size, "threshold": THRESHOLD},
        "notes": NOTES,
        "images": results,
        "failed": failed,
    }
    write_results(target / LUNGS_FILE, report)
    if not results:
        raise InputError(all_failed(failed, "segmented"))
    print(f"lungs: {target / LUNGS_FILE}", flush=True)
    return report


def _outcomes(
    items: Sequence[Mapping[str, Any]],
    segmentor: LungSegmentor,
    device: torch.device | str,
    batch_size: int,
    num_workers: int,
) -> Iterator[tuple[_Loaded, NDArray[np.float32] | None]]:
    """Each entry with its probability of lung (S, S), None where it cannot be used."""
    dataset = _Radiographs(items, segmentor.size)
    loader: DataLoader = DataLoader(dataset, batch_size, num_workers=num_workers, collate_fn=list)
    with tqdm(total=len(items), desc="segmenting", unit="image", disable=None) as progress:
        for batch in loader:
            images = [torch.from_numpy(loaded.prepared.image) for loaded in batch if loaded.prepared is not None]
            planes = iter(segmentor.probability(torch.stack(images).to(device)) if images else ())
            for loaded in batch:
                yield loaded, None if loaded.prepared is None else next(planes)
            progress.update(len(batch))


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
    mask = clean_lung_mask(inside)
    right, left = split_lungs(mask)
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
) -> dict[str, Any]:
    """The chest check of one radiograph as JSON can hold it.

    Args:
        probability: of lung, (S, S) in model coordinates.
        geometry: of the radiograph.
        reference: of the segmentor; None: not checked.
        remarks: of the file's header.

    Returns:
        "looks_like_chest" and "chest_score" (None where not checked), "remarks" with the reason.
    """
    if reference is None:
        return {"looks_like_chest": None, "chest_score": None, "remarks": list(remarks)}
    plausible, reason, score = chest_plausibility(probability[content(geometry)], reference)
    reasons = [] if plausible else [reason]
    return {"looks_like_chest": plausible, "chest_score": round(score, 4), "remarks": [*reasons, *remarks]}


def _write_mask(path: Path, mask: NDArray[np.bool_]) -> None:
    remark = PngInfo()
    remark.add_text("Description", f"Lung mask. {DISCLAIMER}.")
    with writing(path.parent), atomic_write(path) as partial:
        Image.fromarray(mask.astype(np.uint8) * 255).save(partial, pnginfo=remark)
