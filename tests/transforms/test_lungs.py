"""From probabilities to lungs: cleaning, boxes, right and left."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from monai_dgm.readers.read import read_mask
from monai_dgm.transforms.boxes import box_of_mask
from monai_dgm.transforms.lungs import (
    CleanLungMaskd,
    _fill_holes,
    clean_lung_mask,
    lung_probability,
    split_lungs,
)

SIDE = 40


def probability(*boxes: tuple[int, int, int, int], bridge: int = 0) -> NDArray[np.float32]:
    """0.9 in boxes (top, bottom, left, right), 0.1 elsewhere; ``bridge`` rows join the columns 10 to 30."""
    plane = np.full((SIDE, SIDE), 0.1, dtype=np.float32)
    for top, bottom, left, right in boxes:
        plane[top:bottom, left:right] = 0.9
    if bridge:
        plane[20 : 20 + bridge, 10:30] = 0.9
    return plane


RIGHT, LEFT = (5, 35, 4, 16), (8, 33, 24, 36)


def test_two_lungs_are_kept_as_they_are() -> None:
    plane = probability(RIGHT, LEFT)
    assert np.array_equal(clean_lung_mask(plane), plane > 0.5)


def test_holes_are_filled_and_small_pieces_left_out() -> None:
    plane = probability(RIGHT, LEFT, (0, 2, 0, 2))
    plane[15:18, 8:11] = 0.1
    assert np.array_equal(clean_lung_mask(plane), probability(RIGHT, LEFT) > 0.5)


def test_of_three_large_pieces_the_two_largest_are_kept() -> None:
    assert np.array_equal(clean_lung_mask(probability(RIGHT, LEFT, (36, 40, 0, 20))), probability(RIGHT, LEFT) > 0.5)


@pytest.mark.parametrize("second", [(5, 8, 30, 34), (5, 7, 24, 36)])
def test_a_piece_much_smaller_than_the_first_is_no_lung(second: tuple[int, int, int, int]) -> None:
    assert np.array_equal(clean_lung_mask(probability(RIGHT, second)), probability(RIGHT) > 0.5)


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_nothing_above_the_threshold_is_no_lung(level: float) -> None:
    mask = clean_lung_mask(np.full((SIDE, SIDE), level))
    assert mask.dtype == bool and not mask.any() and box_of_mask(mask) is None
    assert not any(lung.any() for lung in split_lungs(mask))


def test_specks_alone_are_no_lung() -> None:
    plane = probability((3, 5, 3, 5))
    assert not clean_lung_mask(plane).any()


def test_cleaning_twice_is_cleaning_once() -> None:
    plane = np.random.default_rng(0).random((SIDE, SIDE))
    once = clean_lung_mask(plane)
    assert np.array_equal(clean_lung_mask(once.astype(float)), once)


def test_planes_only() -> None:
    with pytest.raises(ValueError, match=r"expected shape \(S, S\), got \(1, 4, 4\)"):
        clean_lung_mask(np.zeros((1, 4, 4)))


def test_box_is_that_of_both_lungs() -> None:
    box = box_of_mask(clean_lung_mask(probability(RIGHT, LEFT)))
    assert box is not None and box.dtype == np.float32 and box.tolist() == [4, 5, 36, 35]


def test_the_patients_right_lung_is_on_the_images_left() -> None:
    right, left = split_lungs(probability(RIGHT, LEFT) > 0.5)
    assert np.array_equal(right, probability(RIGHT) > 0.5) and np.array_equal(left, probability(LEFT) > 0.5)


def test_mirrored_image_swaps_the_lungs() -> None:
    mask = probability(RIGHT, LEFT) > 0.5
    right, left = split_lungs(mask[:, ::-1])
    assert np.array_equal(left[:, ::-1], split_lungs(mask)[0]) and np.array_equal(right[:, ::-1], split_lungs(mask)[1])


def test_both_lungs_far_to_one_side_are_still_two() -> None:
    right, left = split_lungs(probability((5, 35, 1, 8), (5, 35, 10, 17)) > 0.5)
    assert right[:, :9].sum() == left[:, 9:].sum() == 210 and not right[:, 9:].any()


def test_lungs_in_one_piece_are_cut_where_it_is_narrow() -> None:
    mask = probability(RIGHT, LEFT, bridge=3) > 0.5
    right, left = split_lungs(mask)
    assert np.array_equal(right | left, mask) and not (right & left).any()
    assert right[:, :16].sum() == (probability(RIGHT) > 0.5).sum() and left[:, 24:].sum() == mask[:, 24:].sum()


@pytest.mark.parametrize(("columns", "side"), [((3, 17), 0), ((25, 38), 1)])
def test_one_lung_alone_is_not_cut(columns: tuple[int, int], side: int) -> None:
    rows, cols = np.mgrid[:SIDE, :SIDE]
    middle = sum(columns) / 2
    mask = ((cols - middle) / (columns[1] - columns[0]) * 2) ** 2 + ((rows - 20) / 15) ** 2 < 1
    lungs = split_lungs(mask)
    assert np.array_equal(lungs[side], mask) and not lungs[1 - side].any()


def test_pieces_go_to_their_side() -> None:
    small = (36, 38, 10, 14)  # a piece of the right lung behind the diaphragm
    right, left = split_lungs(probability(RIGHT, LEFT, small) > 0.5)
    assert right[36:38, 10:14].all() and np.array_equal(left, probability(LEFT) > 0.5)


@pytest.mark.slow
def test_drawn_masks_of_real_radiographs_survive_the_cleaning(real_data: Path) -> None:
    """The sizes that are plausible for a lung leave every drawn lung, of sick patients too."""
    with open(real_data / "cxr" / "manifest.csv", newline="", encoding="utf-8") as stream:
        files = [row["lung_mask"] for row in csv.DictReader(stream) if row["lung_mask"]]
    assert len(files) > 700
    for file in files:
        mask = read_mask(real_data / "cxr" / file)
        cleaned = clean_lung_mask(mask.astype(np.float32))
        right, left = split_lungs(cleaned)
        assert 2 * (cleaned & mask).sum() / (cleaned.sum() + mask.sum()) > 0.96, file
        assert right.any() and left.any() and np.argwhere(right)[:, 1].mean() < np.argwhere(left)[:, 1].mean(), file


class Brightness(torch.nn.Module):
    """Takes what is dark for lung; notes the shape it saw."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.seen = image.shape
        return -8 * image


