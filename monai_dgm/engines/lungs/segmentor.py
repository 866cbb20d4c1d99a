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

from monai_dgm.data.fingerprints import hash_file
from monai_dgm.engines.lungs.chest_check import CHEST_FILE, ChestReference
from monai_dgm.engines.lungs.upright import UPRIGHT_FILE, UprightCheck, load_upright_check
from monai_dgm.engines.weights import find_weights, for_inference, load_weights, read_model_settings
from monai_dgm.errors import InputError
from monai_dgm.networks.lung_segmentation import ARCHITECTURES, build_lung_network
from monai_dgm.transforms.lungs import clean_lung_mask, lung_probability

__all__ = ["LungSegmentor", "load_lung_finder", "load_lung_segmentor", "network_from_settings"]


@dataclass(frozen=True)
class LungSegmentor:
    """A trained segmentor with its settings and its chest reference.

    Attributes:
        network: (B, 1, S, S) to logits, in evaluation mode.
        size: side that it was trained at.
        reference: of the chest check; None where it was not fitted.
        settings: of its training.
        upright: tells radiographs that are mirrored or upside down; None where it was not trained.
    """

    network: nn.Module
    size: int
    reference: ChestReference | None
    settings: dict[str, Any]
    upright: UprightCheck | None = None

    def probability(self, image: Tensor) -> NDArray[np.float32]:
        """Probability of lung for each pixel.

        Args:
            image: (B, 1, H, W) in [-1, 1], of any side, on the network's device.

        Returns:
            float32 (B, H, W) in [0, 1].
        """
        return lung_probability(self.network, image, self.size)[:, 0].cpu().numpy()

    def turned(self, image: Tensor) -> list[tuple[str, float]]:
        """(B, 1, H, H) in [-1, 1], any side, on the network's device -> for each what
        :class:`monai_dgm.engines.lungs.upright.UprightCheck` says of it; nothing where there is none."""
        return [("", 0.0)] * len(image) if self.upright is None else self.upright(image)

    def examine(self, image: Tensor) -> tuple[NDArray[np.float32], list[tuple[str, float]]]:
        """:meth:`probability` and :meth:`turned` of the same images, (B, 1, H, H)."""
        return self.probability(image), self.turned(image)

    def masks(self, image: Tensor) -> NDArray[np.bool_]:
        """Lung masks, bool (B, H, W), all False for an image without lungs of plausible size; ``image`` as above."""
        return np.stack([clean_lung_mask(plane) for plane in self.probability(image)])


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


def load_lung_segmentor(
    model_path: str | os.PathLike[str], device: torch.device | str = "cpu", network: nn.Module | None = None
) -> LungSegmentor:
    """A segmentor from its weights; settings (``model.json``) and chest reference (``chest.json``) are next to it.

    Args:
        model_path: ``.pt`` or ``.safetensors``.
        device: where to put it.
        network: with these weights, where they are loaded already.

    Raises:
        InputError: no such file, or one of another network.
    """
    settings = read_model_settings(model_path)
    network = for_inference(network or load_weights(network_from_settings(settings), model_path), device)
    chest_file = Path(model_path).with_name(CHEST_FILE)
    reference = ChestReference.read(chest_file) if chest_file.is_file() else None
    upright_file = chest_file.with_name(UPRIGHT_FILE)
    upright = load_upright_check(upright_file, device) if upright_file.is_file() else None
    return LungSegmentor(network, int(settings["image_size"]), reference, settings, upright)


class LungFinder:
    """Finds lungs in images of any side: bool (B, S, S) for (B, 1, S, S) in [-1, 1].

    Args:
        segmentor: does the work.
        fingerprint: SHA-256 of its weights, for caches of what it found.
    """

    def __init__(self, segmentor: LungSegmentor, fingerprint: str) -> None:
        self.segmentor = segmentor
        self.fingerprint = fingerprint

    def __call__(self, image: Tensor) -> NDArray[np.bool_]:
        """Lung masks."""
        return self.segmentor.masks(image)


def load_lung_finder(bundle_dir: str | os.PathLike[str]) -> LungFinder:
    """The lung finder of a bundle's weights.

    Args:
        bundle_dir: the bundle ``lung_segmentation``; see :func:`monai_dgm.engines.weights.find_weights`.

    Raises:
        InputError: no weights, or weights of another network.
    """
    weights = find_weights(Path(bundle_dir) / "models")
    return LungFinder(load_lung_segmentor(weights), hash_file(weights))
