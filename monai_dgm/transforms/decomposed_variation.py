"""Random variation of radiographs whose residues are beside them as channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from monai_dgm.transforms.augmentation import RandRadiographAugmentation, check_batch_channels, mark_channels

__all__ = ["RandResidueAugmentation"]


class RandResidueAugmentation(RandRadiographAugmentation):
    """:class:`RandRadiographAugmentation` for images and residues stacked: one motion for both, exposure for the image.

    The residue is that of the image as it was. It is moved along but not computed again, and a change of exposure
    leaves it as it is: a decomposer would give a slightly other one for the varied image. Sampling uses torch's
    global random state, so a resumed training repeats it.

    Args:
        channels: what the channels of a batch are, of "image" and "residue".
        prob: probability for each image.
        limits: limits of :class:`RandRadiographAugmentation`: rotation, scale, shift, contrast, brightness, gamma.
    """

    def __init__(self, channels: Sequence[str] = ("image", "residue"), prob: float = 0.9, **limits: float) -> None:
        super().__init__(prob, **limits)
        self.channels = tuple(channels)

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Vary ``image`` (B, C, S, S); beyond the border an image is -1 (air) and a residue 0.

        Raises:
            ValueError: a batch that has other channels.
        """
        image = batch["image"]
        check_batch_channels(image, self.channels)
        chosen = torch.rand(image.shape[0], device=image.device) < self.prob
        # what _move puts beyond the border is -1; a residue is lowered by 1 for the while
        lowered = mark_channels(self.channels, "residue", image.device)
        planes = list((self._move(image - lowered) + lowered).split(1, dim=1))
        if "image" in self.channels:
            place = self.channels.index("image")
            planes[place] = self._expose(planes[place])
        varied = torch.cat(planes, dim=1)
        return {**batch, "image": torch.where(chosen[:, None, None, None], varied, image)}
