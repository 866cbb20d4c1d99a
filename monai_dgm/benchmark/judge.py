"""What a system makes of the test images: computed once for each file of weights, and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from monai_dgm.benchmark.features import FeatureNetwork
from monai_dgm.benchmark.test_sets import TestSet
from monai_dgm.data.fingerprints import hash_file
from monai_dgm.engines.weights import load_residue_system, read_model_settings
from monai_dgm.errors import InputError
from monai_dgm.networks.residue_system import ResidueSystem, split_prediction
from monai_dgm.transforms.preparation import resample_planes
from monai_dgm.utils.atomic import atomic_write

__all__ = ["Prediction", "predictions_of", "unchanged"]

FloatArray = NDArray[np.float32]
_BATCH = 16
FORMAT = 1  # raise it when predictions are computed in another way


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a system makes of N images of a test set.

    Attributes:
        normals: y', float32 (N, S, S).
        residues: a, float32 (N, S, S).
        probabilities: (N,), NaN from a system that gives none.
        features: of y', float32 (N, F); (N, 0) without a network of features.
    """

    normals: FloatArray
    residues: FloatArray
    probabilities: FloatArray
    features: FloatArray


def predictions_of(
    weights: Path, test_sets: Mapping[str, TestSet], features: FeatureNetwork | None, folder: Path
) -> dict[str, Prediction]:
    """Predictions of a file of weights for every test set, by name.

    They are kept in ``folder`` under a key of the weights' SHA-256, the test images and the network of features.

    Raises:
        InputError: weights that cannot be used, or that give NaN or infinity.
    """
    sha256 = hash_file(weights)
    found: dict[str, Prediction] = {}
    network: ResidueSystem | None = None
    for name, test_set in test_sets.items():
        text = f"{FORMAT} {sha256} {test_set.key} {features.sha256 if features else None}"
        path = folder / f"{sha256[:12]}-{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.npz"
        known = _load(path, len(test_set))
        if known is None:
            network = network or load_residue_system(weights)
            known = _predict(network, int(read_model_settings(weights)["image_size"]), test_set, features, weights)
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as partial, open(partial, "wb") as stream:
                np.savez(stream, **{key: value.astype(np.float16) for key, value in vars(known).items()})
            known = _load(path, len(test_set)) or known  # the same rounded values whether kept or new
        found[name] = known
    return found


def unchanged(test_sets: Mapping[str, TestSet], features: FeatureNetwork | None) -> dict[str, Prediction]:
    """The reference that gives every radiograph back: y' = z, a = 0."""
    return {
        name: Prediction(
            s.images, np.zeros_like(s.images), np.full(len(s), np.nan, np.float32), _of(features, s.images)
        )
        for name, s in test_sets.items()
    }


def _load(path: Path, count: int) -> Prediction | None:
    try:
        with np.load(path, allow_pickle=False) as values:
            found = Prediction(**{name: values[name].astype(np.float32) for name in values.files})
    except (OSError, ValueError, TypeError, EOFError):
        return None
    return found if len(found.normals) == count else None


def _of(features: FeatureNetwork | None, images: FloatArray) -> FloatArray:
    return np.zeros((len(images), 0), np.float32) if features is None else features(images)


def _predict(
    network: ResidueSystem, side: int, test_set: TestSet, features: FeatureNetwork | None, weights: Path
) -> Prediction:
    """Images are brought to the system's side and its planes back to theirs."""
    parts: dict[str, list[torch.Tensor]] = {"normal": [], "residue": [], "abnormality_probability": []}
    size = test_set.images.shape[-1]
    torch.manual_seed(0)  # for systems that draw
    with torch.inference_mode():
        for first in range(0, len(test_set), _BATCH):
            image = torch.from_numpy(test_set.images[first : first + _BATCH])[:, None]
            found = split_prediction(network(resample_planes(image, side)))
            for name, plane in found.items():
                parts[name].append(resample_planes(plane, size)[:, 0] if plane.dim() == 4 else plane)
    normals, residues, probabilities = (torch.cat(parts[name]).float().numpy() for name in parts)
    if not (np.isfinite(normals).all() and np.isfinite(residues).all()):
        raise InputError(f"{weights.name}: expected finite images, got NaN or infinity: the training diverged")
    return Prediction(normals, residues, probabilities, _of(features, normals))
