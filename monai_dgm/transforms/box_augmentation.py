"""Random variation of radiographs whose opacity boxes follow, a batch at a time on the training device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from monai_dgm.transforms.augmentation import RandRadiographAugmentation, check_batch_channels, mark_channels

__all__ = ["RandBoxAugmentation", "keep_visible", "move_boxes"]

LEAST_SIDE = 2.0  # pixels: a thinner rest of a box has nothing to show


class RandBoxAugmentation(RandRadiographAugmentation):
    """:class:`RandRadiographAugmentation` for images, residues and their boxes; it never flips (laterality matters).

    A box turns as the ellipse within it, since opacities are round rather than square: the box around a turned box
    would grow at every angle. What leaves the image is cut off, and a box of which less than ``min_visible`` of its
    area is left is dropped. MONAI's box transforms zoom and flip, but do not turn.

    Exposure changes the image alone. Sampling uses torch's global random state, so a resumed training repeats it.

    Args:
        channels: what the channels of a batch are, of "image" and "residue".
        prob: probability for each image.
        rotation: largest angle, degrees.
        scale: largest relative change of size.
        shift: largest shift, fraction of the side.
        min_visible: share of its area, in [0, 1], below which a box is dropped.
        exposure: limits of :class:`RandRadiographAugmentation`: contrast, brightness, gamma.
    """

    def __init__(
        self,
        channels: Sequence[str] = ("image",),
        prob: float = 0.95,
        rotation: float = 8.0,
        scale: float = 0.15,
        shift: float = 0.08,
        min_visible: float = 0.4,
        **exposure: float,
    ) -> None:
        super().__init__(prob, rotation, scale, shift, **exposure)
        self.channels = tuple(channels)
        self.min_visible = min_visible

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Vary ``image`` (B, C, S, S) and ``boxes``, B tensors (N, 4); beyond the border an image is -1, a residue 0.

        Raises:
            ValueError: a batch that has other channels.
        """
        image = batch["image"]
        check_batch_channels(image, self.channels)
        chosen = torch.rand(image.shape[0], device=image.device) < self.prob
        still = torch.eye(2, 3, device=image.device).expand(image.shape[0], 2, 3)
        motion = torch.where(chosen[:, None, None], self._motion(image.shape[0], image.device), still)
        moved = self._moved(image, motion, mark_channels(self.channels, "image", image.device))
        if "image" in self.channels:
            place = self.channels.index("image")
            exposed = self._expose(moved[:, place : place + 1])
            moved[:, place] = torch.where(chosen[:, None, None], exposed[:, 0], moved[:, place])
        boxes = [self._follow(own, matrix, image.shape[-1]) for own, matrix in zip(batch["boxes"], motion, strict=True)]
        return {**batch, "image": moved, "boxes": boxes}

    def _follow(self, boxes: Tensor, motion: Tensor, size: int) -> Tensor:
        return keep_visible(move_boxes(boxes, motion.to(boxes.device), size), size, self.min_visible)


def move_boxes(boxes: Tensor, motion: Tensor, size: int) -> Tensor:
    """Boxes around the moved ellipses within ``boxes``; exact for boxes where nothing turns.

    Args:
        boxes: (N, 4) in pixels.
        motion: (2, 3) as ``torch.nn.functional.affine_grid`` takes it: from coordinates in the moved image to those in
            the image, both from -1 to 1 over its edges, x first.
        size: side S of the image in pixels.

    Returns:
        float32 (N, 4), possibly reaching beyond the image.
    """
    middle = (boxes[:, :2] + boxes[:, 2:]) / size - 1
    half = (boxes[:, 2:] - boxes[:, :2]) / size
    inverse = torch.linalg.inv(motion[:, :2])
    middle = (middle - motion[:, 2]) @ inverse.T
    half = torch.sqrt((half**2) @ (inverse.T**2))  # extent of an ellipse along the axes after a linear map
    return (torch.cat((middle - half, middle + half), dim=1) + 1) * size / 2


def keep_visible(boxes: Tensor, size: int, min_visible: float) -> Tensor:
    """Boxes (N, 4) cut off at the image of side ``size``, without those of which too little is left.

    Args:
        boxes: possibly reaching beyond the image.
        size: side S in pixels.
        min_visible: least share of a box's area that is left, in [0, 1]; a rest under two pixels wide goes, too.
    """
    cut = boxes.clamp(0, size)
    sides, whole = cut[:, 2:] - cut[:, :2], boxes[:, 2:] - boxes[:, :2]
    seen = sides.prod(dim=1) >= min_visible * whole.prod(dim=1)
    return cut[seen & (sides >= LEAST_SIDE).all(dim=1)]
