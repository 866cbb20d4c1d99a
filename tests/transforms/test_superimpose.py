"""Superimposed opacities: what is added, where, and that the truth that comes with them is the truth."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from monai_dgm.transforms.superimpose import RandSuperimposeOpacity, blob_mask, mean_opacity, smooth_noise, superimpose


def batch(count: int = 16, size: int = 32, labels: Tensor | None = None) -> dict[str, Tensor]:
    label = (torch.arange(count) % 2).float() if labels is None else labels
    return {"image": torch.rand(count, 1, size, size) * 1.6 - 0.9, "label": label, "index": torch.arange(count)}


def test_probability_0_changes_nothing_and_1_every_normal_image() -> None:
    b = batch()
    none = RandSuperimposeOpacity(prob=0.0)(b)
    assert torch.equal(none["image"], b["image"]) and torch.equal(none["label"], b["label"])
    assert not none["superimposed"].any()
    everyone = RandSuperimposeOpacity(prob=1.0)(b)
    assert torch.equal(everyone["superimposed"], b["label"] == 0)
    assert (everyone["label"] == 1).all()
    assert everyone["superimposed"].dtype == torch.bool and everyone["label"].dtype == b["label"].dtype


def test_abnormal_images_are_left_alone() -> None:
    b = batch()
    out = RandSuperimposeOpacity(prob=1.0)(b)
    abnormal = b["label"] == 1
    assert torch.equal(out["image"][abnormal], b["image"][abnormal])


def test_truth_is_the_image_as_it_was_and_the_residue_is_what_was_added() -> None:
    b = batch()
    before = b["image"].clone()
    out = RandSuperimposeOpacity(prob=1.0)(b)
    assert torch.equal(out["true_normal"], before)
    assert torch.equal(b["image"], before)  # the given batch is not written to
    residue = out["image"] - out["true_normal"]
    assert (residue >= 0).all()  # opacities are dense: bright
    assert (residue[out["superimposed"]].amax(dim=(1, 2, 3)) > 0.02).float().mean() > 0.8
    assert out["image"].abs().max() <= 1
    assert torch.equal(out["index"], b["index"])  # other entries pass


def test_a_middling_probability_superimposes_on_about_that_share() -> None:
    b = batch(400, 8, torch.zeros(400))
    assert RandSuperimposeOpacity(prob=0.3)(b)["superimposed"].float().mean().item() == pytest.approx(0.3, abs=0.08)


def test_same_random_state_same_opacities() -> None:
    b, transform = batch(), RandSuperimposeOpacity(prob=0.7)
    torch.manual_seed(5)
    first = transform(b)
    torch.manual_seed(5)
    again = transform(b)
    other = transform(b)
    assert torch.equal(first["image"], again["image"]) and not torch.equal(first["image"], other["image"])


def test_opacities_lie_where_lungs_are() -> None:
    masks = RandSuperimposeOpacity(prob=1.0).sample_mask(1000, 32, torch.device("cpu"))
    assert masks.shape == (1000, 1, 32, 32)
    assert masks.min() >= 0 and masks.max() <= 1
    where = masks.mean(dim=(0, 1))
    between, edges = where[:, 15:17].mean(), torch.cat((where[:, :2], where[:, -2:]), dim=1).mean()
    for lung in (where[:, 7:12].mean(), where[:, 20:25].mean()):
        assert lung > 1.2 * between and lung > 2.5 * edges
    assert where[10:22].mean() > 4 * torch.cat((where[:2], where[-2:])).mean()


def test_a_blob_without_raggedness_is_an_ellipse() -> None:
    centre, radius = torch.tensor([[[0.25, 0.5]]]), torch.tensor([[[0.1, 0.3]]])  # x then y
    mask = blob_mask(64, centre, radius, torch.zeros(1, 1), torch.full((1, 1), 0.05))[0, 0]
    axis = (torch.arange(64) + 0.5) / 64
    distance = (((axis[None, :] - 0.25) / 0.1) ** 2 + ((axis[:, None] - 0.5) / 0.3) ** 2).sqrt()
    assert (mask[distance < 0.9] > 0.95).all() and (mask[distance > 1.1] < 0.05).all()


def test_superimposing_adds_and_replacing_goes_towards_the_opacity() -> None:
    normal, mask = torch.rand(2, 1, 8, 8) - 0.7, torch.zeros(2, 1, 8, 8)
    mask[:, :, 2:5, 2:5] = 1.0
    density = torch.tensor([0.4, 0.4])
    out = superimpose(normal, mask, density, torch.tensor([0.0, 1.0]))
    inside = mask[0] > 0
    torch.testing.assert_close(out[0][inside], normal[0][inside] + 0.4)
    assert out[1][inside].std() < 1e-6  # what lay beneath does not show through
    assert torch.equal(out[:, :, 5:], normal[:, :, 5:])
    assert (out >= normal).all()


def test_replacing_keeps_what_is_brighter_already() -> None:
    bright = torch.full((1, 1, 4, 4), 0.95)
    out = superimpose(bright, torch.ones(1, 1, 4, 4), torch.tensor([0.2]), torch.tensor([1.0]))
    assert torch.equal(out, bright)


def test_result_stays_in_range() -> None:
    normal = torch.rand(4, 1, 8, 8) * 2 - 1
    out = superimpose(normal, torch.ones(4, 1, 8, 8), torch.full((4,), 0.9), torch.rand(4))
    assert out.max() <= 1 and out.min() >= -1


@pytest.mark.parametrize("cells", [8, 24])
def test_smooth_noise_is_smooth_with_about_unit_variance(cells: int) -> None:
    field = smooth_noise((64, 1, 96, 96), cells)
    assert field.mean().abs() < 0.1
    assert 0.7 < field.std() < 1.3
    assert (field[..., 1:] - field[..., :-1]).std() < 0.5 * field.std()


def test_probabilities_outside_0_to_1_are_refused() -> None:
    with pytest.raises(ValueError, match=r"prob: expected a number in \[0, 1\], got 1.5"):
        RandSuperimposeOpacity(prob=1.5)


def test_the_mean_opacity_is_two_lungs_and_leaves_the_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    mean = mean_opacity(48, 200)
    assert torch.equal(torch.rand(3), expected)
    assert mean.shape == (48, 48) and mean.min() >= 0 and mean.max() < 1
    assert mean[25, 14] > 1.3 * mean[25, 24] and mean[25, 34] > 2 * mean[2, 34]  # lungs, not mediastinum
    assert (mean == mean_opacity(48, 200)).all()
