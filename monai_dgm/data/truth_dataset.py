"""Radiographs with the planes that box terms and opacities in the own lungs need, for a bundle's training."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from monai_dgm.data.cache_file import open_array
from monai_dgm.data.dataset import ItemTransform, RadiographDataset, apply_transform
from monai_dgm.data.known_truth import describe_items
from monai_dgm.data.sources import FindLungs
from monai_dgm.transforms.truth_augmentation import box_weights
from monai_dgm.utils.atomic import atomic_write

__all__ = ["TruthDataset", "training_dataset"]


class TruthDataset(RadiographDataset):
    """:class:`RadiographDataset` whose items say where opacities and lungs are.

    Item i has besides: "box_weight" float32 (1, S, S) (:func:`monai_dgm.transforms.truth_augmentation.box_weights`),
    "complete" bool (abnormal, all opacities in boxes), "category" int64, and "lungs" float32 (1, S, S), 0 or 1.

    Args:
        datalist, size, cache_dir: of :class:`RadiographDataset`.
        find_lungs: (B, 1, S, S) -> bool (B, S, S), a lung segmentor, for images without a lung mask; without one these
            have no lungs, and opacities are superimposed anywhere in them.
        transform: applied to each item, with all of its planes.
        with_boxes: False hides every box, so that a training knows image-level labels alone.
    """

    def __init__(
        self,
        datalist: Sequence[dict[str, Any]],
        size: int,
        cache_dir: str | os.PathLike[str],
        find_lungs: FindLungs | None = None,
        transform: ItemTransform | None = None,
        with_boxes: bool = True,
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
        if not with_boxes:
            self.boxes, self.complete = torch.zeros_like(self.boxes), torch.zeros_like(self.complete)
        self.lungs = self._find_lungs(find_lungs, Path(cache_dir))

    def _find_lungs(self, find_lungs: FindLungs | None, cache_dir: Path) -> np.ndarray:
        """Packed lung masks of all images: the drawn ones, else the segmentor's, which are found once and kept."""
        width = (self.size**2 + 7) // 8
        fingerprint = getattr(find_lungs, "fingerprint", None)
        key = hashlib.sha256(f"{self.content_key} {fingerprint} {self.size}".encode()).hexdigest()[:40]
        file = cache_dir / f"lungs-{key}.npy"
        shape = (len(self), width)
        known = None if fingerprint is None else open_array(file, shape, "|u1")
        found = np.zeros(shape, np.uint8) if known is None else np.array(known)
        for index, item in enumerate(self.items):
            if find_lungs is not None and known is None and not item.get("lung_mask"):
                found[index] = np.packbits(find_lungs(self.images_as_tensor([index]))[0])
        if known is None and fingerprint is not None:
            with atomic_write(file) as partial, open(partial, "wb") as stream:
                np.save(stream, found)
        for index, item in enumerate(self.items):
            if item.get("lung_mask"):
                found[index] = np.packbits(self.truth(index)["lung_mask"])
        return found

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


def training_dataset(
    datalist: Sequence[dict[str, Any]],
    size: int,
    cache_dir: str | os.PathLike[str],
    supervision: str,
    find_lungs: FindLungs | None = None,
    with_boxes: bool = True,
    transform: ItemTransform | None = None,
) -> RadiographDataset:
    """The radiographs of a training: with the planes that box terms need where it is supervised by "boxes".

    Args:
        datalist, size, cache_dir, transform: of :class:`monai_dgm.data.dataset.RadiographDataset`.
        supervision: "labels" or "boxes".
        find_lungs, with_boxes: of :class:`TruthDataset`; not used with "labels".
    """
    if supervision == "boxes":
        return TruthDataset(datalist, size, cache_dir, find_lungs, transform, with_boxes)
    return RadiographDataset(datalist, size, cache_dir, transform=transform)
