"""Superimposed opacities in each patient's own lungs, of the size of real ones, and real ones moved to normal images.

:mod:`monai_dgm.transforms.superimpose` draws places for an average thorax, and what it draws therefore tells where
opacities are on average. Here places are drawn inside the lungs of the image that gets them, sizes and shapes from the
boxes of training images. Where a batch has images with boxes, some of their opacities are moved to normal images by
Poisson blending (Perez et al. 2003), at the place that they had in their own thorax.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from monai_dgm.transforms.superimpose import blob_mask, smooth_noise, superimpose_opacity

__all__ = ["RandLungOpacity", "blend", "draw_in_lungs", "transplant"]

MARKED = 0.25  # of a soft mask: more than that counts as opacity
_COARSE = 56  # side at which the correction of a blend is found: it is smooth


def draw_in_lungs(lungs: Tensor, count: int) -> Tensor:
    """Random places inside lungs.

    Args:
        lungs: (B, 1, S, S), above 0.5 in the lungs; an image without any takes places anywhere.
        count: K places an image.

    Returns:
        (B, K, 2), x and y as fractions of the side.
    """
    coarse = F.adaptive_avg_pool2d(lungs.float(), 28).flatten(1)
    weight = torch.where(coarse > 0.5, 1.0, 1e-6)
    cell = torch.multinomial(weight, count, replacement=True)
    shift = torch.rand((*cell.shape, 2), device=lungs.device)
    return (torch.stack((cell % 28, cell // 28), dim=-1) + shift) / 28


def blend(normal: Tensor, donor: Tensor, mask: Tensor, steps: int = 60) -> Tensor:
    """Poisson blending: the donor's gradients inside the mask, the normal image's values around it.

    f = donor + h inside, with h harmonic there and equal to normal - donor around it. h is found by Jacobi steps at a
    side of at most 56 pixels, which is enough for a harmonic function.

    Args:
        normal, donor: (B, 1, S, S).
        mask: (B, 1, S, S) in [0, 1], soft at its edge.
        steps: Jacobi steps at each of three resolutions, coarse to fine.

    Returns:
        (B, 1, S, S), equal to ``normal`` where the mask is 0.
    """
    difference = (normal - donor).float()
    h: Tensor | None = None
    for side in (_COARSE // 4, _COARSE // 2, _COARSE):
        side = min(side, normal.shape[-1])
        inside = F.adaptive_avg_pool2d(mask.float(), side) > 0.5
        around = F.adaptive_avg_pool2d(difference, side)
        h = around if h is None else F.interpolate(h, size=(side, side), mode="bilinear", align_corners=False)
        h = torch.where(inside, h, around)
        for _ in range(steps):
            padded = F.pad(h, (1, 1, 1, 1), mode="replicate")
            mean = (padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:] + padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1]) / 4
            h = torch.where(inside, mean, around)
    assert h is not None
    correction = F.interpolate(h, size=tuple(normal.shape[2:]), mode="bilinear", align_corners=False)
    return normal + mask * (donor + correction - normal)


def transplant(normal: Tensor, donor: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Move what a donor has inside its boxes to the same place of normal images, by :func:`blend`.

    Args:
        normal, donor: (B, 1, S, S) in [-1, 1].
        inside: (B, 1, S, S) bool, inside the boxes.

    Returns:
        the images (B, 1, S, S) in [-1, 1], and the soft area (B, 1, S, S) in [0, 1].
    """
    window = max(3, normal.shape[-1] // 24 * 2 + 1)
    soft = F.avg_pool2d(inside.float(), window, stride=1, padding=window // 2, count_include_pad=False) * inside
    return blend(normal, donor, (2 * soft - 0.5).clamp(0, 1)).clamp(-1, 1), soft


class RandLungOpacity:
    """Superimpose opacities on random normal images of a batch, inside their lungs.

    Uses torch's global random state, so a resumed training repeats it.

    Args:
        prob: probability for each normal image.
        sizes: (N, 2) width and height of real boxes as fractions of the side; opacities have these, varied.
        transplant_prob: share of the chosen images that get real opacities of an image with boxes of the batch.
        darken_prob: share of the others whose opacity darkens (pneumothorax, emphysema).
        max_opacities: at most that many drawn ones in one image.
        density: range of added brightness on the [-1, 1] scale.

    Raises:
        ValueError: a probability outside [0, 1], or sizes that are none.
    """

    def __init__(
        self,
        prob: float = 0.5,
        sizes: Tensor | None = None,
        transplant_prob: float = 0.4,
        darken_prob: float = 0.1,
        max_opacities: int = 3,
        density: tuple[float, float] = (0.08, 0.6),
    ) -> None:
        for name, value in (("prob", prob), ("transplant_prob", transplant_prob), ("darken_prob", darken_prob)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name}: expected a number in [0, 1], got {value}")
        if sizes is None:  # from a nodule's to half a lung's
            sizes = torch.tensor([[w, w * r] for w in (0.06, 0.1, 0.15, 0.2, 0.28) for r in (0.8, 1.2, 1.8)])
        if sizes.dim() != 2 or sizes.shape[1] != 2 or not ((sizes > 0) & (sizes <= 1)).all():
            raise ValueError(f"sizes: expected (N, 2) fractions of the side, got {tuple(sizes.shape)}")
        self.prob = prob
        self.sizes = sizes
        self.transplant_prob = transplant_prob
        self.darken_prob = darken_prob
        self.max_opacities = max_opacities
        self.density = density

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Superimpose in a batch with ``image`` (B, 1, S, S), ``label`` (B,) and ``lungs`` (B, 1, S, S).

        Returns:
            the batch with ``image`` and ``label`` changed (label 1 where superimposed), ``superimposed`` (B,) bool and
            ``true_normal`` (B, 1, S, S), the image as it was; where the batch has them, ``box_weight`` and
            ``complete`` tell where (not where it darkens), and ``category`` is -1, unknown: none of a real reading.
        """
        normal, label = batch["image"].float(), batch["label"]
        chosen = (torch.rand(label.shape, device=label.device) < self.prob) & (label == 0)
        image, area, darker = self._drawn(normal, batch["lungs"])
        if self.transplant_prob > 0 and "box_weight" in batch:
            image, area, darker = self._transplanted(batch, normal, image, area, darker)
        at = chosen[:, None, None, None]
        result = {
            **batch,
            "image": torch.where(at, image, normal),
            "label": torch.where(chosen, torch.ones_like(label), label),
            "superimposed": chosen,
            "true_normal": normal,
        }
        if "box_weight" in batch:
            marked = (area > MARKED).float()
            weight = marked / marked.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1).sqrt()
            result["box_weight"] = torch.where(at, weight, batch["box_weight"])
            result["complete"] = torch.where(chosen, ~darker & (marked.sum(dim=(1, 2, 3)) > 0), batch["complete"])
        if "category" in batch:
            result["category"] = torch.where(chosen, -1, batch["category"])
        return result

    def _drawn(self, normal: Tensor, lungs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images with drawn opacities, their soft areas, and (B,) whether they darken."""
        count, size, device = normal.shape[0], normal.shape[-1], normal.device
        shape = (count, self.max_opacities)
        sizes = self.sizes.to(device)[torch.randint(0, len(self.sizes), shape, device=device)]
        radius = sizes / 2 * torch.exp(0.2 * torch.randn((*shape, 2), device=device))
        raggedness = 0.35 * torch.rand(shape, device=device)
        softness = 0.2 + 1.3 * torch.rand(shape, device=device)
        masks = blob_mask(size, draw_in_lungs(lungs, self.max_opacities), radius, raggedness, softness)
        number = torch.randint(1, self.max_opacities + 1, (count, 1), device=device)
        kept = torch.arange(self.max_opacities, device=device)[None] < number
        area = (masks * kept[:, :, None, None]).amax(dim=1, keepdim=True)
        window = max(3, size // 32 * 2 + 1)
        near = F.avg_pool2d(lungs.float(), window, stride=1, padding=window // 2, count_include_pad=False)
        has_lungs = lungs.flatten(1).amax(dim=1)[:, None, None, None] > 0.5
        area = torch.where(has_lungs, area * (2 * near).clamp(0, 1), area)
        texture = (1 + 0.15 * smooth_noise((count, 1, size, size), 24, device)).clamp(0, 2)
        low, high = self.density
        density = low + (high - low) * torch.rand(count, device=device)
        mask = (area * texture).clamp(0, 1)
        brighter = superimpose_opacity(normal, mask, density, torch.rand(count, device=device))
        darker = torch.rand(count, device=device) < self.darken_prob
        dark = (normal - mask * density[:, None, None, None]).clamp(-1, 1)
        return torch.where(darker[:, None, None, None], dark, brighter), area, darker

    def _transplanted(
        self, batch: dict[str, Tensor], normal: Tensor, image: Tensor, area: Tensor, darker: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Some of the images with a donor's opacities instead."""
        count, device = normal.shape[0], normal.device
        donates = (batch["complete"] & (batch["label"] == 1)).float()
        weight = donates + 1e-9  # without any donor somebody is drawn, and not used
        donor = torch.multinomial(weight.expand(count, -1), 1)[:, 0]
        used = (donates[donor] > 0) & (torch.rand(count, device=device) < self.transplant_prob)
        moved, soft = transplant(normal, batch["image"][donor].float(), batch["box_weight"][donor] > 0)
        at = used[:, None, None, None]
        return torch.where(at, moved, image), torch.where(at, soft, area), darker & ~used
