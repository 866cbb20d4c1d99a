"""Random augmentation of batches on the training device: images, residues, lung masks and opacity boxes together.

Each image of a batch gets its own random position and exposure. All operations are batched torch operations, so a batch
costs a few kernels on a GPU; ``benchmarks/augmentation_speed.py`` compares this with MONAI, torchvision and kornia.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "RandMirror",
    "RandRadiographAugmentation",
    "blank_invisible",
    "keep_visible",
    "move_boxes",
    "move_planes",
]

# value of each kind of channel beyond the border: air, no residue
BACKGROUND = {"image": -1.0, "residue": 0.0, "shuffled_residue": 0.0, "mean_residue": 0.0}
MIN_VISIBLE = 0.4  # a box of which a smaller share of the area stays in the image is dropped
MIN_SIDE = 2.0  # pixels: a box with a shorter side is dropped


class RandRadiographAugmentation:
    """Rotate, scale and shift images with their residues, masks and boxes; change the exposure of the images alone.

    Images are never flipped, because left and right have a meaning (see :class:`RandMirror`). What comes in from beyond
    the border is air (-1) in an image, and 0 in a residue and in a mask. A residue is moved along, not computed again.
    Boxes are moved by :func:`move_boxes`; boxes that leave the image are cut or dropped by :func:`keep_visible`.

    The random numbers come from torch's global random state, so that a resumed training repeats them.

    Args:
        channels: names of the channels of ``image``: "image", or residues.
        prob: probability for each image, in [0, 1]; also for each of shading, blur and noise of an image that is
            augmented.
        rotation: largest angle in degrees.
        scale: largest relative change of size.
        shift: largest shift as a fraction of the side.
        contrast: largest relative change of contrast about mid grey.
        brightness: largest change of brightness on the [-1, 1] scale.
        gamma: largest change of log gamma.
        shading: largest standard deviation of a smooth random field that is added, on the [-1, 1] scale. It stands for
            opacities, scatter and the heel effect.
        blur: largest weight, in [0, 1], of the mean over 5 x 5 pixels against the pixel itself.
        noise: largest standard deviation of Gaussian noise on the [-1, 1] scale.
        mask_key: name of the batch entry that is a mask (B, 1, S, S) of 0 and 1; None for no mask.

    Raises:
        ValueError: an unknown channel.
    """

    def __init__(
        self,
        channels: Sequence[str] = ("image",),
        prob: float = 0.9,
        *,
        rotation: float = 6.0,
        scale: float = 0.08,
        shift: float = 0.04,
        contrast: float = 0.15,
        brightness: float = 0.1,
        gamma: float = 0.2,
        shading: float = 0.0,
        blur: float = 0.0,
        noise: float = 0.0,
        mask_key: str | None = None,
    ) -> None:
        self.channels = (channels,) if isinstance(channels, str) else tuple(channels)
        if not set(self.channels) <= set(BACKGROUND):
            raise ValueError(f"channels: expected some of {', '.join(BACKGROUND)}, got {', '.join(self.channels)}")
        self.prob = prob
        self.rotation, self.scale, self.shift = rotation, scale, shift
        self.contrast, self.brightness, self.gamma = contrast, brightness, gamma
        self.shading, self.blur, self.noise = shading, blur, noise
        self.mask_key = mask_key

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Augment a batch.

        Args:
            batch: ``image`` (B, C, S, S) in [-1, 1]; the mask named by ``mask_key``; ``boxes``, where there are any, B
                tensors (N, 4) ``[xmin, ymin, xmax, ymax]`` in pixels, or one tensor (B, K, 4) on the device of the
                images, zeros for the boxes that an image lacks. Other entries stay as they are.

        Returns:
            the batch with new ``image`` (float32, in [-1, 1]), mask and boxes.

        Raises:
            ValueError: an image with another number of channels.
        """
        image = batch["image"]
        if image.shape[1] != len(self.channels):
            raise ValueError(f"image: expected the channels {', '.join(self.channels)}, got {image.shape[1]}")
        count, device = image.shape[0], image.device
        chosen = torch.rand(count, device=device) < self.prob
        each = chosen[:, None, None, None]
        motion = self._draw_motion(count, device)
        planes, background = image.float(), [BACKGROUND[name] for name in self.channels]
        if self.mask_key is not None:
            planes, background = torch.cat((planes, batch[self.mask_key]), dim=1), [*background, 0.0]
        moved = list(move_planes(planes, motion, background).split(1, dim=1))
        for index, name in enumerate(self.channels):
            if name == "image":
                moved[index] = self._degrade(self._expose(moved[index]))
        result = {**batch, "image": torch.where(each, torch.cat(moved[: len(self.channels)], dim=1), image)}
        if self.mask_key is not None:
            mask = batch[self.mask_key]
            result[self.mask_key] = torch.where(each, (moved[-1] > 0.5).to(mask.dtype), mask)
        if isinstance(batch.get("boxes"), Tensor):
            moved_boxes = move_boxes(batch["boxes"], motion, image.shape[-1])
            visible = blank_invisible(moved_boxes, image.shape[-1])
            result["boxes"] = torch.where(chosen[:, None, None], visible, batch["boxes"])
        elif "boxes" in batch:
            size, rows = image.shape[-1], zip(batch["boxes"], motion, chosen.tolist(), strict=True)
            result["boxes"] = [
                keep_visible(move_boxes(boxes, matrix.to(boxes.device), size), size) if changed else boxes
                for boxes, matrix, changed in rows
            ]
        return result

    def _uniform(self, count: int, limit: float, device: torch.device) -> Tensor:
        return limit * (2 * torch.rand(count, device=device) - 1)

    def _draw_motion(self, count: int, device: torch.device) -> Tensor:
        """(B, 2, 3) from output to input coordinates, both from -1 to 1 over the image's edges, x first."""
        angle = self._uniform(count, math.radians(self.rotation), device)
        zoom = 1 + self._uniform(count, self.scale, device)
        shift = 2 * torch.stack((self._uniform(count, self.shift, device), self._uniform(count, self.shift, device)), 1)
        cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
        turn = torch.stack((torch.stack((cos, -sin), 1), torch.stack((sin, cos), 1)), 1)
        return torch.cat((turn, shift[:, :, None]), 2)

    def _expose(self, image: Tensor) -> Tensor:
        count, device = image.shape[0], image.device
        gamma = torch.exp(self._uniform(count, self.gamma, device))[:, None, None, None]
        contrast = 1 + self._uniform(count, self.contrast, device)[:, None, None, None]
        brightness = self._uniform(count, self.brightness, device)[:, None, None, None]
        image = 2 * ((image + 1) / 2).clamp(0, 1) ** gamma - 1
        return (image * contrast + brightness).clamp(-1, 1)

    def _degrade(self, image: Tensor) -> Tensor:
        """Shading, blur and noise, each on a random part of the images (B, 1, S, S)."""
        count, device = image.shape[0], image.device
        for limit, change in ((self.shading, _shade), (self.blur, _blur), (self.noise, _add_noise)):
            if limit > 0:
                chosen = torch.rand(count, device=device) < self.prob
                strength = (limit * torch.rand(count, device=device))[:, None, None, None]
                image = torch.where(chosen[:, None, None, None], change(image, strength), image)
        return image.clamp(-1, 1)


