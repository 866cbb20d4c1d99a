"""Anchors of the size of opacities, which of them is to find which box, and what they learn."""

from __future__ import annotations

from collections.abc import Sequence

from monai.apps.detection.utils.anchor_utils import AnchorGenerator
from monai.apps.detection.utils.ATSS_matcher import Matcher
from monai.losses.focal_loss import sigmoid_focal_loss
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss

__all__ = ["BoxLossPerOpacity", "FocalLossPerOpacity", "IoUMatcher", "opacity_anchors", "pyramid_levels"]

# Of the opacity boxes drawn on radiographs 90 % have a side (root of the area) of 0.13 to 0.41 of the image and are
# 0.6 to 2.5 times as high as wide. With these anchors each of them overlaps one with IoU 0.5 or more at 224 px.
ANCHOR_SIDE = 24 / 224
ANCHOR_SCALES = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
ANCHOR_HEIGHT_TO_WIDTH = (0.6, 1.1, 2.0)


def pyramid_levels(image_size: int) -> tuple[int, ...]:
    """Stages of the backbone (1 to 4, strides 4 to 32) that predict: the finest has some 30 cells a side."""
    return (2, 3, 4) if image_size >= 160 else (1, 2, 3, 4)


def opacity_anchors(image_size: int) -> AnchorGenerator:
    """MONAI's anchor generator with sides that scale with the image: nine anchors a cell, doubling from level to level.

    Args:
        image_size: side S of the model input in pixels.
    """
    sides = [ANCHOR_SIDE * image_size * 2**level for level in range(len(pyramid_levels(image_size)))]
    sizes = [[side * scale for scale in ANCHOR_SCALES] for side in sides]
    # MONAI's ratio is extent along axis 1 over extent along axis 0: our width over height
    ratios = tuple(1 / ratio for ratio in ANCHOR_HEIGHT_TO_WIDTH)
    return AnchorGenerator(sizes, (ratios,) * len(sizes))


class IoUMatcher(Matcher):
    """The RetinaNet paper's matching: foreground from IoU 0.5, background below 0.4, the best anchor of a box always.

    Written to MONAI's interface; MONAI itself takes torchvision's.

    Args:
        foreground: least IoU of an anchor that is to find a box.
        background: IoU below which an anchor is to find nothing; those between teach nothing.
    """

    def __init__(self, foreground: float = 0.5, background: float = 0.4) -> None:
        super().__init__()
        self.foreground = foreground
        self.background = background

    def compute_matches(
        self, boxes: Tensor, anchors: Tensor, num_anchors_per_level: Sequence[int], num_anchors_per_loc: int
    ) -> tuple[Tensor, Tensor]:
        """IoU (N, M) and the place of the box that each of the M anchors is to find, negative for none."""
        overlap = self.similarity_fn(boxes, anchors)
        best, matches = overlap.max(dim=0)
        own = matches.clone()
        matches[best < self.foreground] = self.BETWEEN_THRESHOLDS
        matches[best < self.background] = self.BELOW_LOW_THRESHOLD
        wanted = (overlap == overlap.amax(dim=1, keepdim=True)).any(dim=0) & (best > 0)
        matches[wanted] = own[wanted]
        return overlap, matches


class FocalLossPerOpacity(nn.Module):
    """MONAI's focal loss (gamma 2, alpha 0.25) over all anchors, divided by the number of those that find a box."""

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Of logits and targets (N, 1), one an anchor; finite when no anchor finds a box."""
        return sigmoid_focal_loss(logits, target, gamma=2.0, alpha=0.25).sum() / target.sum().clamp(min=1)


class BoxLossPerOpacity(nn.Module):
    """Smooth L1 loss (beta 1/9), summed over the four box codes, mean over the anchors that find a box."""

    def forward(self, codes: Tensor, target: Tensor) -> Tensor:
        """Of codes and targets (N, 4)."""
        return smooth_l1_loss(codes, target, beta=1 / 9, reduction="sum") / max(1, len(target))