def image_of(plane: NDArray[np.float32]) -> torch.Tensor:
    return torch.from_numpy(1 - 2 * plane)[None, None]


@pytest.mark.parametrize("size", [None, 40, 20, 80])
def test_network_sees_its_own_side_and_the_image_keeps_its_own(size: int | None) -> None:
    network, image = Brightness(), image_of(probability(RIGHT, LEFT))
    result = lung_probability(network, image, size)
    assert result.shape == image.shape and network.seen[2:] == (size or SIDE,) * 2
    assert ((result[0, 0].numpy() > 0.5) != (probability(RIGHT, LEFT) > 0.5)).mean() < 0.04


def test_dictionary_transform() -> None:
    plane = probability(RIGHT, LEFT)
    cleaned = CleanLungMaskd()({"pred": torch.from_numpy(plane)[None]})["pred"]
    batch = CleanLungMaskd()({"pred": torch.from_numpy(np.stack([plane, 0 * plane]))[:, None]})["pred"]
    assert batch.shape == (2, 1, SIDE, SIDE) and torch.equal(batch[0], cleaned) and not batch[1].any()
    assert cleaned.dtype == torch.float32 and np.array_equal(cleaned[0].numpy(), (plane > 0.5).astype(np.float32))


def test_holes_are_those_of_scipy() -> None:
    generator = np.random.default_rng(1)
    for share in (0.3, 0.5, 0.7):
        mask = generator.random((40, 50)) < share
        assert np.array_equal(_fill_holes(mask), ndimage.binary_fill_holes(mask))
    assert _fill_holes(np.ones((4, 4), dtype=bool)).all() and not _fill_holes(np.zeros((4, 4), dtype=bool)).any()
