"""What a RetinaNet's anchors are trained to find, and the losses of its maps, for a whole batch at once.

Matching and losses are those of the RetinaNet paper (Lin et al. 2017) as torchvision and MONAI have them. Those work
image by image, and make a GPU wait several times in each.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.losses.focal_loss import sigmoid_focal_loss
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

__all__ = ["BACKGROUND_IOU", "FOREGROUND_IOU", "anchor_losses", "encode_boxes", "match_anchors", "pad_boxes"]

FOREGROUND_IOU, BACKGROUND_IOU = 0.5, 0.4  # of the RetinaNet paper; anchors between them are left out of the losses
NO_BOX, LEFT_OUT = -1, -2


def pad_boxes(boxes: Sequence[Tensor]) -> Tensor:
    """Boxes (N, 4) of each of B images as one tensor (B, K, 4), K the most of one image; the rest are zeros.

    Raises:
        ValueError: boxes without area, or of another shape.
    """
    for own in boxes:
        if own.dim() != 2 or own.shape[1] != 4 or not (own[:, 2:] > own[:, :2]).all():
            raise ValueError(f"expected boxes (N, 4) with an area, got {tuple(own.shape)}: {own.flatten().tolist()}")
    return torch.nn.utils.rnn.pad_sequence(list(boxes), batch_first=True)


def _overlap(boxes: Tensor, anchors: Tensor) -> Tensor:
    """IoU (B, K, A) of boxes (B, K, 4) and anchors (A, 4)."""
    boxes = boxes[:, :, None]
    shared = (torch.minimum(boxes[..., 2:], anchors[:, 2:]) - torch.maximum(boxes[..., :2], anchors[:, :2])).clamp(
        min=0
    )
    both = shared.prod(dim=-1)
    areas = (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1) + (anchors[:, 2:] - anchors[:, :2]).prod(dim=-1)
    return both / (areas - both)


def match_anchors(boxes: Tensor, anchors: Tensor) -> Tensor:
    """The box that each anchor is trained to find: the one it overlaps most, from an IoU of 0.5; every box also keeps
    the anchors that overlap it most.

    Args:
        boxes: (B, K, 4), those that an image lacks all zeros.
        anchors: (A, 4).

    Returns:
        int64 (B, A), the place of the box among the K; -1 for none (IoU below 0.4), -2 for an anchor left out.

    Source: torchvision's ``Matcher`` with low-quality matches.
    """
    if boxes.shape[1] == 0:
        return torch.full((len(boxes), len(anchors)), NO_BOX, dtype=torch.long, device=anchors.device)
    real = (boxes[..., 2] > boxes[..., 0])[..., None]
    overlap = torch.where(real, _overlap(boxes, anchors), -1.0)
    highest, place = overlap.max(dim=1)
    own_best = ((overlap == overlap.amax(dim=2, keepdim=True)) & real).any(dim=1)
    found = torch.where(highest < BACKGROUND_IOU, NO_BOX, torch.where(highest < FOREGROUND_IOU, LEFT_OUT, place))
    return torch.where(own_best, place, found)


def encode_boxes(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Boxes (N, 4) relative to anchors (N, 4): shift of the middle over the side, log of the ratio of the sides."""
    sides = anchors[:, 2:] - anchors[:, :2]
    own = boxes[:, 2:] - boxes[:, :2]
    shift = (boxes[:, :2] + boxes[:, 2:] - anchors[:, :2] - anchors[:, 2:]) / 2 / sides
    return torch.cat((shift, torch.log(own / sides)), dim=1)


def anchor_losses(logits: Tensor, codes: Tensor, anchors: Tensor, boxes: Tensor) -> dict[str, Tensor]:
    """Losses of a batch.

    Args:
        logits: (B, A, 1).
        codes: (B, A, 4), the axes in the order of the anchors'.
        anchors: (A, 4).
        boxes: (B, K, 4), those that an image lacks all zeros.

    Returns:
        ``classification``, the focal loss (gamma 2, alpha 0.25) summed over the anchors and divided by the number of
        those that have a box; ``box_regression``, smooth L1 (beta 1/9) summed over the codes of these anchors, over
        their number; both are finite where there are none. ``loss`` is the sum.
    """
    match = match_anchors(boxes, anchors)
    image, anchor = (match >= 0).nonzero(as_tuple=True)
    positive = max(1, len(image))
    target = torch.zeros_like(logits).index_put_((image, anchor), logits.new_ones(1))
    counted = match != LEFT_OUT
    classification = sigmoid_focal_loss(logits[counted], target[counted], gamma=2.0, alpha=0.25).sum() / positive
    wanted = encode_boxes(boxes[image, match[image, anchor]], anchors[anchor])
    regression = smooth_l1_loss(codes[image, anchor], wanted, beta=1 / 9, reduction="sum") / positive
    return {"classification": classification, "box_regression": regression, "loss": classification + regression}
