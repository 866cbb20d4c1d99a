"""Planes go where the image goes, and nothing but the image is exposed anew."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from monai_dgm.transforms.truth_augmentation import RandTruthAugmentation, box_weights

SIDE = 64


def test_box_weights_give_each_box_its_share() -> None:
    boxes = torch.tensor([[[4.0, 8.0, 20.0, 16.0], [40.0, 40.0, 48.0, 44.0]], [[0.0, 0.0, 0.0, 0.0]] * 2])
    for power in (0.0, 0.5, 1.0):
        weight = box_weights(boxes, SIDE, power)
        assert weight.shape == (2, 1, SIDE, SIDE)
        assert weight[0, 0, 8:16, 4:20].sum().item() == pytest.approx(128 ** (1 - power), rel=1e-5)
        assert weight[0, 0, 40:44, 40:48].sum().item() == pytest.approx(32 ** (1 - power), rel=1e-5)
        assert not weight[1].any()
        assert weight[0].sum().item() == pytest.approx(128 ** (1 - power) + 32 ** (1 - power), rel=1e-5)


def test_boxes_that_overlap_add_up() -> None:
    weight = box_weights(torch.tensor([[[0.0, 0.0, 4.0, 4.0], [2.0, 2.0, 6.0, 6.0]]]), SIDE, 0.0)
    assert weight[0, 0, 1, 1] == 1 and weight[0, 0, 3, 3] == 2 and weight[0, 0, 5, 5] == 1


def marked() -> dict[str, Tensor]:
    """A bright square, and the same square as plane."""
    plane = torch.zeros(8, 1, SIDE, SIDE)
    plane[:, :, 20:36, 12:26] = 1.0
    return {"image": plane * 1.5 - 1, "box_weight": plane.clone(), "lungs": plane.clone(), "label": torch.zeros(8)}


def test_planes_follow_the_image_exactly() -> None:
    torch.manual_seed(0)
    still = {"contrast": 0.0, "brightness": 0.0, "gamma": 0.0}
    varied = RandTruthAugmentation(prob=1.0, rotation=15.0, scale=0.2, shift=0.1, **still)(marked())
    for name in ("box_weight", "lungs"):
        torch.testing.assert_close(varied[name] * 1.5 - 1, varied["image"], atol=1e-5, rtol=0)
    places = [tuple(int(v) for v in (plane[0] > 0.5).nonzero().float().mean(0)) for plane in varied["lungs"]]
    assert len(set(places)) > 4  # they do move


def test_exposure_leaves_planes_alone() -> None:
    torch.manual_seed(0)
    batch = marked()
    limits = {"rotation": 0.0, "scale": 0.0, "shift": 0.0, "contrast": 0.3}
    varied = RandTruthAugmentation(prob=1.0, mirror_prob=0.0, **limits)(batch)
    torch.testing.assert_close(varied["box_weight"], batch["box_weight"], atol=1e-5, rtol=0)
    assert (varied["image"] - batch["image"]).abs().max() > 0.05


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_mirroring_mirrors_all(probability: float) -> None:
    batch = marked()
    varied = RandTruthAugmentation(prob=0.0, mirror_prob=probability)(batch)
    for name in ("image", "box_weight", "lungs"):
        expected = batch[name].flip(-1) if probability else batch[name]
        torch.testing.assert_close(varied[name], expected, atol=1e-5, rtol=0)


def test_a_probability_is_in_0_1() -> None:
    with pytest.raises(ValueError, match="mirror_prob"):
        RandTruthAugmentation(mirror_prob=1.5)
