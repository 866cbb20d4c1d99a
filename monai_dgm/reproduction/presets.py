"""How large the argument is made: toy (minutes), small (two cores, hours), cpu (two cores, a day), paper (a GPU)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["NAMES", "PRESETS", "Network", "Preset", "Recipe"]

NAMES = {
    "alexnet": "AlexNet",
    "densenet121": "DenseNet121",
    "densenet161": "DenseNet161",
    "densenet_small": "small DenseNet",
    "resnet18": "ResNet18",
    "resnet34": "ResNet34",
    "resnet50": "ResNet50",
    "resnet152": "ResNet152",
    "vgg19": "VGG19",
}
"""How architectures are called in the tables."""


@dataclass(frozen=True)
class Recipe:
    """How a bundle trains: configuration files laid over its ``train.json``, then single keys."""

    overrides: Mapping[str, Any] = field(default_factory=dict)
    overlays: tuple[str, ...] = ()


@dataclass(frozen=True)
class Network:
    """A classifier or detector that gets rows in the tables.

    Attributes:
        architecture: of the classifier, or of the detector's backbone.
        image_size: side of its input in pixels.
        recipe: how it is trained.
    """

    architecture: str
    image_size: int
    recipe: Recipe = field(default_factory=Recipe)


@dataclass(frozen=True)
class Preset:
    """A size of the whole argument.

    Attributes:
        name: of the preset.
        summary: in words, for the report.
        folds: test folds by default; None for all that the data have.
        data: overrides that every job gets: the embedded sample's size, the share of validation patients.
        decomposer: how the decomposers are trained, one a fold.
        compared: further rows of Table 4, on the image alone.
        classifiers: what Tables 4 to 6 train on image, residue, and both; the first are the main ones.
        detectors: Table 7.
        num_bootstrap: resamples of the intervals.
    """

    name: str
    summary: str
    folds: tuple[int, ...] | None
    data: Mapping[str, Any]
    decomposer: Recipe
    compared: tuple[Network, ...]
    classifiers: tuple[Network, ...]
    detectors: tuple[Network, ...]
    num_bootstrap: int = 1000


_TOY_SCHEDULE = {
    "batch_size": 8,
    "epoch_length": 6,
    "max_epochs": 2,
    "val_interval": 2,
    "log_interval": 4,
    "num_bootstrap": 2,
    "learning_rate": 1e-3,
}
_TOY_CLASSIFIER = {**_TOY_SCHEDULE, "lr_milestones": [1]}
_TOY_DETECTOR = {**_TOY_SCHEDULE, "warm_up_steps": 2, "width": 0.25, "fpn_channels": 32}

TOY = Preset(
    name="toy",
    summary="Toy size: networks of a few thousand parameters, some steps each. It shows that everything runs from end "
    "to end; no figure means anything.",
    folds=(0, 1),
    data={"sample_patients": 60, "sample_size": 64, "validation_fraction": 0.3},
    decomposer=Recipe(
        {
            "image_size": 64,
            "base_width": 4,
            "num_res_blocks": 1,
            "batch_size": 8,
            "epoch_length": 12,
            "max_epochs": 2,
            "lr_milestones": [1],
            "warm_up_iterations": 6,
            "val_interval": 2,
            "log_interval": 4,
            "learning_rate": 7e-4,
            "test#metrics#num_bootstrap": 2,
            "test#handlers#0#num_panels": 2,
            "validate#handlers#2#count": 1,
        }
    ),
    compared=(),
    classifiers=(Network("densenet_small", 64, Recipe(_TOY_CLASSIFIER)),),
    detectors=(Network("resnet18", 64, Recipe(_TOY_DETECTOR)),),
    num_bootstrap=200,
)

# What decomposers of a quarter of the width are trained with, beside sizes and schedule (docs/experiments.md).
_NARROW_DECOMPOSER = {
    "base_width": 16,
    "batch_size": 16,
    "network_def#residue_skips": True,
    "objective#weights#abnormality": 5.0,
    "objective#weights#paired_residue": 30.0,
    "objective#weights#normal_ssim": 5.0,
}

# A few hundred steps each; docs/reproduction.md says what they cost. Jobs make no intervals of their own: the report
# makes them, over all folds.
_SMALL_SCHEDULE = {"max_epochs": 4, "val_interval": 4, "num_bootstrap": 2, "ema_momentum": 0.02}
_SMALL_CLASSIFIER = {**_SMALL_SCHEDULE, "lr_milestones": [3]}
_SMALL_PLAIN = Recipe({**_SMALL_CLASSIFIER, "batch_size": 8, "epoch_length": 50, "learning_rate": 1e-4})
_SMALL_LARGE = Recipe({**_SMALL_CLASSIFIER, "batch_size": 8, "epoch_length": 50, "learning_rate": 3e-4})
_SMALL_SMALL = Recipe({**_SMALL_CLASSIFIER, "batch_size": 16, "epoch_length": 60, "learning_rate": 1e-3})
_SMALL_DETECTOR = Recipe(
    {**_SMALL_SCHEDULE, "batch_size": 8, "epoch_length": 60, "warm_up_steps": 50, "width": 0.25, "fpn_channels": 64}
)

SMALL = Preset(
    name="small",
    summary="For two CPU cores and some hours: each network is trained for a few hundred steps, which is too short for "
    "figures that can stand beside others'; what residues change is the question. DenseNet161 sees radiographs of "
    "64 px and their residues, AlexNet, VGG19 and ResNet152 the radiographs alone; a small DenseNet and the detector "
    "see 96 px.",
    folds=None,
    data={},
    decomposer=Recipe(
        {
            **_NARROW_DECOMPOSER,
            "image_size": 64,
            "epoch_length": 100,
            "max_epochs": 25,
            "lr_milestones": [17, 22],
            "warm_up_iterations": 1500,
            "val_interval": 5,
            "learning_rate": 7e-4,
        }
    ),
    compared=(
        Network("alexnet", 64, _SMALL_PLAIN),
        Network("vgg19", 64, _SMALL_PLAIN),
        Network("resnet152", 64, _SMALL_LARGE),
    ),
    classifiers=(Network("densenet161", 64, _SMALL_LARGE), Network("densenet_small", 96, _SMALL_SMALL)),
    detectors=(Network("resnet18", 96, _SMALL_DETECTOR),),
)

# AlexNet, VGG19 and ResNet152 train at a small side on two cores, and so does DenseNet161; the small DenseNet at the
# decomposer's own side stands beside them, not in their place.
_CPU_SMALL = Recipe({"batch_size": 16, "max_epochs": 15, "learning_rate": 1e-3, "val_interval": 1})
_CPU_LARGE = Recipe({"batch_size": 16, "max_epochs": 10, "learning_rate": 3e-4, "val_interval": 1})
_CPU_PLAIN = Recipe({"batch_size": 16, "max_epochs": 10, "learning_rate": 1e-4, "val_interval": 1})

CPU = Preset(
    name="cpu",
    summary="For two CPU cores: DenseNet161, AlexNet, VGG19 and ResNet152 see radiographs of 64 px; a small DenseNet "
    "and the detector those of 128 px, the size of the decomposers (a quarter of the paper's width).",
    folds=None,
    data={},
    decomposer=Recipe(
        {
            **_NARROW_DECOMPOSER,
            "image_size": 128,
            "epoch_length": 160,
            "max_epochs": 26,
            "lr_milestones": [18, 23],
            "warm_up_iterations": 2400,
            "val_interval": 5,
            "learning_rate": 8e-4,
        }
    ),
    compared=(
        Network("alexnet", 64, _CPU_PLAIN),
        Network("vgg19", 64, _CPU_PLAIN),
        Network("resnet152", 64, _CPU_LARGE),
    ),
    classifiers=(Network("densenet161", 64, _CPU_LARGE), Network("densenet_small", 128, _CPU_SMALL)),
    detectors=(Network("resnet18", 128, Recipe({"width": 0.5, "fpn_channels": 128})),),
)

_PAPER = Recipe(overlays=("paper.json",))

PAPER = Preset(
    name="paper",
    summary="The paper's sizes and schedules: 224 px, full width, DenseNet161, RetinaNet with ResNet50.",
    folds=None,
    data={},
    decomposer=_PAPER,
    compared=(Network("alexnet", 224, _PAPER), Network("vgg19", 224, _PAPER), Network("resnet152", 224, _PAPER)),
    classifiers=(Network("densenet161", 224, _PAPER),),
    detectors=(Network("resnet50", 224, _PAPER),),
)

PRESETS = {preset.name: preset for preset in (TOY, SMALL, CPU, PAPER)}
