"""The baselines of a decomposer's training set as a file beside its weights, for tests on data from elsewhere."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.sources import Baselines, Splits, fit_baselines
from monai_dgm.errors import InputError
from monai_dgm.utils.atomic import atomic_write

__all__ = ["BASELINES_FILE", "baselines_for", "read_baselines", "write_baselines"]

logger = logging.getLogger(__name__)

BASELINES_FILE = "baselines.npz"
_NAMES = {"mean_box_prior": 2, "mean_lung_box": 1}  # with the number of their axes


def write_baselines(model_path: str | os.PathLike[str], baselines: Baselines) -> Path:
    """Write baselines beside weights, as float16 arrays by name; returns the file."""
    path = Path(model_path).with_name(BASELINES_FILE)
    known = {name: getattr(baselines, name) for name in _NAMES if getattr(baselines, name) is not None}
    with atomic_write(path) as partial, open(partial, "wb") as stream:
        np.savez_compressed(stream, **{name: np.asarray(values, dtype=np.float16) for name, values in known.items()})
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
    for name, values in found.items():
        shape = (size, size) if _NAMES[name] == 2 else (4,)
        if values.shape != shape or not np.isfinite(values).all():
            raise InputError(f"{expected}, its {name} has the shape {values.shape}")
    return Baselines(found.get("mean_box_prior"), found.get("mean_lung_box"))


def baselines_for(
    model_path: str | os.PathLike[str], splits: Splits, size: int, cache_dir: str | os.PathLike[str]
) -> Baselines:
    """The baselines that a test is printed beside: those of the training set that the weights come from.

    They are read from the file beside the weights; without one they are fitted on the splits' training images, and
    where there are none, there are no baselines.

    Args:
        model_path: the weights.
        splits: of the test.
        size: side S of the model input.
        cache_dir: of the prepared radiographs.
    """
    path = Path(model_path).with_name(BASELINES_FILE)
    if path.is_file():
        return read_baselines(path, size)
    if splits.training:
        return fit_baselines(RadiographDataset(splits.training, size, cache_dir))
    logger.warning("no baselines: there is no %s beside the weights, and no training images", BASELINES_FILE)
    return Baselines(None, None)
