"""Opacity detector: the meaning of x, anchors that fit opacities, the paper's losses, and input that has no boxes."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from monai.apps.detection.transforms.box_ops import convert_box_to_mask
from monai.data.box_utils import box_iou
from torch import Tensor, nn

from monai_dgm.networks.detector import (
    BACKBONES,
    DETECTION_CHANNELS,
    OpacityDetector,
    build_detector,
    swap_axes,
)
from monai_dgm.transforms.boxes import rasterise_boxes
from tests.networks.anchors import all_anchors

SIZE = 64
NONE = torch.zeros(0, 4)


def tiny(in_channels: int = 1, size: int = SIZE, **others: float) -> OpacityDetector:
    return OpacityDetector(in_channels, "resnet18", size, width=0.125, fpn_channels=16, **others)  # type: ignore[arg-type]


def test_with_swapped_axes_monai_marks_the_same_pixels() -> None:
    boxes = torch.tensor([[2.0, 1, 9, 4], [0, 6, 3, 8]])  # wide, and tall: x and y cannot be confused
    theirs = convert_box_to_mask(swap_axes(boxes).numpy(), np.array([1, 1]), (8, 12), bg_label=0)
    for box, mask in zip(boxes.numpy(), theirs, strict=True):
        np.testing.assert_array_equal(mask.astype(bool), rasterise_boxes(box[None], (8, 12)))
    assert swap_axes(boxes)[0].tolist() == [1, 2, 4, 9]
    assert torch.equal(swap_axes(swap_axes(boxes)), boxes) and swap_axes(NONE).shape == (0, 4)


class BrightCells(nn.Module):
    """A head that finds what is bright: logit 9 for the anchors of such cells, -9 elsewhere."""

    def __init__(self, image: Tensor, num_anchors: int) -> None:
        super().__init__()
        self.image, self.num_anchors = image, num_anchors

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        maps = [nn.functional.adaptive_avg_pool2d(self.image, level.shape[-2:]) for level in features]
        return [(18 * one - 9).expand(-1, self.num_anchors, -1, -1) for one in maps]


class NoChange(nn.Module):
    """A head that leaves anchors as they are."""

    def __init__(self, num_anchors: int) -> None:
        super().__init__()
        self.num_anchors = num_anchors

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        return [level.new_zeros(len(level), 4 * self.num_anchors, *level.shape[-2:]) for level in features]


def test_x_runs_along_the_columns() -> None:
    """A bright patch in the upper right, seen through the real path from maps to boxes."""
    image = torch.zeros(1, 1, SIZE, SIZE)
    image[:, :, 8:16, 40:56] = 1  # rows, columns
    detector = tiny(score_threshold=0.9).eval()
    detector.network.classification_head = BrightCells(image, detector.num_anchors)
    detector.network.regression_head = NoChange(detector.num_anchors)
    ((boxes, scores),) = detector.detect(image)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    assert len(boxes) > 0 and (scores > 0.9).all()
    assert (middle[:, 0] > 36).all() and (middle[:, 1] < 20).all()
    edges = detector(image)[0]
    found = edges[:4, edges[4] > 0.9].T
    assert ((found[:, 0] + found[:, 2]) / 2 > 30).all() and ((found[:, 1] + found[:, 3]) / 2 < 24).all()


@pytest.mark.slow
def test_learns_the_box_of_an_asymmetric_image() -> None:
    """Targets and detections mean the same x: an image that is neither square nor in the middle."""
    torch.manual_seed(0)
    box = torch.tensor([[36.0, 6.0, 60.0, 18.0]])
    image = torch.zeros(2, 1, SIZE, SIZE)
    image[0, :, 6:18, 36:60] = 1
    detector = tiny().train()
    optimizer = torch.optim.Adam(detector.parameters(), 3e-3)
    for _ in range(60):
        losses = detector.training_losses(image, [box, NONE])
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
    detector.train()  # the running statistics of so few steps are not those of the images
    (boxes, scores), (others, low) = detector.detect(image)
    assert box_iou(boxes[:1], box).item() > 0.7 and scores[0] > 0.5
    assert len(others) == 0 or low[0] < 0.3


@pytest.mark.parametrize(("backbone", "in_channels"), [(name, 2) for name in BACKBONES] + [("resnet18", 1)])
def test_shapes(backbone: str, in_channels: int) -> None:
    detector = OpacityDetector(in_channels, backbone, 32, width=0.125, fpn_channels=16).eval()
    with torch.no_grad():
        output = detector(torch.rand(2, in_channels, 32, 32))
    assert output.shape == (2, len(DETECTION_CHANNELS), len(all_anchors(32))) and output.dtype == torch.float32
    assert (output[:, 0] <= output[:, 2]).all() and (output[:, 1] <= output[:, 3]).all()
    assert output[:, :4].min() >= 0 and output[:, :4].max() <= 32
    assert output[:, 4].min() >= 0 and output[:, 4].max() <= 1


def test_the_papers_backbone_is_full_size() -> None:
    detector = OpacityDetector(2)
    body = sum(parameter.numel() for parameter in detector.network.feature_extractor.body.parameters())
    assert body == 23_508_032 - 64 * 49  # ResNet50 without its last layer, two channels instead of three


def test_what_cannot_be_made_is_told() -> None:
    with pytest.raises(ValueError, match="backbone: expected one of resnet18"):
        OpacityDetector(backbone="resnet1")
    for sizes in ({"image_size": 100}, {"fpn_channels": 24}):
        with pytest.raises(ValueError, match="multiple of 32"):
            OpacityDetector(backbone="resnet18", **sizes)


def test_losses_teach_every_parameter() -> None:
    detector = tiny(2).train()
    losses = detector.training_losses(torch.rand(2, 2, SIZE, SIZE), [torch.tensor([[4.0, 8, 20, 40]]), NONE])
    assert set(losses) == {"classification", "box_regression", "loss"}
    torch.testing.assert_close(losses["loss"], losses["classification"] + losses["box_regression"])
    losses["loss"].backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in detector.parameters())


def test_a_batch_without_a_box_is_a_lesson_too() -> None:
    detector = tiny().train()
    losses = detector.training_losses(torch.rand(3, 1, SIZE, SIZE), [NONE] * 3)
    assert losses["box_regression"].item() == 0 and 0 < losses["classification"].item() < 10
    losses["loss"].backward()
    gradient = detector.network.classification_head.cls_logits.bias.grad
    assert (gradient > 0).all()  # fewer detections everywhere


def test_bfloat16_keeps_boxes_exact() -> None:
    detector = tiny().train()
    images, boxes = torch.rand(2, 1, SIZE, SIZE), [torch.tensor([[4.0, 8, 20, 40]]), NONE]
    full = detector.training_losses(images, boxes)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = detector.training_losses(images, boxes)
        ((found, _), _) = detector.eval().detect(images)
    assert half["loss"].dtype == found.dtype == torch.float32
    assert half["loss"].item() == pytest.approx(full["loss"].item(), rel=0.05)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_maps_that_are_not_finite_are_told(value: float) -> None:
    detector = tiny()
    detector.network.classification_head.cls_logits.bias.data[0] = value
    images = torch.rand(1, 1, SIZE, SIZE)
    with pytest.raises(FloatingPointError, match="not finite"):
        detector.train().training_losses(images, [NONE])
    with pytest.raises(FloatingPointError, match="not finite"):
        detector.eval().detect(images)


def test_targets_that_are_no_boxes_are_told() -> None:
    with pytest.raises(ValueError, match="boxes"):
        tiny().train().training_losses(torch.rand(1, 1, SIZE, SIZE), [torch.tensor([[20.0, 8, 4, 40]])])


def test_detections_are_among_the_exported_boxes() -> None:
    detector = tiny(2, score_threshold=0.0, nms_threshold=0.3, max_detections=7).eval()
    images = torch.rand(3, 2, SIZE, SIZE)
    with torch.no_grad():
        every = detector(images)
    for (boxes, scores), own in zip(detector.detect(images), every, strict=True):
        assert len(boxes) == 7 and (scores[:-1] >= scores[1:]).all()
        rows = torch.cat((boxes, scores[:, None]), dim=1)
        assert (rows[:, None] - own.T[None]).abs().amax(dim=2).amin(dim=1).max() < 1e-3
        overlap = box_iou(boxes, boxes) - torch.eye(7)
        assert overlap.max() <= 0.3


def test_torchscript_gives_the_same() -> None:
    detector = tiny(2).eval()
    script = torch.jit.script(detector)
    for side in (SIZE, 96):
        images = torch.rand(2, 2, side, side)
        torch.testing.assert_close(script(images), detector(images), rtol=0, atol=1e-5)


def test_weights_are_listed_once_and_a_copy_is_one() -> None:
    detector = tiny()
    assert all(name.startswith("network.") for name in detector.state_dict())
    other = copy.deepcopy(detector)
    other.network.classification_head.cls_logits.bias.data.fill_(5.0)
    images = torch.rand(1, 1, SIZE, SIZE)
    ((_, high),), ((_, low),) = other.eval().detect(images), detector.eval().detect(images)
    assert high.max() > 0.9 and (len(low) == 0 or low.max() < 0.5)


def test_other_batches_and_sizes_follow_one_another() -> None:
    detector = tiny(score_threshold=0.0).eval()
    for shape in ((1, 1, SIZE, SIZE), (3, 1, SIZE, SIZE), (2, 1, 96, 96)):
        assert len(detector.detect(torch.rand(shape))) == shape[0]


def test_a_detector_is_built_from_the_settings_beside_its_weights() -> None:
    settings = {"channels": ["image"], "backbone": "resnet18", "image_size": 64, "width": 0.125, "fpn_channels": 16}
    built = build_detector({**settings, "trained_on": "nothing"})
    shapes = {name: value.shape for name, value in tiny().state_dict().items()}
    assert {name: value.shape for name, value in built.state_dict().items()} == shapes
    with pytest.raises(ValueError, match="expected one of"):
        build_detector({**settings, "backbone": "none"})
    with torch.device("meta"):
        default = build_detector({"image_size": 224})
        assert default.state_dict().keys() == OpacityDetector(2).state_dict().keys()
