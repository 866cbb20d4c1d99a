"""A frozen decomposer whose residues others look at: loading it, its data sets, and whether it is the right one."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.decomposed import DecomposedDataset, check_channels
from monai_dgm.data.sources import Splits
from monai_dgm.engines.files import describe_model, weights_sha256
from monai_dgm.engines.residues.cached import cached_residues
from monai_dgm.engines.weights import DECOMPOSER_SETTINGS, load_weights, read_model_settings
from monai_dgm.errors import InputError
from monai_dgm.networks.decomposer import Decomposer

__all__ = [
    "announce_decomposer",
    "check_decomposer",
    "cross_fitted_residues",
    "decomposed_dataset",
    "decomposer_sha256",
    "load_decomposer",
    "needs_decomposer",
]

logger = logging.getLogger(__name__)


def needs_decomposer(channels: Sequence[str], twin_prob: float = 0.0) -> bool:
    """Whether a classifier of these channels needs a decomposer, for residues or for normal twins.

    Raises:
        InputError: channels that there are not.
    """
    return "residue" in check_channels(channels) or twin_prob > 0


def load_decomposer(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> Decomposer:
    """The frozen decomposer of a file of weights, in evaluation mode, sized as the JSON file beside it says.

    Raises:
        InputError: no such file, or one of another network.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: expected the weights of a decomposer (bundles/dgm trains one), there are none")
    settings = read_model_settings(path)
    network = Decomposer(**{name: settings[name] for name in DECOMPOSER_SETTINGS})
    return load_weights(network, path).to(device).eval().requires_grad_(False)  # type: ignore[return-value]


def decomposer_sha256(path: str | os.PathLike[str], channels: Sequence[str]) -> str | None:
    """SHA-256 of a decomposer's weights for the settings of a classifier; None for one that sees no residue.

    Raises:
        InputError: no such file.
    """
    return weights_sha256(path) if needs_decomposer(channels) else None


def announce_decomposer(path: str | os.PathLike[str], splits: Splits) -> None:
    """Print where residues come from, and warn where the decomposer may have seen the test images."""
    trained_on = read_model_settings(path).get("trained_on")
    print(f"residues: of {path}, trained on {trained_on or 'data that is not named beside it'}", flush=True)
    if trained_on is None or not splits.description.startswith(str(trained_on)):
        logger.warning(
            "the decomposer was not trained on this split; where it has seen test images, figures with residues flatter"
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
) -> DecomposedDataset:
    """Radiographs with the channels of a classifier; residues are computed once and cached.

    Args:
        datalist: of one split, with the labels of the task.
        channels: of "image" and "residue".
        size: side S.
        cache_dir: of radiographs and residues.
        decomposer, decomposer_path: from :func:`load_decomposer` and the file it came from; None without residues.
        device: where residues are computed.
        cross_fitted: see :func:`cross_fitted_residues`; for training sets. None takes all residues from ``decomposer``.

    Raises:
        InputError: files that cannot be used; residues without a decomposer.
    """
    dataset = RadiographDataset(datalist, size, cache_dir)
    residues: NDArray[np.float16] | None = None
    if "residue" in check_channels(channels) and cross_fitted is not None:
        residues = cross_fitted_residues(dataset, cross_fitted, cache_dir, device)
    elif "residue" in channels:
        if not isinstance(decomposer, torch.nn.Module) or decomposer_path is None:
            raise InputError("channels: expected a decomposer for the channel residue, got none")
        residues = cached_residues(dataset, decomposer, decomposer_path, cache_dir, device)
    return DecomposedDataset(dataset, residues, channels)


def cross_fitted_residues(
    dataset: RadiographDataset, paths: str, cache_dir: str | os.PathLike[str], device: torch.device | str = "cpu"
) -> NDArray[np.float16]:
    """Residues from decomposers that were not trained on the images.

    A decomposer learns its training images with their labels: their residues tell the labels better than those of new
    images do, and a classifier trained on them trusts residues too much. Here each image has its residue from the
    decomposer that was tested on its fold.

    Args:
        dataset: the radiographs; each item has a "fold".
        paths: files of weights, with ``{fold}`` for the test fold, such as ``runs/fold{fold}/models/model.pt``; all of
            one side S'.
        cache_dir, device: as in :func:`monai_dgm.engines.residues.cached.cached_residues`.

    Returns:
        float16 (N, S', S'), in the order of ``dataset.items``.

    Raises:
        InputError: no place for the fold in ``paths``, images without one, decomposers of different sides.
    """
    if "{fold}" not in paths:
        raise InputError(f"{paths}: expected a path with {{fold}} in it, one decomposer for each fold")
    folds: list[Any] = [item.get("fold") for item in dataset.items]
    if None in folds:
        raise InputError("expected a fold for each image (the manifest's column fold) to cross-fit residues")
    size, residues = dataset.images.shape[-1], None
    for fold in sorted(set(folds)):
        path, places = paths.replace("{fold}", str(fold)), [i for i, other in enumerate(folds) if other == fold]
        part = RadiographDataset([dataset.items[place] for place in places], size, cache_dir)
        found = cached_residues(part, load_decomposer(path, device), path, cache_dir, device)
        if residues is None:
            residues = np.empty((len(dataset), *found.shape[1:]), dtype=np.float16)
        if found.shape[1:] != residues.shape[1:]:
            raise InputError(f"{path}: expected a decomposer of {residues.shape[1]} pixels, it has {found.shape[1]}")
        residues[places] = found
    assert residues is not None  # a data set has at least one image
    return residues
