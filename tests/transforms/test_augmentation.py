"""Variation of position and exposure."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from monai_dgm.transforms.augmentation import RandMirror, RandRadiographAugmentation

STILL = {"rotation": 0.0, "scale": 0.0, "shift": 0.0, "contrast": 0.0, "brightness": 0.0, "gamma": 0.0}


def batch(count: int = 6, size: int = 32) -> dict[str, Tensor]:
    return {"image": torch.rand(count, 1, size, size) * 2 - 1, "label": torch.zeros(count)}


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
