"""Radiographs with their lung masks, the training data of a lung segmentor."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from monai_dgm.data.dataset import DatasetView, ItemTransform, RadiographDataset, apply_transform
from monai_dgm.data.sources import Splits
from monai_dgm.errors import InputError

__all__ = ["LungDataset", "with_lung_masks"]


def with_lung_masks(splits: Splits, sources: Sequence[str] | None = None) -> Splits:
    """The same splits with only those items whose lung mask is known.

    Args:
        splits: from :func:`monai_dgm.data.sources.load_splits`.
        sources: train on images of these sources only, None for all; validation and test keep every source.

    Raises:
        InputError: nothing left to train on or to validate (unless all images are test images), or to test.
    """

    def with_mask(items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return [item for item in items if item.get("lung_mask")]

    training = [item for item in with_mask(splits.training) if sources is None or item.get("source") in sources]
    sides = {"training": training, "validation": with_mask(splits.validation), "test": with_mask(splits.test)}
    for name, items in sides.items():
        if not items and not (splits.is_external and name != "test"):
            of = "" if sources is None or name != "training" else f" from {', '.join(sources)}"
            raise InputError(f"{splits.description}: expected images with a lung_mask for the {name}{of}, found none")
    number = sum(len(items) for items in sides.values())
    return dataclasses.replace(splits, **sides, description=f"{splits.description}, {number} with lung masks")


class LungDataset(DatasetView):
    """Prepared radiographs with their lung masks; each mask file is read once, when the data set is made.

    Item i: "image" float32 (1, S, S) in [-1, 1]; "label" float32 (1, S, S), 1 in the lungs (MONAI's engines call the
    truth of a segmentation so); "index" int, for ``items``.

    Args:
        datalist: dicts with "image" and "lung_mask".
        size: side S in pixels.
        cache_dir: folder of the cache of :class:`monai_dgm.data.dataset.RadiographDataset`.
        transform: applied to each item as it is taken, see :func:`monai_dgm.data.dataset.apply_transform`.

    Raises:
        InputError: a file that cannot be used, an item without a mask, or a mask without lungs or of another size than
            its radiograph.
    """

    dataset: RadiographDataset

    def __init__(
        self,
        datalist: Sequence[dict[str, Any]],
        size: int,
        cache_dir: str | os.PathLike[str],
        transform: ItemTransform | None = None,
    ) -> None:
        super().__init__(RadiographDataset(datalist, size, cache_dir), transform)
        self.masks: NDArray[np.uint8] = np.zeros((len(self.items), size, size), dtype=np.uint8)
        for index, item in enumerate(self.items):
            mask = self.dataset.truth(index).get("lung_mask")
            if mask is None or not mask.any():
                raise InputError(f"{item['image']}: expected a lung mask with lungs in it, got none")
            self.masks[index] = mask

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One radiograph with its mask."""
        label: Tensor = torch.from_numpy(self.masks[index])[None].float()
        item = {"image": self.dataset[index]["image"], "label": label, "index": index}
        return apply_transform(self.transform, item)