def move_planes(planes: Tensor, motion: Tensor, background: Sequence[float]) -> Tensor:
    """Planes (B, C, S, S) moved by (B, 2, 3); the values beyond the border are those of ``background`` (C,)."""
    # grid_sample reads zeros beyond the border, so the background is subtracted before and added after
    offset = torch.tensor(background, device=planes.device)[None, :, None, None]
    grid = F.affine_grid(motion, list(planes.shape), align_corners=False)
    return F.grid_sample(planes - offset, grid, mode="bilinear", align_corners=False) + offset


def _shade(image: Tensor, strength: Tensor) -> Tensor:
    field = torch.randn(image.shape[0], 1, 6, 6, device=image.device)
    return image + strength * F.interpolate(field, size=image.shape[2:], mode="bicubic", align_corners=False)


def _blur(image: Tensor, strength: Tensor) -> Tensor:
    blurred = F.avg_pool2d(F.pad(image, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
    return image + strength * (blurred - image)


def _add_noise(image: Tensor, strength: Tensor) -> Tensor:
    return image + strength * torch.randn_like(image)


class RandMirror:
    """Mirror random images of a batch from left to right, with all their channels.

    For tasks where left and right have no meaning, such as normal against abnormal. There it takes away a shortcut:
    letters on the film and the crop of a hospital tell where an image comes from. The random numbers come from torch's
    global random state.

    Args:
        prob: probability for each image, in [0, 1]; 0 draws no random number.

    Raises:
        ValueError: a probability outside [0, 1].
    """

    def __init__(self, prob: float) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f"prob: expected a number in [0, 1], got {prob}")
        self.prob = prob

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mirror ``image`` (B, C, S, S); the other entries stay as they are."""
        if self.prob == 0:
            return batch
        image = batch["image"]
        chosen = torch.rand(image.shape[0], device=image.device) < self.prob
        return {**batch, "image": torch.where(chosen[:, None, None, None], image.flip(-1), image)}


def move_boxes(boxes: Tensor, motion: Tensor, size: int) -> Tensor:
    """Move boxes with their image; each box is moved as the ellipse that it encloses.

    Opacities are round rather than square, and the box around a rotated box would grow with every angle. Without
    rotation the result is exact for the box itself. (MONAI's box transforms zoom and flip, but do not rotate.)

    Args:
        boxes: (..., N, 4) ``[xmin, ymin, xmax, ymax]`` in pixels.
        motion: (..., 2, 3), one for N boxes, as ``torch.nn.functional.affine_grid`` takes it: from coordinates in the
            moved image to those in the image, both from -1 to 1 over its edges, x first.
        size: side S of the image in pixels.

    Returns:
        float32 (..., N, 4); boxes may reach beyond the image.
    """
    middle = (boxes[..., :2] + boxes[..., 2:]) / size - 1
    half = (boxes[..., 2:] - boxes[..., :2]) / size
    inverse = torch.linalg.inv(motion[..., :2])
    middle = (middle - motion[..., None, :, 2]) @ inverse.mT
    half = torch.sqrt((half**2) @ (inverse.mT**2))  # extent of an ellipse along the axes after a linear map
    return (torch.cat((middle - half, middle + half), dim=-1) + 1) * size / 2


def keep_visible(boxes: Tensor, size: int, min_visible: float = MIN_VISIBLE) -> Tensor:
    """Clip boxes (N, 4) to an image of side ``size``, and drop those of which too little is left.

    Args:
        boxes: ``[xmin, ymin, xmax, ymax]`` in pixels; they may reach beyond the image.
        size: side S in pixels.
        min_visible: smallest share of a box's area that must be left, in [0, 1]. A box whose rest is under two pixels
            wide or high is dropped, too.

    Returns:
        float32 (M, 4), M <= N, in [0, S].
    """
    clipped = boxes.clamp(0, size)
    return clipped[_is_visible(boxes, clipped, min_visible)]


def blank_invisible(boxes: Tensor, size: int, min_visible: float = MIN_VISIBLE) -> Tensor:
    """As :func:`keep_visible` for padded boxes (B, K, 4): those that it drops are zeros."""
    clipped = boxes.clamp(0, size)
    return clipped * _is_visible(boxes, clipped, min_visible)[..., None]


def _is_visible(boxes: Tensor, clipped: Tensor, min_visible: float) -> Tensor:
    """(...,) bool: enough of the boxes (..., 4) is left."""
    sides, whole = clipped[..., 2:] - clipped[..., :2], boxes[..., 2:] - boxes[..., :2]
    return (sides.prod(dim=-1) >= min_visible * whole.prod(dim=-1)) & (sides >= MIN_SIDE).all(dim=-1)
