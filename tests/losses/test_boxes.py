"""Terms of boxes and evidence against NumPy transcriptions, image by image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from monai_dgm.losses.boxes import (
    blank_outside_loss,
    box_evidence_loss,
    coupling_loss,
    image_evidence_loss,
    lesion_mask_loss,
)

SIDE = 8
COMPLETE = torch.tensor([True, True, False])


def weights() -> Tensor:
    """Two boxes in image 0, one in image 1; those of image 2 must not count."""
    weight = torch.zeros(3, 1, SIDE, SIDE)
    weight[0, 0, 1:3, 1:5] = 0.5
    weight[0, 0, 5:6, 6:8] = 2.0
    weight[1, 0, :4] = 1.0
    weight[2, 0, 2:6, 2:6] = 1.0
    return weight


def test_coupling_is_the_mean_difference_of_the_two_residues() -> None:
    residue, image, normal = torch.randn(3, 2, 1, 4, 4).unbind(0)
    expected = np.abs(residue.numpy() - (image.numpy() - normal.numpy())).mean()
    assert coupling_loss(residue, image, normal).item() == pytest.approx(expected, rel=1e-5)
    assert coupling_loss(image - normal, image, normal) == 0


def test_outside_the_boxes_is_the_mean_of_their_complement() -> None:
    residue, weight = torch.randn(3, 1, SIDE, SIDE), weights()
    each = [np.abs(residue[i].numpy())[weight[i].numpy() == 0].mean() for i in (0, 1)]
    found = blank_outside_loss(residue, weight, COMPLETE)
    assert found.item() == pytest.approx(sum(each) / 3, rel=1e-5)


@pytest.mark.parametrize("scale", [0.05, 0.3])
def test_inside_the_boxes_is_the_likelihood_of_a_mark(scale: float) -> None:
    residue, weight = torch.rand(3, 1, SIDE, SIDE) * 0.4 + 0.05, weights()  # where max(a, 0) and its softplus agree
    each = []
    for i in (0, 1):
        a, w = residue[i].numpy().astype(np.float64), weight[i].numpy()
        each.append((-np.log(1 - np.exp(-a / scale)) * w).sum() / w.sum())
    assert box_evidence_loss(residue, weight, COMPLETE, scale).item() == pytest.approx(sum(each) / 3, rel=1e-3)


def test_a_residue_of_nothing_can_learn_where_a_box_is() -> None:
    for start in (0.0, -0.01):
        residue = torch.full((3, 1, SIDE, SIDE), start, requires_grad=True)
        loss = box_evidence_loss(residue, weights(), COMPLETE, 0.1)
        loss.backward()
        assert torch.isfinite(loss)
        assert residue.grad is not None and torch.isfinite(residue.grad).all()
        assert (residue.grad[0][weights()[0] > 0] < 0).all()  # more of it is better
        assert (residue.grad[0][weights()[0] == 0] == 0).all()
        assert (residue.grad[2] == 0).all()


def test_image_evidence_knows_no_size() -> None:
    small, large = torch.zeros(2, 1, 20, 20), torch.zeros(2, 1, 20, 20)
    small[:, :, :2, :5] = 0.8  # 10 pixels
    large[:, :, :8, :10] = 0.1  # 80 pixels, an eighth as dense
    abnormal = torch.tensor([True, False])
    one, other = (image_evidence_loss(a, abnormal, 0.001, 2.0) for a in (small, large))
    # the softplus adds 0.0035 in each blank pixel: with a scale this small both are beyond doubt
    assert one.item() == pytest.approx(0, abs=1e-3)
    assert other.item() == pytest.approx(0, abs=1e-3)
    a = torch.rand(2, 1, 20, 20).clamp(min=0.1)
    expected = -np.log(1 - np.exp(-1.5 * a[0].numpy().mean() / 0.5)) / 2
    assert image_evidence_loss(a, abnormal, 0.5, 1.5).item() == pytest.approx(expected, rel=1e-3)
    same = [image_evidence_loss(a, abnormal, 0.1, 1.0).item() for a in (small * 1.0, large * 1.0)]
    assert same[0] == pytest.approx(same[1], rel=0.05)


def test_mask_loss_is_cross_entropy_half_by_half() -> None:
    logit, weight = torch.randn(3, 1, SIDE, SIDE), weights()
    each = []
    for i in (0, 1):
        p, w = 1 / (1 + np.exp(-logit[i].numpy().astype(np.float64))), weight[i].numpy()
        inside = -(np.log(p) * w).sum() / w.sum()
        each.append(0.7 * -np.log(1 - p)[w == 0].mean() + 0.3 * inside)
    assert lesion_mask_loss(logit, weight, COMPLETE, 0.3).item() == pytest.approx(sum(each) / 3, rel=1e-5)


def test_mask_of_an_image_without_box_is_to_be_blank() -> None:
    logit = torch.randn(1, 1, SIDE, SIDE, requires_grad=True)
    lesion_mask_loss(logit, torch.zeros(1, 1, SIDE, SIDE), torch.tensor([True])).backward()
    assert logit.grad is not None and (logit.grad > 0).all()
