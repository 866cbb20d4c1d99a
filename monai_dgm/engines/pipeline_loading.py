"""A pipeline from the files of its models' weights."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from monai_dgm.engines.classification.classifier import load_classifier
from monai_dgm.engines.lungs.segmentor import load_lung_segmentor
from monai_dgm.engines.pipeline import RadiographPipeline
from monai_dgm.engines.residues.channel_model import ChannelModel
from monai_dgm.engines.residues.frozen_decomposer import check_decomposer, load_decomposer
from monai_dgm.engines.weights import for_inference, load_weights, model_channels, read_model_settings
from monai_dgm.errors import InputError
from monai_dgm.networks.detector import build_detector
from monai_dgm.transforms.saliency import ThresholdRule

__all__ = ["load_channel_classifier", "load_detector", "load_pipeline"]

logger = logging.getLogger(__name__)

ModelPath = str | os.PathLike[str] | None


def load_detector(
    path: str | os.PathLike[str], device: torch.device | str = "cpu", network: nn.Module | None = None
) -> ChannelModel:
    """An opacity detector from its weights, in evaluation mode, sized as the JSON file next to them says.

    Args:
        path: ``.pt`` or ``.safetensors``.
        device: where to put it.
        network: with these weights, where they are loaded already.

    Raises:
        InputError: no such file, or weights of another network.
    """
    settings = read_model_settings(path)
    return _channel_model(network or load_weights(build_detector(settings), path), settings, device)


def load_channel_classifier(
    path: str | os.PathLike[str], device: torch.device | str = "cpu", network: nn.Module | None = None
) -> ChannelModel:
    """A classifier from its weights, with its channels and settings; arguments and errors as :func:`load_detector`."""
    return _channel_model(network or load_classifier(path), read_model_settings(path), device)


def _channel_model(network: nn.Module, settings: Mapping[str, Any], device: torch.device | str) -> ChannelModel:
    size, channels = int(settings["image_size"]), model_channels(settings)
    return ChannelModel(for_inference(network, device), size, tuple(channels), settings)


def load_pipeline(
    decomposer_path: ModelPath = None,
    lungs_path: ModelPath = None,
    detector_path: ModelPath = None,
    classifier_path: ModelPath = None,
    networks: Mapping[str, nn.Module] | None = None,
    threshold: ThresholdRule | float = "otsu",
    device: torch.device | str = "cpu",
    uncertainty: bool = False,
    member_paths: Sequence[str | os.PathLike[str]] = (),
) -> RadiographPipeline:
    """The pipeline of the models whose weights are there.

    A lung segmentor, detector or classifier that is missing is left out, with a message in the log; so is a detector or
    classifier that was trained on the residues of another decomposer.

    Args:
        decomposer_path: weights of a residue system; None for none.
        lungs_path, detector_path, classifier_path: weights of the other models; None for none.
        networks: those that are loaded already, by "decomposer", "lungs", "detector" and "classifier".
        threshold, device, uncertainty: as in :class:`monai_dgm.engines.pipeline.RadiographPipeline`.
        member_paths: weights of further residue systems of the same side, for the uncertainty.

    Raises:
        InputError: a decomposer or a member that is not there, weights that cannot be used, a member of another side.
    """
    loaded = dict(networks or {})
    files: dict[str, str] = {}
    decomposer, size, lungs = loaded.get("decomposer"), None, None
    if decomposer_path is not None:
        files["decomposer"] = str(decomposer_path)
        decomposer = for_inference(decomposer or load_decomposer(decomposer_path), device)
        size = int(read_model_settings(decomposer_path)["image_size"])
    if lungs_path is not None and _is_file(lungs_path, "lung segmentor: the whole image counts as lungs"):
        lungs = load_lung_segmentor(lungs_path, device, loaded.get("lungs"))
        files["lungs"] = str(lungs_path)
    models: dict[str, ChannelModel | None] = {"detector": None, "classifier": None}
    loaders = {"detector": (detector_path, load_detector), "classifier": (classifier_path, load_channel_classifier)}
    for name, (path, load) in loaders.items():
        if path is not None and _is_file(path, name) and _fits(path, name, decomposer_path):
            models[name], files[name] = load(path, device, loaded.get(name)), str(path)
    members = _load_members(member_paths, size, device)
    detector, classifier = models["detector"], models["classifier"]
    pipeline = RadiographPipeline(
        decomposer, size, lungs, detector, classifier, threshold, device, uncertainty, members
    )
    pipeline.model_files = files
    return pipeline


def _load_members(
    paths: Sequence[str | os.PathLike[str]], size: int | None, device: torch.device | str
) -> list[nn.Module]:
    members: list[nn.Module] = []
    for path in paths:
        members.append(load_decomposer(path, device))
        found = int(read_model_settings(path)["image_size"])
        if found != size:
            raise InputError(f"{path}: expected a decomposer of {size} pixels, as the first one, got {found}")
    return members


def _is_file(path: str | os.PathLike[str], name: str) -> bool:
    if Path(path).is_file():
        return True
    logger.info("no %s", name)
    return False


def _fits(path: str | os.PathLike[str], name: str, decomposer_path: ModelPath) -> bool:
    """Whether a model sees no residues, or those of the decomposer that it was trained with."""
    try:
        check_decomposer(read_model_settings(path), decomposer_path or "no decomposer")
    except InputError as error:
        logger.warning("no %s, it needs the decomposer that it was trained with: %s", name, error)
        return False
    return True
