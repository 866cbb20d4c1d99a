"""Detects opacities in the radiographs of a file, a folder or a datalist; bad files stop nobody."""

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
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from monai_dgm import __version__
from monai_dgm.data.decomposed import check_channels, resample_planes
from monai_dgm.data.read import read_radiograph
from monai_dgm.engines.decomposition import PreparedRadiograph, prepare
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
from monai_dgm.engines.overlay import DISCLAIMER, display_levels, draw_overlay
from monai_dgm.engines.residues import predict_residue
from monai_dgm.errors import InputError
from monai_dgm.networks.detector import OpacityDetector
from monai_dgm.transforms.geometry import RadiographGeometry
from monai_dgm.utils.atomic import atomic_write

__all__ = ["DETECTIONS_FILE", "OVERLAY_FILE", "DecomposedDetector", "detect_files"]

logger = logging.getLogger(__name__)

DETECTIONS_FILE = "detections.json"
OVERLAY_FILE = "opacities.png"
NOTES = {
    "boxes": "[xmin, ymin, xmax, ymax], x to the right, y down, pixels of the original, pixel i spans [i, i + 1]",
    "scores": "in [0, 1], higher is more certain; no probabilities of disease",
    "score_threshold": "boxes below it are not listed; chosen on validation images",
    "remarks": "what in the file's header speaks against a frontal chest radiograph",
}


class DecomposedDetector(nn.Module):
    """From radiographs to boxes: the residue a detector looks at is computed on the way, as in its training.

    Args:
        detector: of C channels.
        channels: of "image" and "residue", in its order.
        decomposer: frozen; None where there is no residue among the channels.
        decomposer_size: side of its input.

    Raises:
        InputError: a residue among the channels, and no decomposer.
    """

    def __init__(
        self,
        detector: OpacityDetector,
        channels: Sequence[str] = ("image",),
        decomposer: nn.Module | None = None,
        decomposer_size: int = 224,
    ) -> None:
        super().__init__()
        self.channels = check_channels(channels)
        if "residue" in self.channels and decomposer is None:
            raise InputError("channels: expected a decomposer for the channel residue, got none")
        self.detector = detector
        self.decomposer = decomposer
        self.decomposer_size = decomposer_size

    def forward(self, image: Tensor, geometries: Sequence[RadiographGeometry]) -> Tensor:
        """Boxes and scores of every anchor, (B, 5, A) as :meth:`OpacityDetector.forward`.

        Args:
            image: z, (B, 1, S, S) in [-1, 1].
            geometries: of the radiographs, for the border that "pad" added.
        """
        return self.detector(self._stacked(image, geometries))

    def detect(self, image: Tensor, geometries: Sequence[RadiographGeometry]) -> list[tuple[Tensor, Tensor]]:
        """Boxes (N, 4) in model coordinates and scores (N,) of each image, best first; arguments as in ``forward``.

        Raises:
            FloatingPointError: NaN or infinity in the detector's maps.
        """
        return self.detector.detect(self._stacked(image, geometries))

    def _stacked(self, image: Tensor, geometries: Sequence[RadiographGeometry]) -> Tensor:
        planes = {"image": image}
        if self.decomposer is not None and "residue" in self.channels:
            residue = predict_residue(self.decomposer, image, self.decomposer_size, list(geometries))
            # in float16 meanwhile, as the cache that the detector was trained from has it
            planes["residue"] = resample_planes(residue.half().float(), image.shape[-1])
        return torch.cat([planes[name] for name in self.channels], dim=1)


@dataclass(frozen=True)
class _Loaded:
    """One entry of the datalist, read and prepared, or the reason why not."""

    place: int
    prepared: PreparedRadiograph | None = None
    display: NDArray[np.uint8] | None = None
    remarks: tuple[str, ...] = ()
    reason: str = ""


class _Radiographs(Dataset):
    """Reads and prepares; input that cannot be used is returned as a reason, so that loading goes on."""

    def __init__(self, items: Sequence[Mapping[str, Any]], size: int, overlays: bool) -> None:
        self.items = items
        self.size = size
        self.overlays = overlays

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: int) -> _Loaded:
        item = self.items[place]
        try:
            radiograph = read_radiograph(str(item["image"]))
            spacing, valid = radiograph.pixel_spacing, radiograph.valid
            prepared = prepare(radiograph.pixels, self.size, pixel_spacing=spacing, valid=valid)
            geometry = prepared.geometry
            display = display_levels(radiograph.pixels, geometry.low, geometry.high) if self.overlays else None
            return _Loaded(place, prepared, display, question_radiograph(radiograph))
        except (InputError, OSError) as error:
            return _Loaded(place, reason=without_folders(str(error), item))


