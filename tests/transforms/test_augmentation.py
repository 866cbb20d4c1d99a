"""Augmentation of position and exposure, of images, residues and masks; that of boxes is in test_augmentation_boxes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from monai_dgm.transforms.augmentation import RandMirror, RandRadiographAugmentation

NO_EXPOSURE = {"contrast": 0.0, "brightness": 0.0, "gamma": 0.0}
NO_MOTION = {"rotation": 0.0, "scale": 0.0, "shift": 0.0}
STILL = {**NO_MOTION, **NO_EXPOSURE}
BOTH = ("image", "residue")
LUNGS: dict[str, Any] = {
    "mask_key": "label",
    "rotation": 12.0,
    "scale": 0.2,
    "shift": 0.1,
    "contrast": 0.3,
    "brightness": 0.25,
}
LUNGS |= {"gamma": 0.5, "shading": 0.3, "blur": 1.0, "noise": 0.06}
PLAIN = {"contrast": 0.0, "brightness": 0.0, "gamma": 0.0, "shading": 0.0, "noise": 0.0, "blur": 0.0}


def batch(count: int = 6, size: int = 32, channels: int = 1) -> dict[str, Tensor]:
    return {"image": torch.rand(count, channels, size, size) * 2 - 1, "label": torch.zeros(count)}


def varied(image: Tensor, **settings: float) -> Tensor:
    return RandRadiographAugmentation(prob=1.0, **{**STILL, **settings})({"image": image})["image"]


def test_probability_0_changes_nothing() -> None:
    b = batch()
    out = RandRadiographAugmentation(prob=0.0)(b)
    assert torch.equal(out["image"], b["image"]) and out["label"] is b["label"]


def test_no_limits_no_change() -> None:
    image = batch()["image"]
    torch.testing.assert_close(varied(image), image, rtol=1e-4, atol=1e-5)


def test_stays_in_range_and_leaves_its_input_alone() -> None:
    b = batch()
    before = b["image"].clone()
    out = RandRadiographAugmentation(prob=1.0, contrast=0.5, brightness=0.5)(b)["image"]
    assert out.shape == before.shape and out.dtype == torch.float32
    assert out.abs().max() <= 1
    assert torch.equal(b["image"], before) and not torch.equal(out, before)


def test_about_the_asked_share_of_images_is_varied() -> None:
    b = batch(400, 4)
    changed = (RandRadiographAugmentation(prob=0.4)(b)["image"] != b["image"]).flatten(1).any(dim=1)
    assert changed.float().mean().item() == pytest.approx(0.4, abs=0.08)


def test_same_random_state_same_variation() -> None:
    b, transform = batch(), RandRadiographAugmentation()
    torch.manual_seed(5)
    first = transform(b)["image"]
    torch.manual_seed(5)
    assert torch.equal(transform(b)["image"], first)


def test_beyond_the_border_is_air() -> None:
    out = varied(torch.full((20, 1, 32, 32), 0.8), shift=0.4)
    corners = torch.stack((out[..., 0, 0], out[..., 0, -1], out[..., -1, 0], out[..., -1, -1]))
    assert (corners == -1).any(dim=0).all()  # each image was shifted, and nothing is repeated or mirrored


def centre_of_mass(image: Tensor) -> tuple[Tensor, Tensor]:
    weight, axis = image[:, 0] + 1, (torch.arange(image.shape[-1]) + 0.5) / image.shape[-1]
    total = weight.sum(dim=(1, 2))
    return (weight * axis).sum(dim=(1, 2)) / total, (weight * axis[:, None]).sum(dim=(1, 2)) / total


def spot(x: float, y: float, count: int = 50, size: int = 64) -> Tensor:
    axis = (torch.arange(size) + 0.5) / size
    blob = torch.exp(-((axis[None, :] - x) ** 2 + (axis[:, None] - y) ** 2) / 0.002)
    return (2 * blob - 1).expand(count, 1, size, size)


def test_shifts_are_up_to_the_stated_fraction_of_the_side_in_both_directions() -> None:
    x, y = centre_of_mass(varied(spot(0.5, 0.5), shift=0.1))
    for moved in (x - 0.5, y - 0.5):
        assert 0.07 < moved.abs().max() < 0.102
        assert moved.min() < 0 < moved.max()
    assert torch.corrcoef(torch.stack((x, y)))[0, 1].abs() < 0.5  # drawn independently


def test_sides_are_never_swapped() -> None:
    image = RandRadiographAugmentation(prob=1.0)({"image": spot(0.25, 0.35)})["image"]
    brightest = image.flatten(1).argmax(dim=1)
    assert (brightest % 64 < 26).all() and (brightest // 64 < 32).all()


def test_rotation_keeps_the_distance_to_the_centre_and_is_up_to_the_stated_angle() -> None:
    x, y = centre_of_mass(varied(spot(0.75, 0.5), rotation=20.0))
    radius = ((x - 0.5) ** 2 + (y - 0.5) ** 2).sqrt()
    angle = torch.rad2deg(torch.atan2(y - 0.5, x - 0.5))
    torch.testing.assert_close(radius, torch.full((50,), 0.25), rtol=0.02, atol=0)
    assert 15 < angle.abs().max() < 20.2 and angle.min() < 0 < angle.max()


def test_scale_changes_size_about_the_centre() -> None:
    x, y = centre_of_mass(varied(spot(0.75, 0.5), scale=0.2))
    zoom = (x - 0.5) / 0.25
    assert 0.78 < zoom.min() < 0.9 and 1.1 < zoom.max() < 1.27
    torch.testing.assert_close(y, torch.full((50,), 0.5), rtol=0, atol=1e-3)


def test_exposure_keeps_the_order_of_grey_values() -> None:
    ramp = torch.linspace(-1, 1, 16).expand(30, 1, 16, 16)
    out = varied(ramp, contrast=0.3, brightness=0.2, gamma=0.5)
    assert (out[..., 1:] >= out[..., :-1]).all()
    assert out.std(dim=0).max() > 0.05  # another one for each image


def test_contrast_is_about_mid_grey_and_brightness_is_added() -> None:
    grey = torch.zeros(20, 1, 4, 4)
    torch.testing.assert_close(varied(grey, contrast=0.3), grey)
    moved = varied(grey, brightness=0.2)
    assert 0.1 < moved.abs().max() <= 0.2 and moved.std(dim=(1, 2, 3)).max() < 1e-6


@pytest.mark.parametrize("channels", [("image", "residue"), ("residue", "image")])
def test_both_channels_move_alike(channels: tuple[str, str]) -> None:
    plane = torch.rand(6, 1, 32, 32)
    both = {"image": plane - 1, "residue": plane}  # the same above what lies beyond the border
    stacked = torch.cat([both[name] for name in channels], dim=1)
    out = RandRadiographAugmentation(channels, prob=1.0, **NO_EXPOSURE)({"image": stacked})["image"]
    image, residue = out[:, channels.index("image")], out[:, channels.index("residue")]
    torch.testing.assert_close(image + 1, residue, rtol=0, atol=1e-5)
    assert not torch.allclose(out, stacked, atol=1e-2)


def test_exposure_leaves_the_residue_alone() -> None:
    b = batch(channels=2)
    out = RandRadiographAugmentation(BOTH, prob=1.0, **NO_MOTION)(b)["image"]
    torch.testing.assert_close(out[:, 1], b["image"][:, 1], rtol=0, atol=1e-4)
    assert (out[:, 0] - b["image"][:, 0]).abs().max() > 0.05


def test_beyond_the_border_are_air_and_no_residue() -> None:
    out = RandRadiographAugmentation(BOTH, prob=1.0, shift=0.4, **NO_EXPOSURE)(
        {"image": torch.full((20, 2, 32, 32), 0.7)}
    )
    corners = torch.stack([out["image"][..., r, c] for r in (0, -1) for c in (0, -1)])  # (4, B, C)
    assert (corners[..., 0] == -1).any(dim=0).all() and (corners[..., 1].abs() < 1e-6).any(dim=0).all()


def test_residues_alone_are_never_re_exposed() -> None:
    out = RandRadiographAugmentation(("residue",), prob=1.0, **NO_MOTION)(b := batch())["image"]
    torch.testing.assert_close(out, b["image"], rtol=0, atol=1e-4)


def test_other_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="expected the channels image, residue, got 1"):
        RandRadiographAugmentation(BOTH)(batch())


@pytest.fixture
def lungs() -> dict[str, Tensor]:
    label = torch.zeros(8, 1, 48, 48)
    label[:, :, 10:34, 8:20] = 1
    label[:, :, 14:36, 26:40] = 1
    return {"image": 0.6 - 1.2 * label, "label": label, "index": torch.arange(8)}


def test_lungs_shapes_ranges_and_other_entries_stay(lungs: dict[str, Tensor]) -> None:
    varied = RandRadiographAugmentation(**LUNGS)(lungs)
    assert varied["image"].shape == lungs["image"].shape and varied["label"].shape == lungs["label"].shape
    assert varied["image"].abs().max() <= 1 and set(varied["label"].unique().tolist()) <= {0.0, 1.0}
    assert varied["label"].dtype == lungs["label"].dtype and torch.equal(varied["index"], lungs["index"])
    assert not torch.equal(varied["image"], lungs["image"]) and not torch.equal(varied["label"], lungs["label"])


def test_mask_moves_with_the_image(lungs: dict[str, Tensor]) -> None:
    """Bright lungs in air: what comes in from beyond the border is air, so image and mask stay one function."""
    varied = RandRadiographAugmentation(prob=1.0, **{**LUNGS, **PLAIN})({**lungs, "image": 2 * lungs["label"] - 1})
    differ = (varied["image"] > 0) != (varied["label"] > 0)
    assert differ.float().mean() < 0.01  # blurred corners
    assert ((varied["label"] - lungs["label"]).abs().mean(dim=(1, 2, 3)) > 0.01).sum() >= 6


def test_standing_still_leaves_the_mask(lungs: dict[str, Tensor]) -> None:
    varied = RandRadiographAugmentation(prob=1.0, **{**LUNGS, **NO_MOTION})(lungs)
    assert torch.equal(varied["label"], lungs["label"])
    assert not torch.equal(varied["image"], lungs["image"])


def test_probability_zero_leaves_image_and_mask(lungs: dict[str, Tensor]) -> None:
    varied = RandRadiographAugmentation(prob=0.0, **LUNGS)(lungs)
    assert torch.equal(varied["image"], lungs["image"]) and torch.equal(varied["label"], lungs["label"])


def test_lungs_of_a_batch_vary_differently_and_repeatably(lungs: dict[str, Tensor]) -> None:
    torch.manual_seed(3)
    one = RandRadiographAugmentation(prob=1.0, **LUNGS)(lungs)
    torch.manual_seed(3)
    other = RandRadiographAugmentation(prob=1.0, **LUNGS)(lungs)
    assert torch.equal(one["image"], other["image"]) and torch.equal(one["label"], other["label"])
    assert not torch.equal(one["image"][0], one["image"][1])


def test_lungs_are_never_flipped(lungs: dict[str, Tensor]) -> None:
    lungs["label"][:, :, :, 24:] = 0
    for _ in range(5):
        columns = RandRadiographAugmentation(prob=1.0, **LUNGS)(lungs)["label"].sum(dim=(1, 2))
        places = (columns * torch.arange(48)).sum(-1) / columns.sum(-1)
        assert (places < 24).all()


def test_default_draws_the_random_numbers_of_the_decomposition_in_its_order() -> None:
    """The first image of a seeded batch, computed step by step as trainings so far have done."""
    image = batch(2, 16)["image"]
    torch.manual_seed(4)
    out = RandRadiographAugmentation(prob=1.0)({"image": image})["image"]
    torch.manual_seed(4)
    torch.rand(2)
    drawn = [2 * torch.rand(2) - 1 for _ in range(7)]
    angle, zoom = torch.tensor(math.radians(6.0)) * drawn[0], 1 + 0.08 * drawn[1]
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    rows = (torch.stack((cos, -sin, 0.08 * drawn[2]), 1), torch.stack((sin, cos, 0.08 * drawn[3]), 1))
    grid = torch.nn.functional.affine_grid(torch.stack(rows, 1), [2, 1, 16, 16], align_corners=False)
    moved = torch.nn.functional.grid_sample(image + 1, grid, align_corners=False) - 1
    gamma, contrast, brightness = (
        value[:, None, None, None] for value in (torch.exp(0.2 * drawn[4]), 1 + 0.15 * drawn[5], 0.1 * drawn[6])
    )
    expected = ((2 * ((moved + 1) / 2).clamp(0, 1) ** gamma - 1) * contrast + brightness).clamp(-1, 1)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-5)


def test_unknown_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="expected some of image, residue, .*, got normal"):
        RandRadiographAugmentation(("normal",))


def test_mirror_turns_about_the_asked_share_of_images_left_to_right_with_all_their_channels() -> None:
    image = torch.rand(400, 2, 4, 6)
    b = {"image": image, "label": torch.zeros(400)}
    out = RandMirror(0.3)(b)
    mirrored = (out["image"] == image.flip(-1)).flatten(1).all(dim=1)
    assert ((out["image"] == image).flatten(1).all(dim=1) ^ mirrored).all()
    assert mirrored.float().mean().item() == pytest.approx(0.3, abs=0.08)
    assert out["label"] is b["label"]


def test_mirror_of_probability_0_takes_no_random_number_and_changes_nothing() -> None:
    b = batch()
    state = torch.get_rng_state()
    assert RandMirror(0.0)(b) is b and torch.equal(torch.get_rng_state(), state)
    assert torch.equal(RandMirror(1.0)(b)["image"], b["image"].flip(-1))
    for wrong in (-0.1, 1.1):
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            RandMirror(wrong)


def test_padded_boxes_move_like_lists_of_boxes() -> None:
    torch.manual_seed(0)
    lists = [torch.tensor([[4.0, 8, 30, 40], [50, 2, 63, 20]]), torch.zeros(0, 4), torch.tensor([[0.0, 40, 9, 60]])]
    padded = torch.nn.utils.rnn.pad_sequence(lists, batch_first=True)
    augmentation = RandRadiographAugmentation(prob=1.0, rotation=20.0, scale=0.3, shift=0.3)
    results = []
    for boxes in (lists, padded):
        torch.manual_seed(3)
        results.append(augmentation({"image": torch.zeros(3, 1, 64, 64), "boxes": boxes})["boxes"])
    assert results[1].shape == padded.shape
    for own, rows in zip(*results, strict=True):
        torch.testing.assert_close(rows[rows[:, 2] > rows[:, 0]], own)
        assert (rows[rows[:, 2] <= rows[:, 0]] == 0).all()
