"""Classifies the radiographs of a file, a folder or a datalist into one JSON file; bad files stop nobody."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.engines import PrepareBatch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from monai_dgm import __version__
from monai_dgm.data.decomposed import check_channels, resample_planes
from monai_dgm.data.read import read_radiograph
from monai_dgm.engines.classification_data import TASKS
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
from monai_dgm.engines.inference import SCORES_FILE, question_radiograph
from monai_dgm.engines.overlay import DISCLAIMER
from monai_dgm.engines.residues import predict_residue
from monai_dgm.errors import InputError
from monai_dgm.transforms.geometry import RadiographGeometry

__all__ = ["DecomposedClassifier", "PrepareRadiographs", "classify_files"]

logger = logging.getLogger(__name__)


class DecomposedClassifier(nn.Module):
    """From radiographs to logits: the residue a classifier looks at is computed on the way, as in its training.

    Args:
        classifier: from C channels to logits (B, 1).
        channels: of "image" and "residue", in its order.
        decomposer: frozen; None where there is no residue among the channels.
        decomposer_size: side of its input.

    Raises:
        InputError: a residue among the channels, and no decomposer.
    """

    def __init__(
        self,
        classifier: nn.Module,
        channels: Sequence[str] = ("image",),
        decomposer: nn.Module | None = None,
        decomposer_size: int = 224,
    ) -> None:
        super().__init__()
        self.channels = check_channels(channels)
        if "residue" in self.channels and decomposer is None:
            raise InputError("channels: expected a decomposer for the channel residue, got none")
        self.classifier = classifier
        self.decomposer = decomposer
        self.decomposer_size = decomposer_size

    def forward(self, image: Tensor, geometries: Sequence[RadiographGeometry]) -> Tensor:
        """Logits (B, 1) of z (B, 1, S, S) in [-1, 1], whose geometries tell which border "pad" added."""
        planes = {"image": image}
        if self.decomposer is not None and "residue" in self.channels:
            residue = predict_residue(self.decomposer, image, self.decomposer_size, list(geometries))
            # in float16 meanwhile, as the cache that the classifier was trained from has it
            planes["residue"] = resample_planes(residue.half().float(), image.shape[-1])
        return self.classifier(torch.cat([planes[name] for name in self.channels], dim=1))


class PrepareRadiographs(PrepareBatch):
    """Batches of :func:`monai_dgm.data.collate.collate_radiographs` for MONAI's evaluator of a DecomposedClassifier."""

    def __call__(
        self,
        batchdata: dict[str, Any],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, None, tuple[()], dict[str, Any]]:
        """Images, no labels, and the geometries for the network."""
        image = batchdata["image"].to(device, non_blocking=non_blocking)
        return image, None, (), {"geometries": batchdata["geometry"]}


class _Radiographs(Dataset):
    """(place, prepared, remarks) of each entry; what cannot be used is returned as a reason, and loading goes on."""

    def __init__(self, items: Sequence[Mapping[str, Any]], size: int) -> None:
        self.items = items
        self.size = size

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: int) -> tuple[int, PreparedRadiograph | str, list[str]]:
        item = self.items[place]
        try:
            radiograph = read_radiograph(str(item["image"]))
            remarks = list(question_radiograph(radiograph))
            spacing, valid = radiograph.pixel_spacing, radiograph.valid
            return place, prepare(radiograph.pixels, self.size, pixel_spacing=spacing, valid=valid), remarks
        except (InputError, OSError) as error:
            return place, without_folders(str(error), item), []


def classify_files(
    datalist: str | os.PathLike[str] | Sequence[Mapping[str, Any]],
    network: DecomposedClassifier,
    output_dir: str | os.PathLike[str],
    settings: Mapping[str, Any],
    device: torch.device | str = "cpu",
    batch_size: int = 4,
    num_workers: int = 0,
    model_file: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Classify radiographs and write ``output_dir/scores.json``.

    Args:
        datalist: a file, a folder (searched with its subfolders), or dicts with "image" (path) and "image_id".
        network: in evaluation mode, on ``device``.
        output_dir: made when missing.
        settings: of the classifier: "task", "image_size", and "threshold" where one was chosen on validation images.
        device: where the network is.
        batch_size: radiographs that it takes at once.
        num_workers: processes that read files; 0 reads in this one.
        model_file: the classifier's weights; their name and SHA-256 go into the file.

    Returns:
        What scores.json holds: "images" (image_id, file, "<task>_probability", "called": the class by the threshold or
        None, "remarks": why this may be no frontal chest radiograph), "failed", "model", "task", "threshold".

    Raises:
        InputError: nothing to classify, a folder that cannot be written, scores that are not finite; or when no file
            could be classified (scores.json then lists the reasons).
    """
    target, task, threshold = Path(output_dir), str(settings["task"]), settings.get("threshold")
    items = input_items(datalist, target, (), SCORES_FILE)
    with writing(target):
        target.mkdir(parents=True, exist_ok=True)
    names = relative_names([str(item["image"]) for item in items])
    results: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    for place, outcome in _outcomes(items, network, int(settings["image_size"]), device, batch_size, num_workers):
        file = {"image_id": str(items[place]["image_id"]), "file": names[place]}
        if isinstance(outcome, str):
            failed.append({**file, "reason": outcome})
            logger.warning("%s: not classified: %s", file["file"], outcome)
            continue
        probability, remarks = outcome
        called = None if threshold is None else TASKS[task][0 if probability >= threshold else 1]
        results.append({**file, f"{task}_probability": round(probability, 6), "called": called, "remarks": remarks})
    report = {
        "disclaimer": DISCLAIMER,
        "version": f"monai-dgm {__version__}",
        "model": None if model_file is None else describe_model(model_file),
        "task": task,
        "threshold": threshold,
        "images": results,
        "failed": failed,
    }
    write_results(target / SCORES_FILE, report)
    if not results:
        raise InputError(all_failed(failed, "classified"))
    print(f"scores: {target / SCORES_FILE}", flush=True)
    return report


def _outcomes(
    items: Sequence[Mapping[str, Any]],
    network: DecomposedClassifier,
    size: int,
    device: torch.device | str,
    batch_size: int,
    num_workers: int,
) -> Iterator[tuple[int, tuple[float, list[str]] | str]]:
    """(place, (probability of label 1, remarks)) of each entry, or the reason why it has none."""
    loader: DataLoader = DataLoader(_Radiographs(items, size), batch_size, num_workers=num_workers, collate_fn=list)
    with tqdm(total=len(items), desc="classifying", unit="image", disable=None) as progress:
        for batch in loader:
            usable = [prepared for _, prepared, _ in batch if not isinstance(prepared, str)]
            probabilities = iter(_probabilities(network, usable, device) if usable else [])
            for place, prepared, remarks in batch:
                yield place, prepared if isinstance(prepared, str) else (next(probabilities), remarks)
            progress.update(len(batch))


def _probabilities(
    network: DecomposedClassifier, radiographs: Sequence[PreparedRadiograph], device: torch.device | str
) -> list[float]:
    image = torch.stack([torch.from_numpy(prepared.image) for prepared in radiographs]).to(device)
    with torch.inference_mode():
        logits = network(image, [prepared.geometry for prepared in radiographs])
    if not torch.isfinite(logits).all():
        raise InputError("expected finite values from the classifier, got NaN or infinity: are the weights sound?")
    return torch.sigmoid(logits.double())[:, 0].cpu().tolist()
