"""Fine-tuning a detector with its bundle's own training: its configuration, other data, and a start from weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monai.bundle import ConfigWorkflow

from monai_dgm.engines.weights import read_model_settings
from monai_dgm.errors import InputError
from monai_dgm.labelling.server.requests import checked_number
from monai_dgm.labelling.training.training_data import CORRECTED

__all__ = ["OPTIONS", "FineTuneOptions", "batch_mixture", "fine_tune"]

# options of a request: (lowest, highest, default); all but the two shares are whole numbers
OPTIONS: dict[str, tuple[float, float, float]] = {
    "max_epochs": (1, 200, 10),
    "epoch_length": (1, 2000, 50),
    "batch_size": (2, 64, 8),
    "learning_rate": (1e-6, 1e-2, 2e-4),
    "correction_share": (0.1, 0.9, 0.5),
}
_FRACTIONS = ("learning_rate", "correction_share")
_IGNORED = ("client_id", "reader", "model", "name")  # what clients send with every request


@dataclass(frozen=True)
class FineTuneOptions:
    """How to train.

    Attributes:
        max_epochs, epoch_length: epochs, and batches in each.
        batch_size: images in a batch.
        learning_rate: the highest; a fifth of that of a training from the start.
        correction_share: of a batch are corrections, where original data are replayed.
    """

    max_epochs: int = 10
    epoch_length: int = 50
    batch_size: int = 8
    learning_rate: float = 2e-4
    correction_share: float = 0.5

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> FineTuneOptions:
        """From a request.

        Raises:
            InputError: an option that there is not, or one out of its bounds.
        """
        unknown = params.keys() - OPTIONS.keys() - set(_IGNORED)
        if unknown:
            raise InputError(f"expected the options {', '.join(OPTIONS)}, got {len(unknown)} other")
        values = {name: checked_number(params, name, *bounds) for name, bounds in OPTIONS.items()}
        for name in OPTIONS.keys() - set(_FRACTIONS):
            if values[name] != int(values[name]):
                raise InputError(f"{name}: expected a whole number")
        whole = {name: int(value) for name, value in values.items() if name not in _FRACTIONS}
        return cls(**whole, **{name: values[name] for name in _FRACTIONS})  # type: ignore[arg-type]


def batch_mixture(items: Sequence[Mapping[str, Any]], share: float, batch_size: int) -> tuple[list[int], float]:
    """How batches are mixed: (class of each image, share of class 0 in a batch), for ``BalancedBatchSampler``.

    ``share`` of a batch are corrections where there are original data beside them; with corrections alone half are
    images with boxes; and where all images are of one kind there is nothing to mix.
    """
    classes = [int(item.get(CORRECTED, 1)) for item in items]
    if len(set(classes)) < 2:
        classes, share = [int(len(item["opacity_boxes"]) > 0) for item in items], 0.5
    if len(set(classes)) < 2:
        return [0] * len(items), 1.0
    first = min(max(round((1 - share) * batch_size), 1), batch_size - 1)
    return classes, first / batch_size


def overrides(
    weights: str | os.PathLike[str], options: FineTuneOptions, splits: str | os.PathLike[str]
) -> dict[str, Any]:
    """What differs from the bundle's training of a detector.

    Args:
        weights: to start from; the network is as the JSON file beside them says.
        options: of the training.
        splits: file of :func:`monai_dgm.labelling.training.training_data.write_splits`.
    """
    settings = read_model_settings(weights)
    steps = options.max_epochs * options.epoch_length
    return {
        "splits": f"$training_data.read_splits({str(splits)!r})",
        "on_sample": False,  # nor is what it says of the embedded sample
        "initial_weights": str(weights),
        "channels": settings.get("channels", ["image", "residue"]),
        "backbone": settings.get("backbone", "resnet50"),
        "width": settings.get("width", 1.0),
        "fpn_channels": settings.get("fpn_channels", 256),
        "image_size": int(settings["image_size"]),
        "max_epochs": options.max_epochs,
        "epoch_length": options.epoch_length,
        "batch_size": options.batch_size,
        "learning_rate": options.learning_rate,
        "warm_up_steps": max(1, min(50, steps // 10)),
        # at the end alone: an epoch that was chosen on the gate's images would win there by luck
        "val_interval": options.max_epochs,
        "log_interval": max(1, min(20, options.epoch_length)),
        "save_interval": max(1, min(50, options.epoch_length)),
        "mixture": f"$fine_tuning.batch_mixture(@splits.training, {options.correction_share}, @batch_size)",
        "train#sampler#labels": "$@mixture[0]",
        "train#sampler#normal_fraction": "$@mixture[1]",
        "training": ["$@train#trainer.run()"],
    }


def fine_tune(
    config_file: str | os.PathLike[str],
    weights: str | os.PathLike[str],
    options: FineTuneOptions,
    splits: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    others: Mapping[str, Any] | None = None,
    watch: Callable[[Engine, Engine], None] | None = None,
) -> Path:
    """Train, or go on with a training that was interrupted; returns the path of the weights.

    They are the moving average at the end of the last epoch.

    Args:
        config_file: ``train.json`` of the detector's bundle.
        weights, options, splits: see :func:`overrides`.
        output_dir: gets ``models/``, checkpoint, history; the same folder again goes on.
        others: further settings of the bundle (device, seed, decomposer_path, cache_dir).
        watch: called with trainer and validator after every iteration.

    Raises:
        InputError: files that cannot be used, or a training that diverged.
    """
    folder = Path(output_dir)
    given = {
        **overrides(weights, options, splits),
        "bundle_root": str(Path(config_file).resolve().parent.parent),
        "output_dir": str(folder),
        "ckpt_dir": str(folder / "models"),
        **{name: str(value) if isinstance(value, Path) else value for name, value in (others or {}).items()},
    }
    workflow = ConfigWorkflow(str(config_file), workflow_type="train", logging_file=False, run_id="training")
    imports = ["$import monai_dgm.labelling.training.training_data as training_data"]
    imports += ["$import monai_dgm.labelling.training.fine_tuning as fine_tuning"]
    workflow.parser.update({"imports": [*workflow.parser["imports"], *imports], **given})
    workflow.initialize()
    trainer, validator = (workflow.parser.get_parsed_content(name) for name in ("train#trainer", "validate#evaluator"))
    if watch is not None:
        trainer.add_event_handler(Events.ITERATION_COMPLETED, watch, validator)
    workflow.run()
    return Path(workflow.parser.get_parsed_content("model_path"))
