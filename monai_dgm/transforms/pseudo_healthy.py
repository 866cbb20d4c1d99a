"""Normal twins: the synthesised normal image of an abnormal radiograph as one more normal example (paper, section 6).

A twin has the anatomy of its patient without the disease. Two things to know of it: it is blurred where the decomposer
is, so that a classifier may learn blur for normal (a twin of the decomposer's own side is blurred least); and it knows
all that the decomposer was trained on, so that "few normals" must hold for the decomposer, too, in a fair comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from monai_dgm.transforms.preparation import resample_planes

__all__ = ["RandPseudoHealthy", "content_mask", "pseudo_healthy_image"]

_NORMAL, _RESIDUE = slice(0, 1), slice(1, 2)  # channels of a decomposer's output


def content_mask(image: Tensor) -> Tensor:
    """Where radiographs lie within their squares: False in rows and columns at a border that are -1 throughout.

    Args:
        image: (B, 1, S, S) in [-1, 1], not yet moved.

    Returns:
        bool (B, 1, S, S).
    """
    inside = image > -0.9999  # resampling may leave air a rounding error above -1
    rows, columns = inside.any(dim=3, keepdim=True), inside.any(dim=2, keepdim=True)
    return _span(rows, 2) & _span(columns, 3)


def _span(marked: Tensor, dim: int) -> Tensor:
    """All places between the first and the last marked one."""
    count = marked.long()
    return (count.cumsum(dim) > 0) & (count.flip(dim).cumsum(dim).flip(dim) > 0)


def pseudo_healthy_image(
    decomposer: Callable[[Tensor], Tensor],
    image: Tensor,
    size: int | None = None,
    channels: Sequence[str] = ("image",),
) -> Tensor:
    """The normal twins of radiographs, as a classifier's input.

    Args:
        decomposer: gives (B, 3, S', S') with y' and a in its first channels, in evaluation mode, on the image's device.
        image: z, (B, 1, S, S) in [-1, 1].
        size: side S' of the decomposer's input; None for S. Planes are resampled to it and back.
        channels: what a classifier's channels are, of "image" and "residue". The residue of a twin is what the
            decomposer finds in it: nearly, not exactly, nothing.

    Returns:
        float32 (B, C, S, S): y' and its residue in the order of ``channels``; in the border that "pad" added -1 and 0.
    """
    side, inside = image.shape[-1], content_mask(image)
    with torch.no_grad():
        small = resample_planes(image, size or side)
        normal = decomposer(small)[:, _NORMAL].float()
        air = torch.full_like(image, -1)
        planes = {"image": torch.where(inside, resample_planes(normal, side), air).clamp(-1, 1)}
        if "residue" in channels:
            residue = decomposer(resample_planes(planes["image"], size or side))[:, _RESIDUE].float()
            planes["residue"] = torch.where(inside, resample_planes(residue, side), torch.zeros_like(image))
    return torch.cat([planes[name] for name in channels], dim=1)


class RandPseudoHealthy:
    """Put normal twins in the place of random images of label 1 of a batch, with label 0.

    The image itself is seen as it is in other batches, so over a training twins are added, not swapped. With a balanced
    sampler, ``normal_fraction`` 0.25 and ``prob`` 1/3 give a quarter each of real normals and twins. Use it before
    variation, which blurs the border that tells where the radiograph lies. Uses torch's global random state, so a
    resumed training repeats it.

    Args:
        prob: probability for each image of label 1.
        decomposer: as in :func:`pseudo_healthy_image`; may be None when ``prob`` is 0.
        size: side of the decomposer's input; None for that of the batch.
        channels: what the channels of a batch are, of "image" and "residue".

    Raises:
        ValueError: a probability outside [0, 1], no decomposer, or channels without the image.
    """

    def __init__(
        self,
        prob: float = 0.5,
        decomposer: Callable[[Tensor], Tensor] | None = None,
        size: int | None = None,
        channels: Sequence[str] = ("image",),
    ) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f"prob: expected a number in [0, 1], got {prob}")
        if prob > 0 and decomposer is None:
            raise ValueError("decomposer: expected one, normal twins are its normal images")
        if prob > 0 and "image" not in channels:
            raise ValueError(f"channels: expected the image among them, a twin is made of it, got {list(channels)}")
        self.prob = prob
        self.decomposer = decomposer
        self.size = size
        self.channels = tuple(channels)

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Replace in a batch with ``image`` (B, C, S, S) and ``label`` (B,).

        Returns:
            the batch with ``image`` and ``label`` changed (label 0 where a twin), and ``twin`` (B,) bool.
        """
        image, label = batch["image"], batch["label"]
        chosen = (torch.rand(label.shape, device=label.device) < self.prob) & (label == 1)
        if chosen.any() and self.decomposer is not None:
            place = self.channels.index("image")
            pseudo_healthy = pseudo_healthy_image(
                self.decomposer, image[chosen][:, place : place + 1], self.size, self.channels
            )
            image, label = image.clone(), label.clone()
            image[chosen], label[chosen] = pseudo_healthy.to(image.dtype), 0
        return {**batch, "image": image, "label": label, "twin": chosen}
