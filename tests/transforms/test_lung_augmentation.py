"""Variation of image and lung mask: together where it moves, the image alone where it does not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from monai_dgm.transforms.lung_augmentation import RandLungAugmentation

STILL = {"rotation": 0.0, "scale": 0.0, "shift": 0.0}
PLAIN = {"contrast": 0.0, "brightness": 0.0, "gamma": 0.0, "shading": 0.0, "noise": 0.0}


@pytest.fixture
def batch() -> dict[str, Tensor]:
    label = torch.zeros(8, 1, 48, 48)
    label[:, :, 10:34, 8:20] = 1
    label[:, :, 14:36, 26:40] = 1
    return {"image": 0.6 - 1.2 * label, "label": label, "index": torch.arange(8)}


def test_shapes_ranges_and_other_entries_stay(batch: dict[str, Tensor]) -> None:
    varied = RandLungAugmentation()(batch)
    assert varied["image"].shape == batch["image"].shape and varied["label"].shape == batch["label"].shape
    assert varied["image"].abs().max() <= 1 and set(varied["label"].unique().tolist()) <= {0.0, 1.0}
    assert varied["label"].dtype == batch["label"].dtype and torch.equal(varied["index"], batch["index"])
    assert not torch.equal(varied["image"], batch["image"]) and not torch.equal(varied["label"], batch["label"])


def test_mask_moves_with_the_image(batch: dict[str, Tensor]) -> None:
    """Bright lungs in air: what comes in from beyond the border is air, so image and mask stay one function."""
    varied = RandLungAugmentation(prob=1.0, **PLAIN)({**batch, "image": 2 * batch["label"] - 1})
    differ = (varied["image"] > 0) != (varied["label"] > 0)
    assert differ.float().mean() < 0.01  # blurred corners
    assert ((varied["label"] - batch["label"]).abs().mean(dim=(1, 2, 3)) > 0.01).sum() >= 6


def test_standing_still_leaves_the_mask(batch: dict[str, Tensor]) -> None:
    varied = RandLungAugmentation(prob=1.0, **STILL)(batch)
    assert torch.equal(varied["label"], batch["label"])
    assert not torch.equal(varied["image"], batch["image"])


def test_probability_zero_is_the_identity(batch: dict[str, Tensor]) -> None:
    varied = RandLungAugmentation(prob=0.0)(batch)
    assert torch.equal(varied["image"], batch["image"]) and torch.equal(varied["label"], batch["label"])


def test_images_of_a_batch_vary_differently_and_repeatably(batch: dict[str, Tensor]) -> None:
    torch.manual_seed(3)
    one = RandLungAugmentation(prob=1.0)(batch)
    torch.manual_seed(3)
    other = RandLungAugmentation(prob=1.0)(batch)
    assert torch.equal(one["image"], other["image"]) and torch.equal(one["label"], other["label"])
    assert not torch.equal(one["image"][0], one["image"][1])


def test_never_flips(batch: dict[str, Tensor]) -> None:
    batch["label"][:, :, :, 24:] = 0
    for _ in range(5):
        columns = RandLungAugmentation(prob=1.0)(batch)["label"].sum(dim=(1, 2))
        places = (columns * torch.arange(48)).sum(-1) / columns.sum(-1)
        assert (places < 24).all()
