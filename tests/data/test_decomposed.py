"""Radiographs with residues: channels in their order, at the radiograph's side, and everything else passed through."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.decomposed import DecomposedDataset, check_channels
from monai_dgm.errors import InputError

Datalist = list[dict[str, Any]]
SIZE = 24


@pytest.fixture
def dataset(datalist: Datalist, tmp_path: Path) -> RadiographDataset:
    return RadiographDataset(datalist, SIZE, tmp_path / "cache")


def residues_of(dataset: RadiographDataset, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (len(dataset), size, size)).astype(np.float16)


@pytest.mark.parametrize("channels", [("image",), ("residue",), ("image", "residue"), ("residue", "image")])
def test_channels_are_stacked_in_their_order(dataset: RadiographDataset, channels: tuple[str, ...]) -> None:
    residues = residues_of(dataset)
    decomposed = DecomposedDataset(dataset, residues, channels)
    item, plain = decomposed[3], dataset[3]
    assert item["image"].shape == (len(channels), SIZE, SIZE) and item["image"].dtype == torch.float32
    assert item["index"] == 3 and torch.equal(item["label"], plain["label"])
    planes = {"image": plain["image"][0], "residue": torch.from_numpy(residues[3].astype(np.float32))}
    for place, name in enumerate(channels):
        assert torch.equal(item["image"][place], planes[name])


def test_passes_through_what_is_known(dataset: RadiographDataset) -> None:
    decomposed = DecomposedDataset(dataset, residues_of(dataset))
    assert len(decomposed) == 6 and decomposed.size == SIZE
    assert decomposed.items is dataset.items and decomposed.geometries is dataset.geometries
    assert torch.equal(decomposed.labels, dataset.labels)
    assert decomposed.truth(2).keys() == dataset.truth(2).keys()


def test_needs_no_residues_for_the_image_alone(dataset: RadiographDataset) -> None:
    decomposed = DecomposedDataset(dataset, None, channels=("image",))
    assert torch.equal(decomposed[1]["image"], dataset[1]["image"])
    with pytest.raises(InputError, match="expected a data set with residues"):
        decomposed.residue(1)


@pytest.mark.parametrize("size", [12, 48])
def test_residues_of_another_side_are_brought_to_the_radiographs(dataset: RadiographDataset, size: int) -> None:
    residues = np.zeros((6, size, size), dtype=np.float16)
    residues[:, : size // 2] = 0.5  # upper half
    plane = DecomposedDataset(dataset, residues).residue(0)[0]
    assert plane.shape == (SIZE, SIZE)
    assert (plane[:10] == 0.5).all() and (plane[14:] == 0).all()
    assert plane.mean() == pytest.approx(0.25, abs=1e-6)


@pytest.mark.parametrize("channels", [(), ("normal",), ("image", "image"), ("image", "residue", "normal")])
def test_channels_that_there_are_not(dataset: RadiographDataset, channels: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="channels: expected some of image, residue"):
        DecomposedDataset(dataset, residues_of(dataset), channels)


def test_controls_are_the_residue_of_another_image_and_the_mean_residue(dataset: RadiographDataset) -> None:
    residues = residues_of(dataset)
    decomposed = DecomposedDataset(dataset, residues, ("image", "shuffled_residue", "mean_residue"))
    planes = torch.from_numpy(residues.astype(np.float32))
    items = [decomposed[i]["image"] for i in range(len(dataset))]
    owners = [next(j for j, plane in enumerate(planes) if torch.equal(item[1], plane)) for item in items]
    assert sorted(owners) == list(range(6)) and all(owner != i for i, owner in enumerate(owners))
    for i, item in enumerate(items):
        assert torch.equal(item[0], dataset[i]["image"][0])
        assert torch.allclose(item[2], planes.mean(0), atol=1e-6)
    copied = pickle.loads(pickle.dumps(decomposed))  # noqa: S301 - made here
    assert torch.equal(copied[2]["image"], items[2])


def test_a_single_radiograph_has_no_controls() -> None:
    with pytest.raises(InputError, match="channels: expected some of image, residue, each once"):
        check_channels(("image", "shuffled_residue"))


def test_a_channel_may_be_given_as_a_word() -> None:
    assert check_channels("image") == ("image",)


def test_residues_must_be_there_and_belong_to_the_radiographs(dataset: RadiographDataset) -> None:
    with pytest.raises(InputError, match="expected residues for the channel residue"):
        DecomposedDataset(dataset)
    for wrong in (residues_of(dataset)[:5], residues_of(dataset)[:, :8], residues_of(dataset)[0]):
        with pytest.raises(InputError, match=r"expected residues of shape \(6, S, S\)"):
            DecomposedDataset(dataset, wrong)


def test_loader_processes_map_the_file_themselves(dataset: RadiographDataset, tmp_path: Path) -> None:
    np.save(tmp_path / "residues.npy", residues_of(dataset, 512))
    decomposed = DecomposedDataset(dataset, np.load(tmp_path / "residues.npy", mmap_mode="r"))
    pickled = pickle.dumps(decomposed)
    assert len(pickled) < 100_000
    copied = pickle.loads(pickled)  # noqa: S301 - made here
    assert torch.equal(copied[5]["image"], decomposed[5]["image"])
    in_memory = DecomposedDataset(dataset, residues_of(dataset))
    copied = pickle.loads(pickle.dumps(in_memory))  # noqa: S301 - made here
    assert torch.equal(copied[5]["image"], in_memory[5]["image"])
    loader = DataLoader(decomposed, batch_size=3, num_workers=1)
    assert torch.equal(next(iter(loader))["image"][2], decomposed[2]["image"])
