"""Trained classifiers from their files."""

from __future__ import annotations

import os

import torch
from torch import nn

from monai_dgm.engines.weights import load_weights, read_model_settings
from monai_dgm.networks.classifiers import build_classifier

__all__ = ["load_classifier"]


def load_classifier(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> nn.Module:
    """A classifier from its weights, in evaluation mode, of the architecture that the JSON file beside them says.

    Args:
        path: ``.pt`` or ``.safetensors``.
        device: where to put it.

    Returns:
        from the channels of its settings, (B, C, S, S), to logits (B, 1).

    Raises:
        InputError: no such file, or weights of another network.
        ValueError: settings with an architecture that there is not.
    """
    settings = read_model_settings(path)
    channels = settings.get("channels", ["image", "residue"])
    network = build_classifier(settings.get("architecture", "densenet161"), len(channels))
    return load_weights(network, path).to(device).eval()