def detect_files(
    datalist: str | os.PathLike[str] | Sequence[Mapping[str, Any]],
    network: DecomposedDetector,
    output_dir: str | os.PathLike[str],
    settings: Mapping[str, Any],
    device: torch.device | str = "cpu",
    batch_size: int = 4,
    num_workers: int = 0,
    model_file: str | os.PathLike[str] | None = None,
    score_threshold: float | None = None,
    overlays: bool = True,
) -> dict[str, Any]:
    """Detect opacities and write ``output_dir/detections.json``, and ``<image_id>/opacities.png`` for each radiograph.

    Args:
        datalist: a file, a folder (searched with its subfolders), or dicts with "image" (path) and "image_id".
        network: in evaluation mode, on ``device``.
        output_dir: made when missing.
        settings: of the detector: "image_size", "channels", and "score_threshold" where one was chosen on validation.
        device: where the network is.
        batch_size: radiographs that it takes at once.
        num_workers: processes that read files; 0 reads in this one.
        model_file: the detector's weights; their name and SHA-256 go into the file.
        score_threshold: in the place of that in ``settings``.
        overlays: write the pictures.

    Returns:
        What detections.json holds: "images" (image_id, file, rows, cols, boxes in the original's pixels, scores,
        remarks), "failed" (image_id, file, reason), "model", "channels", "score_threshold", "notes", "disclaimer".

    Raises:
        InputError: nothing to look at, a folder that cannot be written, maps that are not finite; or when no file could
            be used (detections.json then lists the reasons).
    """
    target = Path(output_dir)
    threshold = settings.get("score_threshold") if score_threshold is None else score_threshold
    items = input_items(datalist, target, (OVERLAY_FILE,), DETECTIONS_FILE)
    with writing(target):
        target.mkdir(parents=True, exist_ok=True)
    names = relative_names([str(item["image"]) for item in items])
    results: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    loader: DataLoader = DataLoader(
        _Radiographs(items, int(settings["image_size"]), overlays), batch_size, num_workers=num_workers, collate_fn=list
    )
    with tqdm(total=len(items), desc="detecting", unit="image", disable=None) as progress:
        for batch in loader:
            for loaded, found in _detections(network, batch, device, threshold):
                file = {"image_id": str(items[loaded.place]["image_id"]), "file": names[loaded.place]}
                if found is None:
                    failed.append({**file, "reason": loaded.reason})
                    logger.warning("%s: not used: %s", file["file"], loaded.reason)
                else:
                    results.append({**file, **_described(loaded, *found)})
                    _draw(target / file["image_id"] / OVERLAY_FILE, loaded, *found)
            progress.update(len(batch))
    report = {
        "disclaimer": DISCLAIMER,
        "version": f"monai-dgm {__version__}",
        "model": None if model_file is None else describe_model(model_file),
        "channels": list(network.channels),
        "score_threshold": threshold,
        "notes": NOTES,
        "images": results,
        "failed": failed,
    }
    write_results(target / DETECTIONS_FILE, report)
    if not results:
        raise InputError(all_failed(failed, "looked at"))
    print(f"detections: {target / DETECTIONS_FILE}", flush=True)
    return report


Found = tuple[NDArray[np.float32], NDArray[np.float32]]


def _detections(
    network: DecomposedDetector, batch: Sequence[_Loaded], device: torch.device | str, threshold: float | None
) -> Iterator[tuple[_Loaded, Found | None]]:
    """Each entry with its boxes in the original's pixels and their scores; None where it could not be read."""
    usable = [loaded.prepared for loaded in batch if loaded.prepared is not None]
    found: Iterator[tuple[Tensor, Tensor]] = iter(())
    if usable:
        image = torch.stack([torch.from_numpy(prepared.image) for prepared in usable]).to(device)
        try:
            found = iter(network.detect(image, [prepared.geometry for prepared in usable]))
        except FloatingPointError as error:
            raise InputError(f"{error}: are the weights sound?") from error
    for loaded in batch:
        if loaded.prepared is None:
            yield loaded, None
            continue
        boxes, scores = (values.cpu().numpy() for values in next(found))
        kept = scores >= (0.0 if threshold is None else threshold)
        yield loaded, _in_original(boxes[kept], scores[kept], loaded.prepared.geometry)


def _in_original(boxes: NDArray[np.float32], scores: NDArray[np.float32], geometry: RadiographGeometry) -> Found:
    edges = np.array([geometry.cols, geometry.rows] * 2, dtype=np.float32)
    original = np.clip(geometry.boxes_to_original(boxes), np.float32(0), edges)
    kept = (original[:, 2:] > original[:, :2]).all(axis=1)  # a box may lie in the border that "pad" added
    return original[kept], scores[kept]


def _described(loaded: _Loaded, boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> dict[str, Any]:
    assert loaded.prepared is not None
    geometry = loaded.prepared.geometry
    return {
        "rows": geometry.rows,
        "cols": geometry.cols,
        "boxes": boxes.astype(np.float64).round(2).tolist(),
        "scores": scores.astype(np.float64).round(4).tolist(),
        "remarks": list(loaded.remarks),
    }


def _draw(path: Path, loaded: _Loaded, boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> None:
    if loaded.display is None or loaded.prepared is None:
        return
    geometry = loaded.prepared.geometry
    words = "No box above the score threshold"
    if len(boxes):
        words = f"{len(boxes)} opacity box{'es' if len(boxes) > 1 else ''}"
    nothing = np.zeros((geometry.rows, geometry.cols), dtype=np.float32)
    with writing(path.parent), atomic_write(path) as partial:
        draw_overlay(loaded.display, nothing, boxes, scores, words).save(partial)
