"""Radiographs with their normal twins: who gets one, what it looks like, what is known of it."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.decomposed import DecomposedDataset
from monai_dgm.data.manifest import load_manifest
from monai_dgm.data.twins import TwinDataset
from monai_dgm.errors import InputError

SIZE = 32


@pytest.fixture
def radiographs(sample_dir: Path, tmp_path: Path) -> RadiographDataset:
    return RadiographDataset(load_manifest(sample_dir)[:8], SIZE, tmp_path / "cache")


def planes(count: int, side: int = SIZE) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.broadcast_to(rng.uniform(-0.9, 0.9, (count, 1, 1)), (count, side, side)).astype(np.float16)


def test_originals_come_first_and_a_twin_of_each_abnormal_one_after_them(radiographs: RadiographDataset) -> None:
    original = DecomposedDataset(radiographs, channels=("image",))
    abnormal = torch.nonzero(original.labels == 1).flatten().tolist()
    assert 0 < len(abnormal) < 8
    dataset = TwinDataset(original, twins := planes(8))
    assert len(dataset) == len(dataset.items) == len(dataset.labels) == len(dataset.geometries) == 8 + len(abnormal)
    assert (
        torch.equal(dataset[3]["image"], original[3]["image"]) and dataset.truth(3).keys() == original.truth(3).keys()
    )
    for number, place in enumerate(abnormal):
        item, entry = dataset[8 + number], dataset.items[8 + number]
        assert item["index"] == 8 + number and item["label"] == 0 == dataset.labels[8 + number]
        inside = item["image"][0] > -1
        assert torch.allclose(item["image"][0][inside], torch.tensor(float(twins[place, 0, 0])))
        assert entry["patient_id"] == original.items[place]["patient_id"] and entry["category"] == "normal"
        assert entry["synthetic"] and entry["image_id"].endswith("_twin")
        assert len(dataset.truth(8 + number)["opacity_boxes"]) == 0
        assert "opacity_mask" not in dataset.truth(8 + number)


def test_residues_of_twins_are_the_second_channel(radiographs: RadiographDataset) -> None:
    dataset = TwinDataset(DecomposedDataset(radiographs, planes(8)), planes(8), -planes(8, 16))
    item = dataset[8]
    assert item["image"].shape == (2, SIZE, SIZE) and item["image"].dtype == torch.float32
    middle = item["image"][:, SIZE // 2, SIZE // 2]
    assert middle[1] == pytest.approx(-middle[0].item(), abs=1e-3)


def test_border_that_was_added_is_air(tmp_path: Path) -> None:
    from tests.data.conftest import write_image

    path = write_image(tmp_path / "wide.png", 0, rows=16, cols=40)
    item = {"image": str(path), "image_id": "a", "patient_id": "a", "label": 1}
    original = DecomposedDataset(RadiographDataset([item], 40, tmp_path / "cache"), channels=("image",))
    twin = TwinDataset(original, np.full((1, 40, 40), 0.5, np.float16))[1]["image"][0]
    assert (twin[:12] == -1).all() and (twin[12:28] == 0.5).all() and (twin[28:] == -1).all()


def test_goes_to_loader_processes(radiographs: RadiographDataset) -> None:
    dataset = TwinDataset(DecomposedDataset(radiographs, channels=("image",)), planes(8))
    assert torch.equal(pickle.loads(pickle.dumps(dataset))[8]["image"], dataset[8]["image"])  # noqa: S301


def test_what_does_not_fit_is_refused(radiographs: RadiographDataset) -> None:
    both = DecomposedDataset(radiographs, planes(8))
    with pytest.raises(InputError, match="residues: expected those of the twins"):
        TwinDataset(both, planes(8))
    with pytest.raises(InputError, match=r"twins: expected a shape of \(8, S, S\)"):
        TwinDataset(both, planes(7), planes(8))
    with pytest.raises(InputError, match="expected the image among them"):
        TwinDataset(DecomposedDataset(radiographs, planes(8), ("residue",)), planes(8), planes(8))
