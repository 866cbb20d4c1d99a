"""Weights as they ship: the same network within half precision, with its origin, and never too large."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch

from monai_dgm.engines import shipping
from monai_dgm.engines.residues.frozen_decomposer import load_decomposer
from monai_dgm.engines.shipping import half_precision, ship_weights
from monai_dgm.engines.weights import find_weights, save_weights
from monai_dgm.errors import InputError
from tests.decomposers import write_decomposer


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "manifest.csv"
    path.write_text("image\n")
    return path


def test_shipped_weights_are_found_and_predict_as_the_trained_ones(tmp_path: Path, manifest: Path) -> None:
    trained = write_decomposer(tmp_path / "models", fold=3)
    told = ship_weights(trained, tmp_path / "models" / "shipped", manifest, "train it", "CC0", burden_threshold=0.2)
    found = Path(find_weights(tmp_path / "models"))
    assert found.stat().st_size < 0.6 * trained.stat().st_size
    image = torch.rand(2, 1, 32, 32) * 2 - 1
    torch.testing.assert_close(load_decomposer(found)(image), load_decomposer(trained)(image), atol=0.01, rtol=0.01)
    assert told == json.loads(found.with_suffix(".json").read_text())
    assert told["fold"] == 3 and told["burden_threshold"] == 0.2
    assert told["shipped"]["sha256"] == hashlib.sha256(found.read_bytes()).hexdigest()
    assert told["shipped"]["manifest_sha256"] == hashlib.sha256(manifest.read_bytes()).hexdigest()


def test_the_same_weights_give_the_same_file(tmp_path: Path, manifest: Path) -> None:
    trained = write_decomposer(tmp_path / "models")
    sums = {ship_weights(trained, tmp_path / n, manifest, "", "")["shipped"]["sha256"] for n in ("a", "b")}
    assert len(sums) == 1


def test_weights_in_channels_last_ship_too(tmp_path: Path, manifest: Path) -> None:
    trained = write_decomposer(tmp_path / "models")
    save_weights(load_decomposer(trained).to(memory_format=torch.channels_last).state_dict(), trained)
    ship_weights(trained, tmp_path / "shipped", manifest, "", "")
    image = torch.zeros(1, 1, 32, 32)
    (tmp_path / "shipped" / "model.json").write_bytes(trained.with_suffix(".json").read_bytes())
    shipped = load_decomposer(tmp_path / "shipped" / "model.safetensors")
    torch.testing.assert_close(shipped(image), load_decomposer(trained)(image), atol=0.01, rtol=0.01)


def test_the_chest_reference_goes_along(tmp_path: Path, manifest: Path) -> None:
    trained = write_decomposer(tmp_path / "models")
    (tmp_path / "models" / "chest.json").write_text("{}")
    ship_weights(trained, tmp_path / "shipped", manifest, "", "")
    assert (tmp_path / "shipped" / "chest.json").read_text() == "{}"


def test_values_that_half_precision_cannot_hold_are_refused() -> None:
    kept = half_precision({"count": torch.tensor(100_000), "weight": torch.ones(2)})
    assert kept["count"].item() == 100_000 and kept["weight"].dtype == torch.float16
    with pytest.raises(InputError, match="variance: expected finite values within"):
        half_precision({"variance": torch.tensor([1e6])})


def test_too_large_weights_leave_nothing(tmp_path: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = write_decomposer(tmp_path / "models")
    monkeypatch.setattr(shipping, "MAX_BYTES", 1000)
    with pytest.raises(InputError, match="expected at most 1000 bytes"):
        ship_weights(trained, tmp_path / "shipped", manifest, "", "")
    assert not list((tmp_path / "shipped").iterdir())
    with pytest.raises(InputError, match="none.csv: expected a file"):
        ship_weights(trained, tmp_path / "shipped", tmp_path / "none.csv", "", "")
