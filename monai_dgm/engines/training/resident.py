"""A whole training set on the device: 8-bit images, lung masks, boxes and labels, drawn from without a data loader.

8,000 images of 224 pixels are 0.4 GB. A GPU that trains a thousand images a second would wait for any loader.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from monai_dgm.transforms.truth_augmentation import box_weights

__all__ = ["ResidentRadiographs"]


@dataclass
class ResidentRadiographs:
    """Radiographs and what is known of them, all on one device.

    Attributes:
        images: uint8 (N, 1, S, S), 0 to 255 for -1 to 1.
        lungs: bool (N, 1, s, s), any side s.
        boxes: float32 (N, K, 4) in pixels of the images, K the most boxes of one; the boxes an image lacks are zeros.
        label: float32 (N,), 0 normal, 1 abnormal.
        category: int64 (N,), place in :data:`monai_dgm.data.manifest.CATEGORIES`.
        complete: bool (N,), abnormal with all of its opacities in boxes.
        empty: bool (N,), known to have no opacity: read by somebody who draws boxes, and none drawn.
        source: int64 (N,), number of the source.
        half: int64 (N,), 0 or 1, the same for all images of a patient: for cross-fitting.
    """

    images: Tensor
    lungs: Tensor
    boxes: Tensor
    label: Tensor
    category: Tensor
    complete: Tensor
    empty: Tensor
    source: Tensor
    half: Tensor

    def __len__(self) -> int:
        """Number of radiographs."""
        return len(self.images)

    def to(self, device: torch.device | str) -> ResidentRadiographs:
        """All on ``device``."""
        return ResidentRadiographs(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    def take(self, index: Tensor) -> ResidentRadiographs:
        """Those of an index or of a bool (N,)."""
        return ResidentRadiographs(**{field.name: getattr(self, field.name)[index] for field in fields(self)})

    def batch(self, index: Tensor, use_boxes: bool = True) -> dict[str, Tensor]:
        """Images of an index (B,) as the training step and its transforms take them.

        Args:
            index: which.
            use_boxes: else no image has any, as where only labels are known.

        Returns:
            ``image`` (B, 1, S, S) in [-1, 1], channels last, ``label`` and ``category`` (B,), ``complete`` (B,) bool,
            ``lungs`` and ``box_weight`` (B, 1, S, S).
        """
        size = self.images.shape[-1]
        image = self.images[index].float().div_(127.5).sub_(1).contiguous(memory_format=torch.channels_last)
        lungs = torch.nn.functional.interpolate(self.lungs[index].float(), size=(size, size), mode="nearest")
        boxes = self.boxes[index] if use_boxes else torch.zeros_like(self.boxes[index])
        complete = self.complete[index] if use_boxes else torch.zeros_like(self.complete[index])
        return {
            "image": image,
            "lungs": lungs,
            "box_weight": box_weights(boxes, size),
            "label": self.label[index],
            "category": self.category[index],
            "complete": complete,
        }

    def box_sizes(self) -> Tensor:
        """Width and height of all boxes as fractions of the side, (M, 2)."""
        sides = (self.boxes[..., 2:] - self.boxes[..., :2]).flatten(0, 1) / self.images.shape[-1]
        return sides[(sides > 0).all(dim=1)]

    def chances(self, normal_share: float = 0.45) -> Tensor:
        """Probability of each image to be drawn, (N,), sum 1.

        ``normal_share`` of the draws are normal. Within normal and abnormal, a group of source, category and being
        boxed or not weighs as the root of its size: small groups are seen more often than their share, and repeat.
        """
        key = self.source * 8 + self.category * 2 + self.complete.long()
        _, group, size = torch.unique(key, return_inverse=True, return_counts=True)
        weight = size[group].double().rsqrt()
        normal = self.label == 0
        shares = ((normal, normal_share), (~normal, 1 - normal_share))
        return torch.stack([share * weight * part / (weight * part).sum() for part, share in shares]).sum(0)

    @classmethod
    def gather(
        cls, images: NDArray[np.uint8], lungs: NDArray[np.bool_], known: Mapping[str, Any]
    ) -> ResidentRadiographs:
        """Put together from arrays.

        Args:
            images: (N, S, S).
            lungs: (N, s, s).
            known: from :func:`monai_dgm.data.known_truth.describe_items`.
        """
        truth = {name: torch.as_tensor(np.asarray(value)) for name, value in known.items() if name != "sources"}
        return cls(torch.from_numpy(images)[:, None], torch.from_numpy(lungs)[:, None], **truth)
