"""A job of training that takes seconds: labels with the truth of simulated radiographs, and a detector as small as
they come."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from monai_dgm.data.manifest import load_manifest
from monai_dgm.engines.weights import save_weights
from monai_dgm.labelling.labels.image_label import ImageLabel, make_boxes
from monai_dgm.labelling.labels.label_store import LabelStore
from monai_dgm.labelling.training.fine_tuning import FineTuneOptions
from monai_dgm.labelling.training.job import JobFolder, TrainingJob
from monai_dgm.networks.detector import OpacityDetector

OPTIONS = FineTuneOptions(max_epochs=2, epoch_length=3, batch_size=4, learning_rate=1e-3)
SIDE = 64  # of the simulated radiographs


def write_detector(path: Path, seed: int = 0) -> Path:
    """Weights of an untrained detector of images alone at 32 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    save_weights(OpacityDetector(1, "resnet18", 32, 0.125, 16).state_dict(), path)
    settings = {"image_size": 32, "backbone": "resnet18", "width": 0.125, "fpn_channels": 16, "channels": ["image"]}
    path.with_suffix(".json").write_text(json.dumps(settings), encoding="utf-8")
    return path


def true_label(item: dict[str, Any], reader: str = "one", boxes: Any = None) -> ImageLabel:
    """What a reader says who knows the truth."""
    drawn = make_boxes(item["opacity_boxes"] if boxes is None else boxes)
    return ImageLabel(item["image_id"], (SIDE, SIDE), "boxes" if drawn else "no_finding", drawn, reader, "import")


def readable(sample_dir: Path) -> list[dict[str, Any]]:
    """The sample's images of which it is known where their opacities are, or that they have none."""
    items = load_manifest(sample_dir)
    return [item for item in items if len(item["opacity_boxes"]) or item["category"] == "normal"]


def write_job(folder: Path, items: Sequence[dict[str, Any]], repository: Path, **others: Any) -> JobFolder:
    """A job below ``folder`` on true labels of ``items``."""
    store = LabelStore(folder / "labels")
    for item in items:
        store.put(true_label(item))
    job = TrainingJob(
        **{
            "options": OPTIONS,
            "config_file": str(repository / "bundles" / "opacity_detection" / "configs" / "train.json"),
            "weights": str(write_detector(folder / "given" / "model.pt")),
            "decomposer": "",
            "labels": str(store.folder),
            "models": str(folder / "models"),
            "validation_file": str(folder / "validation.json"),
            "images": {item["image_id"]: item["image"] for item in items},
            **others,
        }
    )
    job_folder = JobFolder(folder / "job")
    job_folder.write_job(job)
    return job_folder
