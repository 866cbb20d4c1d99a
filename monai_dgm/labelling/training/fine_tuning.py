"""Fine-tuning of a detector: the training of its bundle with other data, starting from the detector's weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monai.bundle import ConfigWorkflow
from pydantic import BaseModel, ConfigDict, Field

from monai_dgm.engines.weights import model_channels, read_model_settings
from monai_dgm.labelling.labels.json_input import checked
from monai_dgm.labelling.server.request_options import PanelBool, PanelFloat, PanelInt
from monai_dgm.labelling.training.training_data import CORRECTED
from monai_dgm.networks.detector import OpacityDetector, build_detector

__all__ = ["FineTuneOptions", "batch_mixture", "detector_like", "fine_tune"]

_IGNORED = ("client_id", "reader", "model", "name")  # what clients send with every request


class FineTuneOptions(BaseModel):
    """Options of a fine-tuning, with their bounds and defaults.

    Attributes:
        max_epochs: number of epochs.
        epoch_length: number of batches in an epoch.
        batch_size: number of images in a batch.
        learning_rate: the highest one; by default a fifth of that of a training from the start.
        correction_share: share of corrections in a batch, where original data are trained on as well.
        promote_on_few: let fewer validation images decide than are needed; see
            :mod:`monai_dgm.labelling.training.promotion`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_epochs: PanelInt = Field(10, ge=1, le=200)
    epoch_length: PanelInt = Field(50, ge=1, le=2000)
    batch_size: PanelInt = Field(8, ge=2, le=64)
    learning_rate: PanelFloat = Field(2e-4, ge=1e-6, le=1e-2)
    correction_share: PanelFloat = Field(0.5, ge=0.1, le=0.9)
    promote_on_few: PanelBool = False

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> FineTuneOptions:
        """Options from a request.

        Raises:
            InputError: an unknown option, or one out of its bounds.
        """
        given = {name: value for name, value in params.items() if name not in _IGNORED and value not in (None, "")}
        options: FineTuneOptions = checked(cls, given)
        return options


def batch_mixture(items: Sequence[Mapping[str, Any]], share: float, batch_size: int) -> tuple[list[int], float]:
    """The mixture of a batch, for ``BalancedBatchSampler``.

    With original data, ``share`` of a batch are corrections. With corrections alone, half of a batch are images with
    boxes. Where all images are of one kind, there is nothing to mix.

    Args:
        items: of the training, with "corrected" and "opacity_boxes".
        share: of corrections in a batch.
        batch_size: number of images in a batch.

    Returns:
        Class of each image (0 or 1), and share of class 0 in a batch.
    """
    classes = [int(item.get(CORRECTED, 1)) for item in items]
    if len(set(classes)) < 2:
        classes, share = [int(len(item["opacity_boxes"]) > 0) for item in items], 0.5
    if len(set(classes)) < 2:
        return [0] * len(items), 1.0
    first = min(max(round((1 - share) * batch_size), 1), batch_size - 1)
    return classes, first / batch_size


def detector_like(weights: str | os.PathLike[str]) -> OpacityDetector:
    """A detector of the network that a file of weights is of, with random weights.

    Raises:
        InputError: no settings beside the weights.
    """
    return build_detector(read_model_settings(weights))


def overrides(
    weights: str | os.PathLike[str], options: FineTuneOptions, splits: str | os.PathLike[str]
) -> dict[str, Any]:
    """Settings that differ from those of the bundle's training.

    Args:
        weights: to start from; the JSON file of the same name has the settings of the network.
        options: of the training.
        splits: file of :func:`monai_dgm.labelling.training.training_data.write_splits`.
    """
    settings = read_model_settings(weights)
    steps = options.max_epochs * options.epoch_length
    return {
        "splits": f"$training_data.read_splits({str(splits)!r})",
        "dataset_dir": str(Path(splits).parent),  # settings are those for real data, not for the embedded sample
        "initial_weights": str(weights),
        # the network is the one that the weights are of, whatever the configuration of the bundle would build
        "network_def": f"$fine_tuning.detector_like({str(weights)!r})",
        "channels": model_channels(settings),
        "backbone": settings.get("backbone", "resnet50"),
        "width": settings.get("width", 1.0),
        "fpn_channels": settings.get("fpn_channels", 256),
        "image_size": int(settings["image_size"]),
        "max_epochs": options.max_epochs,
        "epoch_length": options.epoch_length,
        "batch_size": options.batch_size,
        "learning_rate": options.learning_rate,
        "warm_up_steps": max(1, min(50, steps // 10)),
        # at the end only: an epoch chosen on the validation images would win the comparison on them by luck
        "val_interval": options.max_epochs,
        "log_interval": max(1, min(20, options.epoch_length)),
        "train#checkpoint#save_interval": max(1, min(50, options.epoch_length)),
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
    """Train, or continue an interrupted training; returns the path of the weights.

    The weights are the moving average at the end of the last epoch.

    Args:
        config_file: ``train.json`` of the detector's bundle.
        weights, options, splits: see :func:`overrides`.
        output_dir: gets ``models/``, checkpoint and history; with the same folder, the training continues.
        others: more settings of the bundle (device, seed, decomposer_path, cache_dir).
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
