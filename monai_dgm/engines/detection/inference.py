"""Detects opacities in the radiographs of a file, a folder or a datalist; bad files stop nobody."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from monai_dgm.engines.decomposition.decompose import PreparedRadiograph, stack_images
from monai_dgm.engines.file_run import FileRun, prepare_alone, question_radiograph
from monai_dgm.engines.files import writing
from monai_dgm.engines.overlay import display_levels, draw_overlay
from monai_dgm.engines.residues.decomposed_network import DecomposedNetwork
from monai_dgm.engines.residues.frozen_decomposer import needs_decomposer
from monai_dgm.engines.weights import load_weights, read_model_settings
from monai_dgm.errors import InputError
from monai_dgm.networks.detector import OpacityDetector
from monai_dgm.readers.radiograph import Radiograph
from monai_dgm.transforms.geometry import RadiographGeometry
from monai_dgm.utils.atomic import atomic_write

__all__ = [
    "DETECTIONS_FILE",
    "OVERLAY_FILE",
    "DecomposedDetector",
    "Found",
    "detect_files",
    "detect_opacities",
    "load_detector",
]

DETECTIONS_FILE = "detections.json"
OVERLAY_FILE = "opacities.png"
NOTES = {
    "boxes": "[xmin, ymin, xmax, ymax], x to the right, y down, pixels of the original, pixel i spans [i, i + 1]",
    "scores": "in [0, 1], higher is more certain; no probabilities of disease",
    "score_threshold": "boxes below it are not listed; chosen on validation images",
    "remarks": "what in the file's header speaks against a frontal chest radiograph",
}


Found = tuple[NDArray[np.float32], NDArray[np.float32]]


class DecomposedDetector(DecomposedNetwork):
    """From radiographs to boxes, by an :class:`OpacityDetector`; ``forward`` gives boxes and scores of every anchor."""

    network: OpacityDetector

    def detect(self, image: Tensor, geometries: Sequence[RadiographGeometry]) -> list[tuple[Tensor, Tensor]]:
        """Boxes (N, 4) in model coordinates and scores (N,) of each image, best first; arguments as in ``forward``.

        Raises:
            FloatingPointError: NaN or infinity in the detector's maps.
        """
        return self.network.detect(self.stacked(image, geometries))


@dataclass(frozen=True)
class _Input:
    """A radiograph as the detector and the picture need it."""

    prepared: PreparedRadiograph
    display: NDArray[np.uint8] | None
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class _Prepare:
    size: int
    overlays: bool

    def __call__(self, item: Mapping[str, Any], radiograph: Radiograph) -> _Input:
        prepared = prepare_alone(radiograph, self.size)
        low, high = prepared.geometry.low, prepared.geometry.high
        display = display_levels(radiograph.pixels, low, high) if self.overlays else None
        return _Input(prepared, display, question_radiograph(radiograph))


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
    threshold = settings.get("score_threshold") if score_threshold is None else score_threshold
    run = FileRun(datalist, output_dir, DETECTIONS_FILE, (OVERLAY_FILE,), "looked at")
    for batch in run.batches(_Prepare(int(settings["image_size"]), overlays), batch_size, num_workers):
        inputs = [loaded.value for loaded in batch]
        found = detect_opacities(network, [value.prepared for value in inputs], device, threshold)
        for loaded, (boxes, scores) in zip(batch, found, strict=True):
            run.add(loaded.place, _described(loaded.value, boxes, scores))
            _draw(run.folder(loaded.place) / OVERLAY_FILE, loaded.value, boxes, scores)
    return run.write(model_file, channels=list(network.channels), score_threshold=threshold, notes=NOTES)


def load_detector(
    path: str | os.PathLike[str],
    decomposer: nn.Module | None = None,
    decomposer_size: int = 224,
    device: torch.device | str = "cpu",
) -> DecomposedDetector:
    """A detector from its weights, in evaluation mode, sized as the JSON file beside them says.

    Args:
        path: ``.pt`` or ``.safetensors``.
        decomposer, decomposer_size: as in :class:`DecomposedNetwork`.
        device: where to put it.

    Raises:
        InputError: no such file, weights of another network, or a residue among its channels and no decomposer.
    """
    settings = read_model_settings(path)
    channels = settings.get("channels", ["image", "residue"])
    network = OpacityDetector(
        in_channels=len(channels),
        backbone=settings.get("backbone", "resnet50"),
        image_size=int(settings["image_size"]),
        width=settings.get("width", 1.0),
        fpn_channels=settings.get("fpn_channels", 256),
    )
    load_weights(network, path)
    seen = decomposer if needs_decomposer(channels) else None
    return DecomposedDetector(network, channels, seen, decomposer_size).to(device).eval()


def detect_opacities(
    network: DecomposedDetector,
    radiographs: Sequence[PreparedRadiograph],
    device: torch.device | str = "cpu",
    threshold: float | None = None,
) -> list[Found]:
    """Opacity boxes in the pixels of the originals.

    Args:
        network: on ``device``.
        radiographs: prepared at the detector's side, all of one side.
        device: where the network is.
        threshold: boxes of lower scores are left out; None keeps all.

    Returns:
        boxes float32 (N, 4) within the original and scores float32 (N,) in [0, 1] of each radiograph, best first.

    Raises:
        InputError: NaN or infinity in the detector's maps.
    """
    if not radiographs:
        return []
    image, geometries = stack_images(radiographs, device), [prepared.geometry for prepared in radiographs]
    try:
        found = [(boxes.cpu().numpy(), scores.cpu().numpy()) for boxes, scores in network.detect(image, geometries)]
    except FloatingPointError as error:
        raise InputError(f"{error}: are the weights sound?") from error
    return [_in_original(*one, geometry, threshold or 0.0) for one, geometry in zip(found, geometries, strict=True)]


def _in_original(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], geometry: RadiographGeometry, threshold: float
) -> Found:
    edges = np.array([geometry.cols, geometry.rows] * 2, dtype=np.float32)
    original = np.clip(geometry.boxes_to_original(boxes), np.float32(0), edges)
    inside = (original[:, 2:] > original[:, :2]).all(axis=1)  # a box may lie in the border that "pad" added
    kept = inside & (scores >= threshold)
    return original[kept], scores[kept]


def _described(value: _Input, boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> dict[str, Any]:
    geometry = value.prepared.geometry
    return {
        "rows": geometry.rows,
        "cols": geometry.cols,
        "boxes": boxes.astype(np.float64).round(2).tolist(),
        "scores": scores.astype(np.float64).round(4).tolist(),
        "remarks": list(value.remarks),
    }


def _draw(path: Path, value: _Input, boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> None:
    if value.display is None:
        return
    geometry = value.prepared.geometry
    words = "No box above the score threshold"
    if len(boxes):
        words = f"{len(boxes)} opacity box{'es' if len(boxes) > 1 else ''}"
    nothing = np.zeros((geometry.rows, geometry.cols), dtype=np.float32)
    with writing(path.parent), atomic_write(path) as partial:
        draw_overlay(value.display, nothing, boxes, scores, words).save(partial)
