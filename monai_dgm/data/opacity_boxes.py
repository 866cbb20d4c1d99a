"""Radiographs with opacity boxes and radiographs known to have none, the data of an opacity detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monai_dgm.data.dataset import DatasetView, ItemTransform, apply_transform
from monai_dgm.data.decomposed import DecomposedDataset
from monai_dgm.data.sources import Splits
from monai_dgm.errors import InputError
from monai_dgm.transforms.geometry import RadiographGeometry

__all__ = ["OpacityBoxDataset", "collate_boxes", "known_opacities", "opacity_splits"]

Datalist = list[dict[str, Any]]


def known_opacities(datalist: Sequence[Mapping[str, Any]], readers: set[Any] | None = None) -> Datalist:
    """The images with known opacities: their boxes are known, or it is known that they have none.

    An image with boxes is kept. An image without boxes is kept, as one without opacities, when its category is "normal"
    or "other_abnormal" and its label comes from a source (``label_source``) that draws boxes, since such a source has
    looked for opacities. All other images are left out: text-mined labels without boxes, "tuberculosis" of a data set
    that marks no opacities, and "lung_opacity" without boxes.

    Args:
        datalist: items with "category", "opacity_boxes" and "label_source" (None counts as a source of its own).
        readers: the sources that draw boxes; by default those that drew one in ``datalist``.

    Returns:
        the items, in their order.
    """
    drawn = box_readers(datalist) if readers is None else readers
    return [
        dict(item)
        for item in datalist
        if num_boxes(item)
        or (item.get("category") in ("normal", "other_abnormal") and item.get("label_source") in drawn)
    ]


def num_boxes(item: Mapping[str, Any]) -> int:
    """Opacity boxes of an item."""
    boxes = item.get("opacity_boxes")
    return 0 if boxes is None else len(boxes)


def box_readers(datalist: Sequence[Mapping[str, Any]]) -> set[Any]:
    """Label sources that drew at least one opacity box."""
    return {item.get("label_source") for item in datalist if num_boxes(item)}


def opacity_splits(splits: Splits, boxed_images: int | None = None, seed: int = 0) -> Splits:
    """:func:`known_opacities` of each part; who draws boxes is decided over all of them.

    Args:
        splits: of all images.
        boxed_images: train with this many of the images with boxes, drawn at random, as if no others had been
            annotated; None trains with all. Images without opacities stay.
        seed: of the draw. With the same seed a smaller number draws a part of a larger one's images.

    Raises:
        InputError: training or validation has no image with boxes, unless all are test images; or training has fewer
            than ``boxed_images``.
    """
    readers = box_readers([*splits.training, *splits.validation, *splits.test])
    training, validation, test = (
        known_opacities(part, readers) for part in (splits.training, splits.validation, splits.test)
    )
    for name, part in () if splits.is_external else (("training", training), ("validation", validation)):
        if not any(num_boxes(item) for item in part):
            raise InputError(f"{name}: expected images with opacity_boxes, none of {len(part)} has one")
    if boxed_images is not None:
        training = _draw_boxed(training, boxed_images, seed)
    return Splits(training, validation, test, splits.description)


def _draw_boxed(datalist: Datalist, count: int, seed: int) -> Datalist:
    boxed = [index for index, item in enumerate(datalist) if num_boxes(item)]
    if not 1 <= count <= len(boxed):
        raise InputError(f"boxed_images: expected 1 to {len(boxed)}, the training images with boxes, got {count}")
    drawn = set(np.random.default_rng(seed).permutation(boxed)[:count].tolist())
    return [item for index, item in enumerate(datalist) if index in drawn or not num_boxes(item)]


class OpacityBoxDataset(DatasetView):
    """Radiographs, alone or with their residues, and their opacity boxes in model coordinates.

    Item i: "image" float32 (C, S, S), "boxes" float32 (N, 4), "index" int.

    Args:
        dataset: the radiographs with the detector's channels.
        transform: applied to each item as it is taken, see :func:`monai_dgm.data.dataset.apply_transform`; one that
            moves the image has to move the boxes, too (MONAI's box transforms do).
    """

    dataset: DecomposedDataset

    def __init__(self, dataset: DecomposedDataset, transform: ItemTransform | None = None) -> None:
        super().__init__(dataset, transform)
        pairs = zip(dataset.items, dataset.geometries, strict=True)
        self.boxes: list[Tensor] = [torch.from_numpy(_model_boxes(item, geometry)) for item, geometry in pairs]

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels of "image"."""
        return self.dataset.channels

    @property
    def size(self) -> int:
        """Side S in pixels."""
        return self.dataset.size

    @property
    def has_boxes(self) -> list[int]:
        """1 for an image with boxes, 0 for one without; batches are balanced by it."""
        return [int(len(boxes) > 0) for boxes in self.boxes]

    def residue(self, index: int) -> Tensor:
        """The residue of an image, float32 (1, S, S); see :meth:`DecomposedDataset.residue`."""
        return self.dataset.residue(index)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One radiograph."""
        item = {"image": self.dataset[index]["image"], "boxes": self.boxes[index], "index": index}
        return apply_transform(self.transform, item)


def _model_boxes(item: Mapping[str, Any], geometry: RadiographGeometry) -> np.ndarray:
    boxes = item.get("opacity_boxes")
    return geometry.boxes_to_model([] if boxes is None else boxes).reshape(-1, 4)


def collate_boxes(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A batch: "image" (B, C, S, S), "boxes" a list of B tensors (N, 4), N differing, "index" (B,)."""
    return {
        "image": torch.stack([item["image"] for item in items]),
        "boxes": [item["boxes"] for item in items],
        "index": torch.tensor([item["index"] for item in items]),
    }
