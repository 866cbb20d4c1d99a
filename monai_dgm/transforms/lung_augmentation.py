"""Random variation of radiographs with their lung masks, a batch at a time, wide enough for other sources' images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from monai_dgm.transforms.augmentation import RandRadiographAugmentation

__all__ = ["RandLungAugmentation"]


class RandLungAugmentation(RandRadiographAugmentation):
    """Move image and mask together; vary exposure, shading, sharpness and noise of the image; never flip.

    Position and exposure are those of :class:`RandRadiographAugmentation`, larger. Shading (a smooth random field)
    stands for opacities, scatter and the heel effect; a blurred or noisy image for another detector or
    another resampling.

    Args:
        prob: probability for each image of position and exposure, and of each of the other three.
        rotation, scale, shift, contrast, brightness, gamma: as in :class:`RandRadiographAugmentation`.
        shading: largest standard deviation of the random field, [-1, 1] scale.
        noise: largest standard deviation of the noise, [-1, 1] scale.
    """

    def __init__(
        self,
        prob: float = 0.9,
        rotation: float = 12.0,
        scale: float = 0.2,
        shift: float = 0.1,
        contrast: float = 0.3,
        brightness: float = 0.25,
        gamma: float = 0.5,
        shading: float = 0.3,
        noise: float = 0.06,
    ) -> None:
        super().__init__(prob, rotation, scale, shift, contrast, brightness, gamma)
        self.shading = shading
        self.noise = noise

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Vary ``image`` (B, 1, S, S) in [-1, 1] and, by the same movement, ``label`` (B, 1, S, S) of 0 and 1."""
        image, label = batch["image"], batch["label"]
        moved = self._move(torch.cat((image, 2 * label - 1), dim=1))  # beyond the border: air, and no lung
        varied = self._expose(moved[:, :1])
        for change in (self._shade, self._blur, self._add_noise):
            varied = torch.where(self._chosen(image), change(varied), varied)
        chosen = self._chosen(image)
        label = torch.where(chosen, (moved[:, 1:] > 0).to(label.dtype), label)
        return {**batch, "image": torch.where(chosen, varied.clamp(-1, 1), image), "label": label}

    def _chosen(self, image: Tensor) -> Tensor:
        return (torch.rand(image.shape[0], device=image.device) < self.prob)[:, None, None, None]

    def _shade(self, image: Tensor) -> Tensor:
        count, device = image.shape[0], image.device
        strength = (self.shading * torch.rand(count, device=device))[:, None, None, None]
        field = torch.randn(count, 1, 6, 6, device=device)
        smooth = F.interpolate(field, size=image.shape[2:], mode="bicubic", align_corners=False)
        return image + strength * smooth

    def _blur(self, image: Tensor) -> Tensor:
        share = torch.rand(image.shape[0], device=image.device)[:, None, None, None]
        blurred = F.avg_pool2d(F.pad(image, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
        return image + share * (blurred - image)

    def _add_noise(self, image: Tensor) -> Tensor:
        deviation = (self.noise * torch.rand(image.shape[0], device=image.device))[:, None, None, None]
        return image + deviation * torch.randn_like(image)
