"""Residues of a whole data set from a frozen decomposer: computed once, stored in a file, mapped into memory."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from monai_dgm.data.cache_file import ArrayWriter, no_space_as_input_error, open_array
from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.fingerprints import hash_file
from monai_dgm.engines.weights import read_model_settings
from monai_dgm.errors import InputError
from monai_dgm.networks.residue_system import split_prediction
from monai_dgm.transforms.geometry import RadiographGeometry
from monai_dgm.transforms.preparation import clear_border, resample_planes

__all__ = ["cached_residues", "predict_residue"]

logger = logging.getLogger(__name__)

FORMAT = 1  # raise it when the way residues are computed changes: older files are then not used


def predict_residue(decomposer: nn.Module, image: Tensor, size: int, geometries: list[RadiographGeometry]) -> Tensor:
    """Residues of prepared radiographs, computed at the side the decomposer was trained with.

    Args:
        decomposer: a residue system in evaluation mode.
        image: z, (B, 1, S, S) in [-1, 1] on the decomposer's device; resampled to ``size`` where S differs.
        size: side S' of the decomposer's input.
        geometries: of the B radiographs, at any side: the border that "pad" added has residue 0.

    Returns:
        a, float32 (B, 1, S', S') in [-1, 1].
    """
    with torch.inference_mode():
        residue = split_prediction(decomposer(resample_planes(image, size)))["residue"].float()
    return clear_border(residue, geometries)


def cached_residues(
    dataset: RadiographDataset,
    decomposer: nn.Module,
    weights: str | os.PathLike[str],
    cache_dir: str | os.PathLike[str],
    device: torch.device | str = "cpu",
    batch_size: int = 16,
) -> NDArray[np.float16]:
    """Residues of all radiographs of ``dataset``, computed where the cache does not have them.

    The file's name contains a hash of the decomposer's weights and of the images, so other weights or changed images
    give another file. The file is written under another name under a lock and renamed when it is complete.

    Args:
        dataset: the radiographs, side S.
        decomposer: with its weights loaded; moved to ``device`` and put into evaluation mode.
        weights: the file that the weights came from; the side S' is in the JSON file next to it.
        cache_dir: folder; it is made where it is missing.
        device: where the decomposer runs.
        batch_size: radiographs it takes at once.

    Returns:
        float16 (N, S', S') in [-1, 1], memory-mapped and read-only, in the order of ``dataset.items``.

    Raises:
        InputError: no file of weights, residues that are not finite, or a cache folder that is full or not writable.
    """
    try:
        digest = hash_file(weights)
    except OSError as error:
        raise InputError(f"{weights}: expected the decomposer's weights ({error.strerror})") from error
    size = int(read_model_settings(weights)["image_size"])
    folder, shape = Path(cache_dir).absolute(), (len(dataset), size, size)
    target = folder / f"residues-{_key(dataset, digest, size)}.npy"
    found = open_array(target, shape, "<f2")
    if found is not None:
        return found
    with no_space_as_input_error(folder, 2 * len(dataset) * size**2):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock")):
            found = open_array(target, shape, "<f2")  # another process may have made it while this one waited
            if found is None:
                logger.info("computing residues of %d radiographs, once", len(dataset))
                batches = _predict(dataset, decomposer, size, torch.device(device), batch_size)
                _write(target, shape, batches, Path(weights))
                found = open_array(target, shape, "<f2")
    if found is None:
        raise InputError(f"{target}: expected the residues that were just written, the file cannot be read")
    return found


def _key(dataset: RadiographDataset, digest: str, size: int) -> str:
    # content_key is a hash of the settings and of the content of all images, in their order
    text = "\n".join((str(FORMAT), str(size), digest, dataset.content_key))
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def _predict(
    dataset: RadiographDataset, decomposer: nn.Module, size: int, device: torch.device, batch_size: int
) -> Iterator[NDArray[np.float16]]:
    decomposer = decomposer.to(device).eval()
    with tqdm(total=len(dataset), desc="residues", unit="image", disable=None) as progress:
        for first in range(0, len(dataset), batch_size):
            indices = range(first, min(first + batch_size, len(dataset)))
            image = dataset.images_as_tensor(indices).to(device)
            residue = predict_residue(decomposer, image, size, [dataset.geometries[index] for index in indices])
            yield residue[:, 0].cpu().numpy().astype("<f2")
            progress.update(len(indices))


def _write(path: Path, shape: tuple[int, ...], batches: Iterator[NDArray[np.float16]], weights: Path) -> None:
    writer = ArrayWriter(path, "<f2", shape[1:], shape[0])
    try:
        for batch in batches:
            if not np.isfinite(batch).all():
                raise InputError(f"{weights}: expected finite residues, got NaN or infinity: are the weights sound?")
            writer.append(batch)
        writer.finish()
    finally:
        writer.close()
