"""Random variation of position and exposure, a batch at a time on the training device."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["RandMirror", "RandRadiographAugmentation", "check_batch_channels", "mark_channels"]


def check_batch_channels(image: Tensor, channels: Sequence[str]) -> None:
    """Compare a batch (B, C, S, S) with the names of its channels.

    Raises:
        ValueError: it has other channels.
    """
    if image.shape[1] != len(channels):
        raise ValueError(f"image: expected the channels {', '.join(channels)}, got {image.shape[1]}")


def mark_channels(channels: Sequence[str], name: str, device: torch.device) -> Tensor:
    """Float32 (1, C, 1, 1): 1 for the channels called ``name``, 0 for the others."""
    return torch.tensor([float(channel == name) for channel in channels], device=device)[None, :, None, None]


class RandRadiographAugmentation:
    """Rotate, scale, shift and re-expose the images of a batch; never flip them (laterality means something).

    The parameters are those that vary between exposures of one patient. Sampling uses torch's global random state, so
    a resumed training repeats it.

    Args:
        prob: probability for each image.
        rotation: largest angle, degrees.
        scale: largest relative change of size.
        shift: largest shift, fraction of the side.
        contrast: largest relative change of contrast about mid grey.
        brightness: largest change of brightness, [-1, 1] scale.
        gamma: largest change of log gamma.
    """

    def __init__(
        self,
        prob: float = 0.9,
        rotation: float = 6.0,
        scale: float = 0.08,
        shift: float = 0.04,
        contrast: float = 0.15,
        brightness: float = 0.1,
        gamma: float = 0.2,
    ) -> None:
        self.prob = prob
        self.rotation = rotation
        self.scale = scale
        self.shift = shift
        self.contrast = contrast
        self.brightness = brightness
        self.gamma = gamma

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Vary ``image`` (B, 1, S, S) in [-1, 1]; what lies beyond the border is -1 (air)."""
        image = batch["image"]
        count, device = image.shape[0], image.device
        chosen = torch.rand(count, device=device) < self.prob
        varied = self._expose(self._move(image))
        return {**batch, "image": torch.where(chosen[:, None, None, None], varied, image)}

    def _uniform(self, count: int, limit: float, device: torch.device) -> Tensor:
        return limit * (2 * torch.rand(count, device=device) - 1)

    def _motion(self, count: int, device: torch.device) -> Tensor:
        """(B, 2, 3) from output to input coordinates, both from -1 to 1 over the image's edges, x first."""
        angle = self._uniform(count, math.radians(self.rotation), device)
        zoom = 1 + self._uniform(count, self.scale, device)
        shift = 2 * torch.stack((self._uniform(count, self.shift, device), self._uniform(count, self.shift, device)), 1)
        cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
        turn = torch.stack((torch.stack((cos, -sin), 1), torch.stack((sin, cos), 1)), 1)
        return torch.cat((turn, shift[:, :, None]), 2)

    def _moved(self, image: Tensor, motion: Tensor, raised: Tensor | float = 1.0) -> Tensor:
        """The image moved; raised for the while, so that the zeros of grid_sample beyond the border are air (-1)."""
        grid = F.affine_grid(motion, list(image.shape), align_corners=False)
        return F.grid_sample(image.float() + raised, grid, mode="bilinear", align_corners=False) - raised

    def _move(self, image: Tensor) -> Tensor:
        return self._moved(image, self._motion(image.shape[0], image.device))

    def _expose(self, image: Tensor) -> Tensor:
        count, device = image.shape[0], image.device
        gamma = torch.exp(self._uniform(count, self.gamma, device))[:, None, None, None]
        contrast = 1 + self._uniform(count, self.contrast, device)[:, None, None, None]
        brightness = self._uniform(count, self.brightness, device)[:, None, None, None]
        image = 2 * ((image + 1) / 2).clamp(0, 1) ** gamma - 1
        return (image * contrast + brightness).clamp(-1, 1)


class RandMirror:
    """Mirror some images of a batch, left to right.

    Only where the answer has no side, as in normal against abnormal: there it takes a shortcut away, since letters on
    the film and the way a hospital crops tell where an image comes from. Sampling uses torch's global random state.

    Args:
        prob: probability for each image, in [0, 1].

    Raises:
        ValueError: another probability.
    """

    def __init__(self, prob: float) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f"prob: expected a number in [0, 1], got {prob}")
        self.prob = prob

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mirror ``image`` (B, C, S, S), all channels of an image alike."""
        if self.prob == 0:
            return batch
        image = batch["image"]
        chosen = torch.rand(image.shape[0], device=image.device) < self.prob
        return {**batch, "image": torch.where(chosen[:, None, None, None], image.flip(-1), image)}
