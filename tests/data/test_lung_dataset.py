"""Radiographs with lung masks: which ones, how often a mask is read, and what an item is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from monai_dgm.data import dataset as dataset_module
from monai_dgm.data.lung_dataset import LungDataset, with_lung_masks
from monai_dgm.data.sources import Splits, load_splits
from monai_dgm.errors import InputError

Datalist = list[dict[str, Any]]


@pytest.fixture(scope="module")
def splits(sample_dir: Path) -> Splits:
    return load_splits(None, sample_dir, sample_patients=24, sample_size=64)


def test_items_without_masks_are_left_out(splits: Splits) -> None:
    bare = [{**item, "lung_mask": None} for item in splits.training[:3]]
    kept = with_lung_masks(Splits([*bare, *splits.training[3:]], splits.validation, splits.test, "some"))
    assert kept.training == splits.training[3:] and kept.test == splits.test
    number = len(kept.training) + len(kept.validation) + len(kept.test)
    assert kept.description == f"some, {number} with lung masks"


def test_training_sources_are_chosen_and_the_others_are_still_tested_on(splits: Splits) -> None:
    mixed = [{**item, "source": "here" if i % 2 else "there"} for i, item in enumerate(splits.training)]
    kept = with_lung_masks(Splits(mixed, splits.validation, splits.test, "some"), sources=["here"])
    assert {item["source"] for item in kept.training} == {"here"} and kept.test == splits.test


def test_no_masks_at_all_is_said(splits: Splits) -> None:
    bare = Splits([{**item, "lung_mask": None} for item in splits.training], splits.validation, splits.test, "some")
    with pytest.raises(InputError, match="some: expected images with a lung_mask for the training, found none"):
        with_lung_masks(bare)
    with pytest.raises(InputError, match="for the training from elsewhere, found none"):
        with_lung_masks(splits, ["elsewhere"])


def test_items(splits: Splits, tmp_path: Path) -> None:
    dataset = LungDataset(splits.training[:4], 32, tmp_path)
    assert len(dataset) == 4
    for index in range(4):
        item = dataset[index]
        assert item["image"].shape == item["label"].shape == (1, 32, 32) and item["index"] == index
        assert item["image"].dtype == item["label"].dtype == torch.float32
        assert set(item["label"].unique().tolist()) == {0.0, 1.0}
        assert np.array_equal(item["label"][0].numpy() > 0, dataset.dataset.truth(index)["lung_mask"])
        assert item["image"][item["label"] > 0].mean() < item["image"][item["label"] == 0].mean()  # lungs hold air


def test_each_mask_is_read_once(splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    plain = dataset_module.read_mask

    def counted(path: str) -> Any:
        read.append(path)
        return plain(path)

    monkeypatch.setattr(dataset_module, "read_mask", counted)
    items = [{name: item[name] for name in ("image", "image_id", "lung_mask")} for item in splits.training[:3]]
    dataset = LungDataset(items, 32, tmp_path)
    for _ in range(3):
        for index in range(3):
            dataset[index]
    assert sorted(read) == sorted(item["lung_mask"] for item in items)


@pytest.mark.parametrize("mask", [None, "empty"])
def test_radiograph_without_lungs_is_named(splits: Splits, tmp_path: Path, mask: str | None) -> None:
    item = splits.training[0]
    Image.new("L", (64, 64)).save(tmp_path / "empty.png")
    items = [{**item, "lung_mask": mask and str(tmp_path / f"{mask}.png")}]
    with pytest.raises(InputError, match=f"{Path(item['image']).name}: expected a lung mask with lungs in it"):
        LungDataset(items, 32, tmp_path)
