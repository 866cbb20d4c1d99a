"""Augmentation of boxes: they stay on what they mark, left stays left, and the stated rule decides what is dropped."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from monai_dgm.transforms.augmentation import RandRadiographAugmentation, keep_visible, move_boxes

SIZE = 64


def motion(angle: float = 0.0, zoom: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)) -> Tensor:
    """(2, 3), output to input."""
    cos, sin = math.cos(angle) / zoom, math.sin(angle) / zoom
    return torch.tensor([[cos, -sin, shift[0]], [sin, cos, shift[1]]])


def box_of(plane: Tensor, level: float) -> Tensor:
    """Box around the pixels of a plane (S, S) above ``level``."""
    rows, cols = torch.where(plane > level)
    return torch.stack((cols.min(), rows.min(), cols.max() + 1, rows.max() + 1)).float()


def ellipse(box: Tensor, size: int) -> Tensor:
    """Plane (S, S): 1 within the ellipse in a box, 0 elsewhere."""
    at = torch.arange(size) + 0.5
    x = (at - (box[0] + box[2]) / 2) / ((box[2] - box[0]) / 2)
    y = (at - (box[1] + box[3]) / 2) / ((box[3] - box[1]) / 2)
    return ((x[None, :] ** 2 + y[:, None] ** 2) <= 1).float()


def test_a_box_stays_on_its_opacity() -> None:
    size, box = 128, torch.tensor([20.0, 30.0, 50.0, 80.0])
    plane = ellipse(box, size)
    batch = {"image": torch.stack((plane, plane))[None].repeat(40, 1, 1, 1), "boxes": [box[None].clone()] * 40}
    vary = RandRadiographAugmentation(("residue", "residue"), prob=1.0, rotation=25.0, scale=0.2, shift=0.05)
    varied = vary(batch)
    shifts = []
    for image, boxes in zip(varied["image"], varied["boxes"], strict=True):
        assert (boxes[0] - box_of(image[0], 0.5)).abs().max() <= 1.0
        shifts.append((boxes[0] - box).abs().max())
    assert max(shifts) > 5  # and it did move


def test_left_stays_left() -> None:
    vary = RandRadiographAugmentation(("image",), prob=1.0)
    image = torch.full((20, 1, SIZE, SIZE), -1.0)
    image[:, :, 10:20, 5:20] = 1.0  # upper left
    boxes = [torch.tensor([[5.0, 10.0, 20.0, 20.0]])] * 20
    for moved in vary({"image": image, "boxes": boxes})["boxes"]:
        assert (moved[:, 2] < SIZE / 2).all() and (moved[:, 3] < SIZE / 2).all()


def test_without_turning_boxes_are_exact() -> None:
    boxes = torch.tensor([[10.0, 20.0, 30.0, 60.0]])
    torch.testing.assert_close(move_boxes(boxes, motion(), SIZE), boxes)
    # seen twice as large from the middle
    expected = (boxes - SIZE / 2) * 2 + SIZE / 2
    torch.testing.assert_close(move_boxes(boxes, motion(zoom=2.0), SIZE), expected)
    # the point at the right edge comes to the middle
    torch.testing.assert_close(
        move_boxes(boxes, motion(shift=(1.0, 0.0)), SIZE), boxes - torch.tensor([32.0, 0, 32, 0])
    )


def test_a_quarter_turn_swaps_the_sides() -> None:
    (moved,) = move_boxes(torch.tensor([[22.0, 12.0, 42.0, 52.0]]), motion(angle=math.pi / 2), SIZE)
    torch.testing.assert_close(moved, torch.tensor([12.0, 22.0, 52.0, 42.0]), atol=1e-4, rtol=0)


def test_what_leaves_the_image_is_cut_off_or_dropped() -> None:
    boxes = torch.tensor([[-10.0, 5, 10, 15], [-30, 5, 10, 15], [5, 5, 15, 15], [70, 5, 90, 15], [-9, 5, 1, 15]])
    kept = keep_visible(boxes, SIZE, 0.4)
    assert kept.tolist() == [[0, 5, 10, 15], [5, 5, 15, 15]]  # a half and all of it; not a quarter, or nothing
    assert len(keep_visible(boxes, SIZE, 0.0)) == 3  # one pixel is too little to see


def test_images_without_boxes() -> None:
    batch = {"image": torch.zeros(2, 1, SIZE, SIZE), "boxes": [torch.zeros(0, 4), torch.tensor([[5.0, 5, 30, 30]])]}
    varied = RandRadiographAugmentation(prob=1.0)(batch)
    assert varied["boxes"][0].shape == (0, 4) and varied["boxes"][1].shape == (1, 4)


def test_beyond_the_border_is_air_and_no_residue() -> None:
    image = torch.stack((torch.full((SIZE, SIZE), 0.5), torch.full((SIZE, SIZE), 0.25)))[None]
    vary = RandRadiographAugmentation(
        ("image", "residue"), 1.0, rotation=0.0, scale=0.0, shift=0.5, contrast=0.0, brightness=0.0, gamma=0.0
    )
    varied = vary({"image": image.repeat(8, 1, 1, 1), "boxes": [torch.zeros(0, 4)] * 8})["image"]
    assert set(varied[:, 0].unique().round(decimals=4).tolist()) >= {-1.0, 0.5}
    assert varied[:, 0].min() == -1 and varied[:, 1].min() == 0 and varied[:, 1].max() == 0.25


def test_exposure_leaves_the_residue_alone() -> None:
    image = torch.rand(4, 2, SIZE, SIZE) - 0.5
    vary = RandRadiographAugmentation(("residue", "image"), 1.0, rotation=0.0, scale=0.0, shift=0.0)
    varied = vary({"image": image, "boxes": [torch.zeros(0, 4)] * 4})["image"]
    torch.testing.assert_close(varied[:, 0], image[:, 0])
    assert (varied[:, 1] - image[:, 1]).abs().mean() > 0.01


def test_probability_zero_changes_nothing() -> None:
    boxes = [torch.tensor([[3.0, 4.0, 20.0, 30.0]])] * 3
    image = torch.rand(3, 1, SIZE, SIZE)
    varied = RandRadiographAugmentation(prob=0.0)({"image": image, "boxes": boxes, "index": torch.arange(3)})
    torch.testing.assert_close(varied["image"], image)
    torch.testing.assert_close(varied["boxes"][0], boxes[0])
    assert varied["index"].tolist() == [0, 1, 2]


def test_the_same_seed_gives_the_same_variation() -> None:
    batch = {"image": torch.rand(3, 1, SIZE, SIZE), "boxes": [torch.tensor([[3.0, 4.0, 20.0, 30.0]])] * 3}
    torch.manual_seed(3)
    first = RandRadiographAugmentation()(batch)
    torch.manual_seed(3)
    second = RandRadiographAugmentation()(batch)
    assert torch.equal(first["image"], second["image"])
    assert all(torch.equal(a, b) for a, b in zip(first["boxes"], second["boxes"], strict=True))


def test_other_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="expected the channels image, residue, got 1"):
        RandRadiographAugmentation(("image", "residue"))(
            {"image": torch.zeros(1, 1, 8, 8), "boxes": [torch.zeros(0, 4)]}
        )
