"""Lungs of prepared radiographs by a trained segmentor."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from monai_dgm.engines.lungs.chest_check import CHEST_FILE, ChestReference
from monai_dgm.engines.lungs.upright import UPRIGHT_FILE, UprightCheck, load_upright_check
from monai_dgm.engines.weights import load_weights, read_model_settings
from monai_dgm.errors import InputError
from monai_dgm.networks.lung_segmentation import ARCHITECTURES, build_lung_network
from monai_dgm.transforms.lungs import clean_lung_mask, lung_probability

__all__ = ["LungSegmentor", "load_lung_segmentor", "network_from_settings", "segment_lungs"]


def segment_lungs(network: nn.Module, image: Tensor, size: int | None = None) -> NDArray[np.bool_]:
    """The lungs of prepared radiographs.

    Args:
        network: a lung segmentor in evaluation mode.
        image: (B, 1, S, S) in [-1, 1], on the network's device.
        size: side that the network was trained at; images of another side are resampled there and back. None: as they
            are.

    Returns:
        bool (B, S, S); all False for an image without lungs of plausible size.
    """
    probability = lung_probability(network, image, size)[:, 0].cpu().numpy()
    return np.stack([clean_lung_mask(plane) for plane in probability])


@dataclass(frozen=True)
class LungSegmentor:
    """A trained segmentor with what lies beside its weights.

    Attributes:
        network: (B, 1, S, S) to logits, in evaluation mode.
        size: side that it was trained at.
        reference: what lungs of chests look like to it; None where that was not fitted.
        settings: of its training.
        upright: tells radiographs that are mirrored or upside down; None where it was not trained.
    """

    network: nn.Module
    size: int
    reference: ChestReference | None
    settings: dict[str, Any]
    upright: UprightCheck | None = None

    def probability(self, image: Tensor) -> NDArray[np.float32]:
        """(B, 1, H, W) in [-1, 1], any side, on the network's device -> probability of lung, float32 (B, H, W)."""
        return lung_probability(self.network, image, self.size)[:, 0].cpu().numpy()

    def turned(self, image: Tensor) -> list[tuple[str, float]]:
        """(B, 1, H, H) in [-1, 1], any side, on the network's device -> for each what
        :class:`monai_dgm.engines.lungs.upright.UprightCheck` says of it; nothing where there is none."""
        return [("", 0.0)] * len(image) if self.upright is None else self.upright(image)

    def masks(self, image: Tensor) -> NDArray[np.bool_]:
        """(B, 1, H, W) in [-1, 1], any side, on the network's device -> lung masks, bool (B, H, W)."""
        return segment_lungs(self.network, image, self.size)


def network_from_settings(settings: dict[str, Any]) -> nn.Module:
    """The network of a model's settings (``model.json``), without weights.

    Raises:
        InputError: settings of another kind of model.
    """
    architecture = settings.get("architecture", "unet")
    if architecture not in ARCHITECTURES:
        names = " or ".join(ARCHITECTURES)
        raise InputError(f"expected settings of a lung segmentor, architecture {names}, got {architecture!r}")
    return build_lung_network(architecture, settings.get("network_settings"))


def load_lung_segmentor(model_path: str | os.PathLike[str], device: torch.device | str = "cpu") -> LungSegmentor:
    """A segmentor from its weights; settings (``model.json``) and chest reference (``chest.json``) lie beside them.

    Args:
        model_path: ``.pt`` or ``.safetensors``.
        device: where to put it.

    Raises:
        InputError: no such file, or one that is none of a lung segmentor.
    """
    settings = read_model_settings(model_path)
    network = load_weights(network_from_settings(settings), model_path).to(device).eval()
    beside = Path(model_path).with_name(CHEST_FILE)
    reference = ChestReference.read(beside) if beside.is_file() else None
    weights = beside.with_name(UPRIGHT_FILE)
    upright = load_upright_check(weights, device) if weights.is_file() else None
    return LungSegmentor(network, int(settings["image_size"]), reference, settings, upright)
