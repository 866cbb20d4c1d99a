"""Superimpose simulated opacities on normal radiographs: pairs with known truth, from image-level labels alone.

The paper assumes that disease "superimposes upon or replaces" normal tissue. Doing this to a normal radiograph gives an
abnormal one whose normal image and residue are known, so that they can supervise the decomposition. The shapes are
simple (ragged, textured blobs) and share no code with :mod:`monai_dgm.data.simulator`, so that evaluation on simulated
radiographs stays fair.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["RandSuperimposeOpacity", "blob_mask", "mean_opacity", "smooth_noise", "superimpose_opacity"]


def smooth_noise(shape: Sequence[int], cells: int, device: torch.device | None = None) -> Tensor:
    """Smooth random field with a variance of about 1: bicubic interpolation of ``cells`` x ``cells`` Gaussian values.

    Args:
        shape: (B, C, S, S) of the result.
        cells: number of values per side; more give a finer field.
    """
    coarse = torch.randn(shape[0], shape[1], cells, cells, device=device)
    field = F.interpolate(coarse, size=tuple(shape[2:]), mode="bicubic", align_corners=False)
    return field / 0.75  # interpolation lowers the variance of the field to about 0.75^2


def blob_mask(size: int, centre: Tensor, radius: Tensor, raggedness: Tensor, softness: Tensor) -> Tensor:
    """Ellipses with ragged, soft edges.

    Args:
        size: S.
        centre, radius: (B, K, 2) as fractions of the side, x then y.
        raggedness: (B, K), amount by which noise moves the edge, as a share of the radius.
        softness: (B, K), width of the edge as a share of the radius.

    Returns:
        (B, K, S, S) in [0, 1].
    """
    batch, blobs = centre.shape[:2]
    axis = (torch.arange(size, device=centre.device) + 0.5) / size
    x = (axis.view(1, 1, 1, size) - centre[..., 0, None, None]) / radius[..., 0, None, None]
    y = (axis.view(1, 1, size, 1) - centre[..., 1, None, None]) / radius[..., 1, None, None]
    noise = smooth_noise((batch, blobs, size, size), 8, centre.device) + 0.5 * smooth_noise(
        (batch, blobs, size, size), 20, centre.device
    )
    distance = (x.square() + y.square()).sqrt() + raggedness[..., None, None] * noise
    return torch.sigmoid((1 - distance) * 4 / softness[..., None, None])


def superimpose_opacity(normal: Tensor, mask: Tensor, density: Tensor, replaced: Tensor) -> Tensor:
    """Add an opacity to normal tissue, or replace normal tissue by it.

    Args:
        normal: (B, 1, S, S) in [-1, 1].
        mask: (B, 1, S, S) in [0, 1].
        density: (B,): added brightness, and brightness of the replacing tissue relative to mid grey, [-1, 1] scale.
        replaced: (B,) in [0, 1]: share by which the opacity replaces (1) instead of superimposes (0).

    Returns:
        (B, 1, S, S) in [-1, 1], nowhere darker than ``normal``.
    """
    density, replaced = density[:, None, None, None], replaced[:, None, None, None]
    added = mask * density
    towards = mask * (density + 0.1 - normal).clamp(min=0)  # tissue that is brighter than the opacity is kept
    return (normal + (1 - replaced) * added + replaced * towards).clamp(-1, 1)


def mean_opacity(size: int, count: int = 512, seed: int = 0) -> NDArray[np.float32]:
    """Mean of the masks of :class:`RandSuperimposeOpacity` as it is by default: the prior that they carry.

    Args:
        size: side S.
        count: masks.
        seed: of their draw; torch's global random state stays as it was.

    Returns:
        float32 (S, S) in [0, 1].
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        masks = RandSuperimposeOpacity().sample_mask(count, size, torch.device("cpu"))
    return masks.mean(dim=(0, 1)).numpy()


class RandSuperimposeOpacity:
    """Superimpose random opacities on random normal images of a batch.

    Centres are drawn where lungs are in a frontal view (two Gaussians, left and right), radii from a nodule's to half
    a lung's. The random numbers come from torch's global random state, so a resumed training
    repeats them.

    Args:
        prob: probability for each normal image.
        max_opacities: largest number of opacities per image.
        density: smallest and largest added brightness on the [-1, 1] scale.
        radius: smallest and largest radius as fractions of the side.
        lung_centres: x of the two lungs' centres as fractions of the side.
    """

    def __init__(
        self,
        prob: float = 0.5,
        max_opacities: int = 3,
        density: tuple[float, float] = (0.1, 0.7),
        radius: tuple[float, float] = (0.05, 0.26),
        lung_centres: tuple[float, float] = (0.29, 0.71),
    ) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f"prob: expected a number in [0, 1], got {prob}")
        self.prob = prob
        self.max_opacities = max_opacities
        self.density = density
        self.radius = radius
        self.lung_centres = lung_centres

    def sample_mask(self, batch: int, size: int, device: torch.device) -> Tensor:
        """Random opacity masks, (B, 1, S, S) in [0, 1]."""
        shape = (batch, self.max_opacities)
        side = torch.tensor(self.lung_centres, device=device)[torch.randint(0, 2, shape, device=device)]
        centre = torch.stack(
            (
                side + 0.08 * torch.randn(shape, device=device),
                0.52 + 0.15 * torch.randn(shape, device=device),  # more often in the middle and lower zones
            ),
            dim=-1,
        )
        low, high = self.radius
        radius = low * (high / low) ** torch.rand((*shape, 1), device=device)
        radius = radius * torch.exp(0.25 * torch.randn((*shape, 2), device=device))
        raggedness = 0.35 * torch.rand(shape, device=device)
        softness = 0.2 + 1.3 * torch.rand(shape, device=device)
        masks = blob_mask(size, centre, radius, raggedness, softness)
        count = torch.randint(1, self.max_opacities + 1, (batch, 1), device=device)
        kept = torch.arange(self.max_opacities, device=device)[None] < count
        return (masks * kept[:, :, None, None]).amax(dim=1, keepdim=True)

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Superimpose opacities in a batch with ``image`` (B, 1, S, S) and ``label`` (B,).

        Returns:
            the batch with new ``image`` and ``label`` (1 where superimposed), ``superimposed`` (B,) bool and
            ``true_normal`` (B, 1, S, S), the image as it was.
        """
        normal, label = batch["image"], batch["label"]
        chosen = (torch.rand(label.shape, device=label.device) < self.prob) & (label == 0)
        size, count, device = normal.shape[-1], normal.shape[0], normal.device
        texture = 1 + 0.15 * smooth_noise((count, 1, size, size), 24, device)
        mask = self.sample_mask(count, size, device) * texture.clamp(0, 2)
        low, high = self.density
        density = low + (high - low) * torch.rand(count, device=device)
        replaced = torch.rand(count, device=device)
        image = superimpose_opacity(normal, mask.clamp(0, 1), density, replaced)
        return {
            **batch,
            "image": torch.where(chosen[:, None, None, None], image, normal),
            "label": torch.where(chosen, torch.ones_like(label), label),
            "superimposed": chosen,
            "true_normal": normal,
        }
