"""Radiographs with the planes that box terms and opacities in the own lungs need, for a bundle's training."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from monai_dgm.data.dataset import ItemTransform, RadiographDataset, apply_transform
from monai_dgm.data.known_truth import describe_items
from monai_dgm.data.sources import FindLungs
from monai_dgm.transforms.truth_augmentation import box_weights

__all__ = ["TruthDataset"]


class TruthDataset(RadiographDataset):
    """:class:`RadiographDataset` whose items say where opacities and lungs are.

    Item i has besides: "box_weight" float32 (1, S, S) (:func:`monai_dgm.transforms.truth_augmentation.box_weights`),
    "complete" bool (abnormal, all opacities in boxes), "category" int64, and "lungs" float32 (1, S, S), 0 or 1.

    Args:
        datalist, size, cache_dir: of :class:`RadiographDataset`.
        find_lungs: (B, 1, S, S) -> bool (B, S, S), a lung segmentor, for images without a lung mask; without one these
            have no lungs, and opacities are superimposed anywhere in them.
        transform: applied to each item, with all of its planes.
    """

    def __init__(
        self,
        datalist: Sequence[dict[str, Any]],
        size: int,
        cache_dir: str | os.PathLike[str],
        find_lungs: FindLungs | None = None,
        transform: ItemTransform | None = None,
    ) -> None:
        super().__init__(datalist, size, cache_dir)
        self._transform = transform
        self.size = size
        pairs = list(zip(self.items, self.geometries, strict=True))
        boxes = [geometry.boxes_to_model(item.get("opacity_boxes", ())) for item, geometry in pairs]
        sources = sorted({str(item.get("source")) for item in self.items})
        items = [{**item, "source": str(item.get("source"))} for item in self.items]
        known = describe_items(items, boxes, sources)
        self.boxes, self.complete, self.category = (
            torch.from_numpy(np.asarray(known[name])) for name in ("boxes", "complete", "category")
        )
        self.lungs = np.stack([np.packbits(self._lungs_of(i, find_lungs)) for i in range(len(self))])

    def _lungs_of(self, index: int, find_lungs: FindLungs | None) -> np.ndarray:
        truth = self.truth(index)
        if "lung_mask" in truth:
            return np.asarray(truth["lung_mask"])
        if find_lungs is None:
            return np.zeros((self.size, self.size), bool)
        return find_lungs(self.images_as_tensor([index]))[0]

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One radiograph."""
        lungs = np.unpackbits(self.lungs[index], count=self.size**2).reshape(1, self.size, self.size)
        item = {
            **super().__getitem__(index),
            "box_weight": box_weights(self.boxes[index][None], self.size)[0],
            "complete": self.complete[index],
            "category": self.category[index],
            "lungs": torch.from_numpy(lungs.astype(np.float32)),
        }
        return apply_transform(self._transform, item)
