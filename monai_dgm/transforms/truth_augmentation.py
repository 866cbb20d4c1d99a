"""Random augmentation of radiographs together with their lung masks and box weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from monai_dgm.transforms.augmentation import BACKGROUND, RandRadiographAugmentation, move_planes

__all__ = ["RandTruthAugmentation", "box_weights"]


def box_weights(boxes: Tensor, size: int, power: float = 0.5) -> Tensor:
    """Weight of each pixel inside boxes: a box of area A has A^-power at its pixels, and boxes add up.

    With power 1 every box counts alike, with 0 every pixel.

    Args:
        boxes: (B, K, 4) in pixels, K the most boxes of an image, those it lacks all zeros.
        size: side S in pixels.
        power: see above.

    Returns:
        float32 (B, 1, S, S), 0 outside all boxes. A box marks the pixels whose centre it holds.
    """
    centre = torch.arange(size, device=boxes.device) + 0.5
    x = (centre >= boxes[..., 0, None]) & (centre < boxes[..., 2, None])  # (B, K, S)
    y = (centre >= boxes[..., 1, None]) & (centre < boxes[..., 3, None])
    area = (x.sum(-1) * y.sum(-1)).clamp(min=1).float()
    return torch.einsum("bk,bky,bkx->byx", area**-power, y.float(), x.float())[:, None]


class RandTruthAugmentation(RandRadiographAugmentation):
    """:class:`RandRadiographAugmentation` of images together with planes of the same side; some images are mirrored.

    Exposure changes the image alone. The random numbers come from torch's global random state, so that a resumed
    training repeats them.

    Args:
        planes: keys of the batch that move with "image", where they are there; beyond the border they are 0.
        mirror_prob: probability to mirror an image left to right with its planes, in [0, 1]; the place of a disease
            has no side, and letters on the film and the way a hospital crops are no longer a shortcut.
        prob, limits: of :class:`RandRadiographAugmentation`.

    Raises:
        ValueError: a probability outside [0, 1].
    """

    def __init__(
        self,
        planes: Sequence[str] = ("box_weight", "lungs"),
        mirror_prob: float = 0.5,
        prob: float = 0.9,
        **limits: float,
    ) -> None:
        super().__init__(("image",), prob, **limits)  # type: ignore[arg-type]
        if not 0 <= mirror_prob <= 1:
            raise ValueError(f"mirror_prob: expected a number in [0, 1], got {mirror_prob}")
        self.planes = tuple(planes)
        self.mirror_prob = mirror_prob

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Augment ``image`` (B, 1, S, S) in [-1, 1], -1 beyond the border, and the planes (B, 1, S, S)."""
        image = batch["image"]
        names = [name for name in self.planes if name in batch]
        count, device = image.shape[0], image.device
        chosen = (torch.rand(count, device=device) < self.prob)[:, None, None]
        still = torch.eye(2, 3, device=device).expand(count, 2, 3)
        motion = torch.where(chosen, self._draw_motion(count, device), still)
        mirrored = torch.rand(count, device=device) < self.mirror_prob
        side = torch.where(mirrored, -1.0, 1.0)[:, None, None]
        motion = torch.cat((motion[:, :1] * side, motion[:, 1:]), dim=1)  # read the mirrored place
        stack = torch.cat([image, *(batch[name] for name in names)], dim=1)
        moved = move_planes(stack, motion, [BACKGROUND["image"], *(0.0 for _ in names)])
        exposed = torch.where(chosen[:, :, None], self._expose(moved[:, :1]), moved[:, :1])
        return {**batch, "image": exposed, **{name: moved[:, i + 1 : i + 2] for i, name in enumerate(names)}}
