"""Opacities lie in the patient's own lungs, their truth is told, and transplanted ones keep their gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from monai_dgm.transforms.lung_opacity import RandLungOpacity, blend, draw_in_lungs
from monai_dgm.transforms.truth_augmentation import box_weights

SIDE, COUNT = 96, 12


def batch(abnormal: int = 0) -> dict[str, Tensor]:
    """Flat images with one lung each, left for even images, right for odd ones; the last ``abnormal`` have a box."""
    torch.manual_seed(0)
    lungs = torch.zeros(COUNT, 1, SIDE, SIDE)
    lungs[::2, :, 20:80, 8:40] = 1
    lungs[1::2, :, 20:80, 56:88] = 1
    image = torch.full((COUNT, 1, SIDE, SIDE), -0.5) + 0.02 * torch.randn(COUNT, 1, SIDE, SIDE)
    label, boxes = torch.zeros(COUNT), torch.zeros(COUNT, 1, 4)
    if abnormal:
        label[-abnormal:] = 1
        boxes[-abnormal:] = torch.tensor([60.0, 40.0, 84.0, 72.0])
        image[-abnormal:, :, 40:72, 60:84] += 0.6
    return {
        "image": image, "label": label, "lungs": lungs, "box_weight": box_weights(boxes, SIDE),
        "complete": label == 1, "category": label.long(),
    }  # fmt: skip


def test_places_are_drawn_in_the_lungs() -> None:
    lungs = batch()["lungs"]
    places = draw_in_lungs(lungs, 50)
    x, y = (places[..., 0] * SIDE).long(), (places[..., 1] * SIDE).long()
    inside = torch.stack([lungs[i, 0, y[i], x[i]] for i in range(COUNT)])
    assert inside.mean() > 0.85  # but for cells on the edge, 3.4 pixels wide
    assert (places[::2, :, 0] < 0.5).all() and (places[1::2, :, 0] > 0.5).all()


def test_an_image_without_lungs_takes_places_anywhere() -> None:
    places = draw_in_lungs(torch.zeros(2, 1, SIDE, SIDE), 200)
    assert places.min() < 0.1 and places.max() > 0.9


def test_opacities_lie_in_the_own_lungs_and_their_truth_is_told() -> None:
    plain = batch()
    found = RandLungOpacity(1.0, transplant_prob=0.0, darken_prob=0.0)(plain)
    added = found["image"] - found["true_normal"]
    near = torch.nn.functional.max_pool2d(plain["lungs"], 13, stride=1, padding=6)
    assert (added * (1 - near)).abs().max() < 0.02
    assert added.min() > -1e-6 and (added.amax(dim=(1, 2, 3)) > 0.03).all()
    assert found["superimposed"].all() and (found["label"] == 1).all() and (found["category"] == -1).all()
    torch.testing.assert_close(found["true_normal"], plain["image"])
    weighted = found["box_weight"] > 0
    assert found["complete"].all() and weighted.flatten(1).any(dim=1).all()
    assert (added[weighted].mean() > 5 * added[~weighted].mean()).all()


def test_darkening_ones_are_darker_and_promise_no_opacity() -> None:
    found = RandLungOpacity(1.0, transplant_prob=0.0, darken_prob=1.0)(batch())
    assert (found["image"] - found["true_normal"]).max() < 1e-6
    assert not found["complete"].any() and found["superimposed"].all()


def test_abnormal_images_and_those_not_chosen_stay_as_they_are() -> None:
    plain = batch(abnormal=4)
    found = RandLungOpacity(0.5)(plain)
    untouched = ~found["superimposed"]
    assert untouched[-4:].all() and untouched[:-4].any() and found["superimposed"].any()
    for name in ("image", "label", "box_weight", "complete", "category"):
        torch.testing.assert_close(found[name][untouched], plain[name][untouched])


def test_real_opacities_move_to_their_own_place() -> None:
    plain = batch(abnormal=4)
    found = RandLungOpacity(1.0, transplant_prob=1.0)(plain)
    added = (found["image"] - found["true_normal"])[:-4, 0]
    assert (added[:, 50:62, 68:76].mean(dim=(1, 2)) > 0.3).all()
    assert added[:, :36].abs().max() < 1e-4 and added[:, :, :56].abs().max() < 1e-4
    assert (found["box_weight"][:-4, 0, 50:62, 68:76] > 0).all()


def test_without_a_donor_opacities_are_drawn() -> None:
    found = RandLungOpacity(1.0, transplant_prob=1.0, darken_prob=0.0)(batch())
    added = found["image"] - found["true_normal"]
    assert (added[::2, :, :, 48:].abs().amax(dim=(1, 2, 3)) < 0.02).all()  # in the own lung, the left half
    assert (added.amax(dim=(1, 2, 3)) > 0.03).all()


def test_blending_takes_gradients_from_the_donor_and_the_level_from_the_image() -> None:
    normal = torch.zeros(1, 1, SIDE, SIDE)
    ramp = torch.linspace(0, 0.4, SIDE).expand(1, 1, SIDE, SIDE)
    donor = 0.7 + 0 * ramp  # flat, but on another level: nothing of it may show
    mask = torch.zeros(1, 1, SIDE, SIDE)
    mask[..., 24:72, 24:72] = 1
    assert blend(normal, donor, mask).abs().max() < 0.02
    bump = donor.clone()
    bump[..., 40:56, 40:56] += 0.3
    blended = blend(normal, bump, mask)
    assert blended[..., 44:52, 44:52].mean().item() == pytest.approx(0.3, abs=0.06)
    assert (blended * (1 - mask)).abs().max() == 0


@pytest.mark.parametrize("name", ["prob", "transplant_prob", "darken_prob"])
def test_probabilities_are_in_0_1(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        RandLungOpacity(**{name: -0.1})


@pytest.mark.parametrize("sizes", [torch.zeros(3, 2), torch.ones(4), torch.tensor([[0.1, 1.2]])])
def test_sizes_are_fractions_of_the_side(sizes: Tensor) -> None:
    with pytest.raises(ValueError, match="sizes"):
        RandLungOpacity(sizes=sizes)
