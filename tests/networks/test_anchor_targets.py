"""Targets and losses of a batch: those of torchvision's matcher and MONAI's detector, which go image by image."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from monai.apps.detection.networks.retinanet_detector import RetinaNetDetector
from monai.apps.detection.utils.box_coder import BoxCoder
from monai.data.box_utils import box_iou
from monai.losses.focal_loss import sigmoid_focal_loss
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss

from monai_dgm.networks.anchor_targets import anchor_losses, encode_boxes, match_anchors, pad_boxes
from monai_dgm.networks.detector import OpacityDetector, swap_axes
from monai_dgm.utils.torchvision_import import ensure_torchvision
from tests.networks.anchors import all_anchors

NONE = torch.zeros(0, 4)


def some_boxes(seed: int, count: int = 5, size: int = 64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = 0.6 * size * torch.rand(count, 2, generator=generator)
    return torch.cat((corner, corner + 2 + 0.3 * size * torch.rand(count, 2, generator=generator)), dim=1)


class FocalLoss(nn.Module):
    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return sigmoid_focal_loss(logits, target, gamma=2.0, alpha=0.25).sum() / target.sum().clamp(min=1)


class BoxLoss(nn.Module):
    def forward(self, codes: Tensor, target: Tensor) -> Tensor:
        return smooth_l1_loss(codes, target, beta=1 / 9, reduction="sum") / max(1, len(target))


def torchvision_matcher() -> Any:
    ensure_torchvision()
    from torchvision.models.detection._utils import Matcher

    return Matcher(0.5, 0.4, allow_low_quality_matches=True)


def by_monai(detector: OpacityDetector, images: Tensor, boxes: list[Tensor]) -> dict[str, Tensor]:
    """The losses of MONAI's detector with torchvision's matcher, on the maps of our network."""

    class Matched(RetinaNetDetector):
        def compute_anchor_matched_idxs(self, anchors: Any, targets: Any, num_anchor_locs_per_level: Any) -> Any:
            none = torch.full((len(anchors[0]),), -1)
            return [
                self.proposal_matcher(box_iou(target["boxes"], anchor)) if len(target["boxes"]) else none
                for anchor, target in zip(anchors, targets, strict=True)
            ]

    theirs = Matched(detector.network, detector.anchors, spatial_dims=2, num_classes=1, size_divisible=32)
    theirs.proposal_matcher = torchvision_matcher()
    theirs.set_cls_loss(FocalLoss())
    theirs.set_box_regression_loss(BoxLoss(), encode_gt=True, decode_pred=False)
    theirs.train()
    rows = [{"boxes": swap_axes(own), "labels": torch.zeros(len(own), dtype=torch.long)} for own in boxes]
    return theirs(images, rows)


def test_matching_by_the_paper() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10], [50, 50, 60, 60], [0, 0, 0, 0]]])
    anchors = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 18], [0, 0, 10, 22], [0, 0, 10, 30], [48, 48, 70, 70]])
    # positive, positive (IoU 0.56), ignored (0.45), negative (0.33), and the best anchor of the second box (IoU 0.21)
    assert match_anchors(boxes, anchors).tolist() == [[0, 0, -2, -1, 1]]
    assert match_anchors(torch.zeros(2, 0, 4), anchors).tolist() == [[-1] * 5] * 2


@pytest.mark.parametrize("seed", range(5))
def test_matches_are_torchvisions(seed: int) -> None:
    several = [some_boxes(seed), NONE, some_boxes(seed + 9, 2)]
    anchors = swap_axes(all_anchors(64))
    found = match_anchors(pad_boxes(several), anchors)
    for boxes, own in zip(several, found, strict=True):
        wanted = torchvision_matcher()(box_iou(boxes, anchors)) if len(boxes) else torch.full((len(anchors),), -1)
        assert torch.equal(own, wanted)
    assert (found[0] >= 0).any() and (found[0] == -2).any() and (found[1] == -1).all()


def test_codes_are_monais() -> None:
    boxes, anchors = some_boxes(1, 40), some_boxes(2, 40)
    torch.testing.assert_close(encode_boxes(boxes, anchors), BoxCoder((1.0,) * 4).encode_single(boxes, anchors))


@pytest.mark.parametrize("counts", [(3, 0, 1), (0, 0, 0)])
def test_losses_and_gradients_are_monais(counts: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    detector = OpacityDetector(1, "resnet18", 64, width=0.125, fpn_channels=16).eval()
    images, boxes = torch.rand(3, 1, 64, 64), [some_boxes(seed, count) for seed, count in enumerate(counts)]
    theirs, gradients = by_monai(detector, images, boxes), []
    ours = detector.training_losses(images, boxes)
    for name, loss in theirs.items():
        torch.testing.assert_close(ours[name], loss, rtol=1e-5, atol=1e-7)
    for total in (sum(theirs.values()), ours["loss"]):
        assert isinstance(total, Tensor)
        detector.zero_grad()
        total.backward()
        gradients.append([p.grad.clone() for p in detector.parameters() if p.grad is not None and p.grad.any()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_padded_boxes_are_the_same_lesson() -> None:
    torch.manual_seed(0)
    detector = OpacityDetector(1, "resnet18", 64, width=0.125, fpn_channels=16).eval()
    images, boxes = torch.rand(2, 1, 64, 64), [some_boxes(0, 2), NONE]
    padded = torch.cat((pad_boxes(boxes), torch.zeros(2, 3, 4)), dim=1)
    assert torch.equal(
        detector.training_losses(images, boxes)["loss"], detector.training_losses(images, padded)["loss"]
    )


def test_focal_loss_is_the_papers() -> None:
    logits = torch.randn(1, 50, 1)
    anchors, box = torch.tensor([[0.0, 0, 8, 8]]).repeat(50, 1), torch.tensor([[[0.0, 0, 8, 8]]])
    anchors[20:] += 30
    expected = 0.0
    for place, z in enumerate(logits.flatten().tolist()):
        p = 1 / (1 + math.exp(-z))
        pt, alpha = (p, 0.25) if place < 20 else (1 - p, 0.75)
        expected -= alpha * (1 - pt) ** 2 * math.log(pt)
    losses = anchor_losses(logits, torch.zeros(1, 50, 4), anchors, box)
    assert float(losses["classification"]) == pytest.approx(expected / 20, rel=1e-5)
    assert float(losses["box_regression"]) == 0
    assert float(anchor_losses(logits, torch.ones(1, 50, 4), anchors, box)["box_regression"]) == pytest.approx(
        4 * (1 - 0.5 / 9)
    )


def test_boxes_without_area_are_told() -> None:
    for wrong in (torch.tensor([[20.0, 8, 4, 40]]), torch.zeros(1, 4), torch.zeros(3)):
        with pytest.raises(ValueError, match="expected boxes"):
            pad_boxes([NONE, wrong])
