"""The baselines of a decomposer's training set as a file next to its weights, for tests on external data."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.sources import Baselines, Splits, fit_baselines
from monai_dgm.errors import InputError
from monai_dgm.metrics.prior_maps import FRAME_SIDE, LungAlignedPrior
from monai_dgm.utils.atomic import atomic_write

__all__ = ["BASELINES_FILE", "baselines_for", "read_baselines", "write_baselines"]

logger = logging.getLogger(__name__)

BASELINES_FILE = "baselines.npz"
_NAMES = ("mean_box_prior", "mean_lung_box", "aligned_prior", "mean_blob")  # attributes of Baselines


def write_baselines(model_path: str | os.PathLike[str], baselines: Baselines) -> Path:
    """Write baselines next to the weights, as float32 arrays by name; returns the file."""
    path = Path(model_path).with_name(BASELINES_FILE)
    known = {name: getattr(baselines, name) for name in _NAMES if getattr(baselines, name) is not None}
    arrays = {name: value.frame if name == "aligned_prior" else value for name, value in known.items()}
    with atomic_write(path) as partial, open(partial, "wb") as stream:
        np.savez_compressed(stream, **{name: np.asarray(values, dtype=np.float32) for name, values in arrays.items()})
    return path


def read_baselines(path: str | os.PathLike[str], size: int) -> Baselines:
    """Read what :func:`write_baselines` wrote.

    Args:
        path: the file.
        size: side S of the model input that they are for.

    Raises:
        InputError: another file, or baselines of another size.
    """
    expected = f"{path}: expected the baselines of a training set for {size} x {size} pixels"
    try:
        with np.load(path, allow_pickle=False) as stored:
            found = {name: stored[name].astype(np.float32) for name in _NAMES if name in stored.files}
    except Exception as error:  # a damaged archive fails in many ways
        raise InputError(f"{expected} ({type(error).__name__})") from error
    shapes = {"mean_lung_box": (4,), "aligned_prior": (FRAME_SIDE, FRAME_SIDE)}
    for name, values in found.items():
        shape = shapes.get(name, (size, size))
        if values.shape != shape or not np.isfinite(values).all():
            raise InputError(f"{expected}, its {name} has the shape {values.shape}")
    aligned = LungAlignedPrior(found.pop("aligned_prior")) if "aligned_prior" in found else None
    return Baselines(**{name: found.get(name) for name in _NAMES} | {"aligned_prior": aligned})


def baselines_for(
    model_path: str | os.PathLike[str],
    splits: Splits,
    size: int,
    cache_dir: str | os.PathLike[str],
    mean_blob: np.ndarray | None = None,
) -> Baselines:
    """The baselines that the metrics of a test are compared with: those of the training set that the weights come from.

    They are read from the file beside the weights; without one they are fitted on the splits' training images, and
    where there are none, there are no baselines.

    Args:
        model_path: the weights.
        splits: of the test.
        size: side S of the model input.
        cache_dir: of the prepared radiographs.
        mean_blob: (S, S), mean of superimposed opacities, where the file has none of the training's own.
    """
    path = Path(model_path).with_name(BASELINES_FILE)
    if path.is_file():
        known = read_baselines(path, size)
        return replace(known, mean_blob=mean_blob) if known.mean_blob is None else known
    if splits.training:
        return fit_baselines(RadiographDataset(splits.training, size, cache_dir), mean_blob=mean_blob)
    logger.warning("no baselines: there is no %s beside the weights, and no training images", BASELINES_FILE)
    return Baselines(None, None, None, mean_blob)
