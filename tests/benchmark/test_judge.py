"""Predictions: once for each file of weights, at the system's own side, and never NaN in silence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from monai_dgm.benchmark.judge import predictions_of
from monai_dgm.engines.weights import save_weights
from monai_dgm.errors import InputError
from monai_dgm.networks.residue_system import ResidueSystem, join_prediction
from tests.benchmark.conftest import SIDE, make_test_set


class Halver(ResidueSystem, architecture="halver_of_the_benchmark_tests"):
    """y' = weight x z, a = z - y'."""

    sides: tuple[int, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5))

    def forward(self, image: Tensor) -> Tensor:
        Halver.sides += (image.shape[-1],)
        return join_prediction(self.weight * image, image - self.weight * image)

    def network_settings(self) -> dict[str, float]:
        return {}


def write(folder: Path, weight: float, size: int = SIDE) -> Path:
    network, path = Halver(), folder / "model.pt"
    network.weight.data.fill_(weight)
    save_weights(network.state_dict(), path)
    settings = {"architecture": network.architecture, "network_settings": {}, "image_size": size}
    path.with_suffix(".json").write_text(json.dumps(settings))
    return path


def test_predictions_are_kept_by_the_weights_content(tmp_path: Path) -> None:
    test_sets, weights = {"inserted": make_test_set()}, write(tmp_path, 0.5)
    first = predictions_of(weights, test_sets, None, tmp_path / "kept")["inserted"]
    np.testing.assert_allclose(first.normals, 0.5 * test_sets["inserted"].images, atol=1e-3)
    assert np.isnan(first.probabilities).all() and first.features.shape == (24, 0)
    Halver.sides = ()
    again = predictions_of(weights, test_sets, None, tmp_path / "kept")["inserted"]
    assert not Halver.sides and np.array_equal(again.residues, first.residues)
    other = predictions_of(write(tmp_path, 0.25), test_sets, None, tmp_path / "kept")["inserted"]
    assert Halver.sides and not np.array_equal(other.residues, first.residues)
    assert len(list((tmp_path / "kept").glob("*.npz"))) == 2


def test_other_test_images_are_predicted_anew_and_a_damaged_file_is_not_used(tmp_path: Path) -> None:
    weights, folder = write(tmp_path, 0.5), tmp_path / "kept"
    predictions_of(weights, {"inserted": make_test_set()}, None, folder)
    (file,) = folder.glob("*.npz")
    file.write_bytes(b"PK damaged")
    found = predictions_of(weights, {"inserted": make_test_set()}, None, folder)["inserted"]
    np.testing.assert_allclose(found.normals, 0.5 * make_test_set().images, atol=1e-3)
    predictions_of(weights, {"inserted": make_test_set(seed=1)}, None, folder)
    assert len(list(folder.glob("*.npz"))) == 2


def test_a_system_of_another_side_sees_its_own(tmp_path: Path) -> None:
    Halver.sides = ()
    found = predictions_of(write(tmp_path, 0.5, 2 * SIDE), {"inserted": make_test_set()}, None, tmp_path)["inserted"]
    assert set(Halver.sides) == {2 * SIDE} and found.residues.shape == (24, SIDE, SIDE)


def test_a_system_that_diverged_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model\.pt: expected finite images"):
        predictions_of(write(tmp_path, float("nan")), {"inserted": make_test_set()}, None, tmp_path)
