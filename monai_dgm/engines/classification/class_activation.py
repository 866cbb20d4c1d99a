"""Grad-CAM of classifiers: where a network that learned from labels alone looks, a baseline of the residue's place.

Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, ICCV 2017; MONAI's
implementation. Maps are not scaled image by image, so that those of different images can be ranked together.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from monai.visualize.class_activation_maps import GradCAM
from numpy.typing import NDArray
from torch import Tensor, nn

from monai_dgm.engines.classification.classifier import load_classifier
from monai_dgm.engines.weights import model_channels, read_model_settings
from monai_dgm.errors import InputError
from monai_dgm.transforms.preparation import resample_planes

__all__ = ["ClassActivation", "load_class_activations"]

logger = logging.getLogger(__name__)

FloatArray = NDArray[np.float32]
# the last layer before global pooling: of MONAI's DenseNets, its ResNets, torchvision's AlexNet and VGG-19
LAST_LAYERS = ("class_layers.relu", "layer4", "features")


class ClassActivation:
    """Grad-CAM of a network for label 1.

    Args:
        network: from (B, 1, size, size) in [-1, 1] to logits (B, 1).
        layer: name of a layer in it; None for the last one before global pooling.
        size: side of its input in pixels; None for any, images are then taken as they are.

    Raises:
        InputError: no such layer.
    """

    def __init__(self, network: nn.Module, layer: str | None = None, size: int | None = None) -> None:
        names = {name for name, _ in network.named_modules()}
        layer = layer or next((name for name in LAST_LAYERS if name in names), "none")
        if layer not in names:
            raise InputError(f"layer: expected the last layer of a classifier before its pooling, got {layer!r}")
        self.size = size
        self._grad_cam = GradCAM(network.eval(), layer, postprocessing=lambda maps: maps)

    def __call__(self, images: Tensor) -> FloatArray:
        """Grad-CAM maps, at least 0, float32 (B, S, S), of images (B, 1, S, S) in [-1, 1]."""
        network = self._grad_cam.nn_module.model
        device = next(network.parameters()).device
        side = images.shape[-1]
        with torch.inference_mode(False), torch.enable_grad():
            shown = resample_planes(images.clone().to(device), self.size or side).requires_grad_()
            maps = self._grad_cam(shown, class_idx=0)
        return resample_planes(maps.detach().float(), side)[:, 0].cpu().numpy()


class _HeadOnFeatures(nn.Module):
    """E_F and the head of a decomposer with a layer between them."""

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.features, self.head = encoder, nn.Identity(), head

    def forward(self, image: Tensor) -> Tensor:
        with torch.no_grad():
            code = self.encoder(image)[-1]
        return self.head(self.features(code.requires_grad_()))


def load_class_activations(
    system: nn.Module | None = None, classifier_path: str | os.PathLike[str] | None = None
) -> dict[str, Callable[[Tensor], FloatArray]]:
    """Grad-CAM maps by name, for :class:`monai_dgm.engines.decomposition.evaluator.DecompositionMetrics`.

    Args:
        system: a residue system; "grad_cam_head" is of its head on E_F, as its weights are when a map is asked for. One
            without these parts has none.
        classifier_path: weights of a classifier for "grad_cam_classifier"; one that is not there, or that looks at
            residues, is left out with a message in the log.

    Raises:
        InputError: weights that cannot be used.
    """
    found: dict[str, Callable[[Tensor], FloatArray]] = {}
    if system is not None and (split := _split(system)) is not None:
        found["grad_cam_head"] = ClassActivation(split, "features")
    if classifier_path is None:
        return found
    if not Path(classifier_path).is_file():
        logger.info("no Grad-CAM of a classifier: there are no weights")
        return found
    settings = read_model_settings(classifier_path)
    if model_channels(settings) != ["image"]:
        logger.info("no Grad-CAM of a classifier: it looks at residues")
        return found
    network = load_classifier(classifier_path)
    found["grad_cam_classifier"] = ClassActivation(_split(network) or network, size=int(settings["image_size"]))
    return found


def _split(network: nn.Module) -> _HeadOnFeatures | None:
    """The network with a layer between encoder and head, None for one that is not made of these."""
    encoder, head = (getattr(network, name, None) for name in ("residue_encoder", "abnormality_head"))
    if isinstance(encoder, nn.Module) and isinstance(head, nn.Module):
        return _HeadOnFeatures(encoder, head)
    return None
