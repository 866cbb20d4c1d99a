"""Pseudo-healthy images: the synthesised normal image of an abnormal radiograph as a normal example (paper, section 6).

A pseudo-healthy image shows the anatomy of its patient without the disease. It is slightly blurred, so a classifier may
learn that blurred means normal; an image at the decomposer's own side is blurred least. It also depends on all images
that the decomposer was trained on, so a comparison with few normal images must train the decomposer on the same few.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from monai_dgm.transforms.preparation import resample_planes

__all__ = ["RandPseudoHealthy", "content_mask", "pseudo_healthy_image"]

_NORMAL, _RESIDUE = slice(0, 1), slice(1, 2)  # channels of a decomposer's output


def content_mask(image: Tensor) -> Tensor:
    """Where radiographs lie within their squares: False in border rows and columns that are -1 throughout.

    Args:
        image: (B, 1, S, S) in [-1, 1], before augmentation.

    Returns:
        bool (B, 1, S, S).
    """
    inside = image > -0.9999  # resampling may leave air a rounding error above -1
    rows, columns = inside.any(dim=3, keepdim=True), inside.any(dim=2, keepdim=True)
    return _span(rows, 2) & _span(columns, 3)


def _span(marked: Tensor, dim: int) -> Tensor:
    """True from the first to the last marked index along ``dim``."""
    count = marked.long()
    return (count.cumsum(dim) > 0) & (count.flip(dim).cumsum(dim).flip(dim) > 0)


def pseudo_healthy_image(
    decomposer: Callable[[Tensor], Tensor],
    image: Tensor,
    size: int | None = None,
    channels: Sequence[str] = ("image",),
) -> Tensor:
    """Pseudo-healthy images of radiographs, as the input of a classifier.

    Args:
        decomposer: maps (B, 1, S', S') to (B, 3, S', S') with y' and a as first channels; in evaluation mode, on the
            device of the image.
        image: z, (B, 1, S, S) in [-1, 1].
        size: side S' of the decomposer's input; None for S. Planes are resampled to it and back.
        channels: channels of the classifier, of "image" and "residue". The residue of a pseudo-healthy image is
            computed by the decomposer; it is nearly 0.

    Returns:
        float32 (B, C, S, S): y' and its residue in the order of ``channels``; -1 and 0 in the border that "pad" added.
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
    """Replace random images of label 1 in a batch by their pseudo-healthy images, with label 0.

    The original image is used in other batches, so over a whole training pseudo-healthy images are added. With a
    balanced sampler, ``normal_fraction`` 0.25 and ``prob`` 1/3 give a quarter each of real and pseudo-healthy normal
    images. Use it before augmentation, which blurs the border of the radiograph. The random numbers come from torch's
    global random state, so a resumed training repeats them.

    Args:
        prob: probability for each image of label 1.
        decomposer: as in :func:`pseudo_healthy_image`; may be None when ``prob`` is 0.
        size: side of the decomposer's input; None for that of the batch.
        channels: names of the channels of a batch, of "image" and "residue".

    Raises:
        ValueError: a probability outside [0, 1]; with a positive one also no decomposer, or channels without "image".
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
            raise ValueError("decomposer: expected one: pseudo-healthy images are its normal images")
        if prob > 0 and "image" not in channels:
            raise ValueError(
                f"channels: expected the image among them: pseudo-healthy images are made from it, got {list(channels)}"
            )
        self.prob = prob
        self.decomposer = decomposer
        self.size = size
        self.channels = tuple(channels)

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Replace images in a batch with ``image`` (B, C, S, S) and ``label`` (B,).

        Returns:
            the batch with new ``image`` and ``label`` (0 where replaced), and ``pseudo_healthy`` (B,) bool.
        """
        image, label = batch["image"], batch["label"]
        chosen = (torch.rand(label.shape, device=label.device) < self.prob) & (label == 1)
        if chosen.any() and self.decomposer is not None:
            index = self.channels.index("image")
            plane = image[chosen][:, index : index + 1]
            pseudo_healthy = pseudo_healthy_image(self.decomposer, plane, self.size, self.channels)
            image, label = image.clone(), label.clone()
            image[chosen], label[chosen] = pseudo_healthy.to(image.dtype), 0
        return {**batch, "image": image, "label": label, "pseudo_healthy": chosen}
