"""Frozen decomposers, whose residues are the input of classifiers and detectors: loading, checks, data sets."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from monai_dgm.data.dataset import ItemTransform, RadiographDataset
from monai_dgm.data.decomposed import DecomposedDataset, check_channels
from monai_dgm.data.sources import Splits
from monai_dgm.engines.files import describe_model, weights_sha256
from monai_dgm.engines.residues.cached import cached_residues
from monai_dgm.engines.weights import load_residue_system, read_model_settings
from monai_dgm.errors import InputError
from monai_dgm.networks.residue_system import ResidueSystem

__all__ = [
    "announce_decomposer",
    "check_decomposer",
    "cross_fitted_residues",
    "decomposed_dataset",
    "decomposer_sha256",
    "load_decomposer",
    "load_needed_decomposer",
    "needs_decomposer",
]

logger = logging.getLogger(__name__)


def needs_decomposer(channels: Sequence[str], pseudo_healthy_prob: float = 0.0) -> bool:
    """Whether a classifier of these channels needs a decomposer, for residues or for pseudo-healthy images.

    Raises:
        InputError: unknown channels, or pseudo-healthy images with a control channel, which they have not.
    """
    names = check_channels(channels, controls=pseudo_healthy_prob == 0)
    return names != ("image",) or pseudo_healthy_prob > 0


def load_decomposer(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> ResidueSystem:
    """The frozen residue system of a file of weights, as the JSON file next to it describes it, in evaluation mode.

    Raises:
        InputError: no such file, or one of another network.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: expected the weights of a decomposer (bundles/dgm trains one), there are none")
    return load_residue_system(path, device).requires_grad_(False)


def load_needed_decomposer(
    path: str | os.PathLike[str],
    channels: Sequence[str],
    device: torch.device | str = "cpu",
    pseudo_healthy_prob: float = 0.0,
) -> ResidueSystem | None:
    """:func:`load_decomposer` where :func:`needs_decomposer` says that one is needed, else None."""
    return load_decomposer(path, device) if needs_decomposer(channels, pseudo_healthy_prob) else None


def decomposer_sha256(path: str | os.PathLike[str], channels: Sequence[str]) -> str | None:
    """SHA-256 of a decomposer's weights for the settings of a classifier; None for one that sees no residue.

    Raises:
        InputError: no such file.
    """
    return weights_sha256(path) if needs_decomposer(channels) else None


def announce_decomposer(path: str | os.PathLike[str], splits: Splits) -> None:
    """Print where residues come from, and warn where the decomposer may have seen the test images."""
    trained_on = read_model_settings(path).get("trained_on")
    print(f"residues: of {path}, trained on {trained_on or 'data that its settings do not name'}", flush=True)
    if trained_on is None or not splits.description.startswith(str(trained_on)):
        logger.warning(
            "the decomposer was not trained on this split: if it saw test images, metrics with residues are too good"
        )


def check_decomposer(settings: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Compare a decomposer with the one whose residues a classifier was trained on.

    Args:
        settings: of the classifier; "decomposer_sha256" is None where it sees no residues.
        path: of the decomposer's weights.

    Raises:
        InputError: they differ, so that the classifier's scores would mean little.
    """
    expected = settings.get("decomposer_sha256")
    if expected is None:
        return
    found = describe_model(path)["sha256"] if Path(path).is_file() else "no file"
    if found != expected:
        raise InputError(
            f"{path}: expected the decomposer that the weights were trained with, SHA-256 {expected[:12]}..., "
            f"got {found[:12]}; give --decomposer_path"
        )


def decomposed_dataset(
    datalist: Sequence[dict[str, Any]],
    channels: Sequence[str],
    size: int,
    cache_dir: str | os.PathLike[str],
    decomposer: Callable[..., Any] | None = None,
    decomposer_path: str | os.PathLike[str] | None = None,
    device: torch.device | str = "cpu",
    cross_fitted: str | None = None,
    transform: ItemTransform | None = None,
) -> DecomposedDataset:
    """Radiographs with the channels of a classifier; residues are computed once and cached.

    Args:
        datalist: of one split, with the labels of the task.
        channels: as of :class:`monai_dgm.data.decomposed.DecomposedDataset`.
        size: side S.
        cache_dir: of radiographs and residues.
        decomposer, decomposer_path: from :func:`load_decomposer` and the file it came from; None without residues.
        device: where residues are computed.
        cross_fitted: see :func:`cross_fitted_residues`; for training sets. None takes all residues from ``decomposer``.
        transform: applied to each item as it is taken, see :func:`monai_dgm.data.dataset.apply_transform`.

    Raises:
        InputError: files that cannot be used; residues without a decomposer.
    """
    dataset = RadiographDataset(datalist, size, cache_dir)
    residues: NDArray[np.float16] | None = None
    needed = needs_decomposer(channels)
    if needed and cross_fitted is not None:
        residues = cross_fitted_residues(dataset, cross_fitted, cache_dir, device)
    elif needed:
        if not isinstance(decomposer, torch.nn.Module) or decomposer_path is None:
            raise InputError("channels: expected a decomposer for the channel residue, got none")
        residues = cached_residues(dataset, decomposer, decomposer_path, cache_dir, device)
    return DecomposedDataset(dataset, residues, channels, transform)


def cross_fitted_residues(
    dataset: RadiographDataset, paths: str, cache_dir: str | os.PathLike[str], device: torch.device | str = "cpu"
) -> NDArray[np.float16]:
    """Residues from decomposers that were not trained on the images.

    A decomposer learns its training images with their labels: their residues show the labels better than those of new
    images do, and a classifier that is trained on them relies on residues too much. Here the residue of each image
    comes from the decomposer that was tested on the image's fold.

    Args:
        dataset: the radiographs; each item has a "fold".
        paths: files of weights, with ``{fold}`` for the test fold, such as ``runs/fold{fold}/models/model.pt``; all of
            one side S'.
        cache_dir, device: as in :func:`monai_dgm.engines.residues.cached.cached_residues`.

    Returns:
        float16 (N, S', S'), in the order of ``dataset.items``.

    Raises:
        InputError: no ``{fold}`` in ``paths``, images without one, decomposers of different sides.
    """
    if "{fold}" not in paths:
        raise InputError(f"{paths}: expected a path with {{fold}} in it, one decomposer for each fold")
    folds: list[Any] = [item.get("fold") for item in dataset.items]
    if None in folds:
        raise InputError("expected a fold for each image (the manifest's column fold) to cross-fit residues")
    size, residues = dataset.images.shape[-1], None
    for fold in sorted(set(folds)):
        path, indices = paths.replace("{fold}", str(fold)), [i for i, other in enumerate(folds) if other == fold]
        part = RadiographDataset([dataset.items[index] for index in indices], size, cache_dir)
        found = cached_residues(part, load_decomposer(path, device), path, cache_dir, device)
        if residues is None:
            residues = np.empty((len(dataset), *found.shape[1:]), dtype=np.float16)
        if found.shape[1:] != residues.shape[1:]:
            raise InputError(f"{path}: expected a decomposer of {residues.shape[1]} pixels, it has {found.shape[1]}")
        residues[indices] = found
    assert residues is not None  # a data set has at least one image
    return residues
