"""Baselines beside weights, for tests on data from elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monai_dgm.data.baseline_file import BASELINES_FILE, baselines_for, read_baselines, write_baselines
from monai_dgm.data.sources import Baselines, Splits
from monai_dgm.errors import InputError
from monai_dgm.metrics.prior_maps import LungAlignedPrior

PRIOR = np.linspace(0, 1, 1024, dtype=np.float32).reshape(32, 32)
BOX = np.array([3, 2, 29, 28], dtype=np.float32)


def test_there_and_back(tmp_path: Path) -> None:
    written = write_baselines(tmp_path / "model.pt", Baselines(PRIOR, BOX))
    assert written == tmp_path / BASELINES_FILE
    read = read_baselines(written, 32)
    assert np.array_equal(read.mean_box_prior, PRIOR) and np.array_equal(read.mean_lung_box, BOX)
    assert read.aligned_prior is None and read.mean_blob is None
    aligned = LungAlignedPrior(np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64))
    read = read_baselines(write_baselines(tmp_path / "model.pt", Baselines(PRIOR, BOX, aligned, PRIOR)), 32)
    assert np.array_equal(read.mean_blob, PRIOR) and np.array_equal(read.aligned_prior.frame, aligned.frame)
    write_baselines(tmp_path / "model.pt", Baselines(None, BOX))
    assert read_baselines(written, 32).mean_box_prior is None


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = write_baselines(tmp_path / "model.pt", Baselines(PRIOR, BOX))
    with pytest.raises(InputError, match=r"for 64 x 64 pixels, its mean_box_prior has the shape \(32, 32\)"):
        read_baselines(path, 64)
    path.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(InputError, match="expected the baselines of a training set"):
        read_baselines(path, 32)
    np.savez(tmp_path / "pickled.npz", mean_lung_box=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="expected the baselines of a training set"):
        read_baselines(tmp_path / "pickled.npz", 32)


def test_the_file_beside_the_weights_comes_first(tmp_path: Path, sample_dir: Path) -> None:
    external = Splits([], [], [{"image": "x"}], "elsewhere")
    assert external.is_external
    assert baselines_for(tmp_path / "model.pt", external, 32, tmp_path) == Baselines(None, None)
    write_baselines(tmp_path / "model.pt", Baselines(None, BOX))
    assert np.array_equal(baselines_for(tmp_path / "model.pt", external, 32, tmp_path).mean_lung_box, BOX)
    blob = np.full((32, 32), 0.25, np.float32)
    found = baselines_for(tmp_path / "model.pt", external, 32, tmp_path, blob)
    assert found.mean_blob is blob and np.array_equal(found.mean_lung_box, BOX)
    write_baselines(tmp_path / "model.pt", Baselines(None, BOX, None, PRIOR))  # the training's own
    assert np.array_equal(baselines_for(tmp_path / "model.pt", external, 32, tmp_path, blob).mean_blob, PRIOR)


def test_shipped_baselines_fit_the_shipped_weights(repository: Path) -> None:
    shipped = repository / "bundles" / "dgm" / "models" / "shipped" / BASELINES_FILE
    found = read_baselines(shipped, 224)
    assert found.mean_box_prior is not None and 0.2 < found.mean_box_prior.max() <= 1
    assert found.mean_lung_box is not None and (found.mean_lung_box[:2] < found.mean_lung_box[2:]).all()
