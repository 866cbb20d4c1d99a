"""Prepared radiographs as a torch data set, with the ground truth where it is known."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose, Randomizable
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from monai_dgm.data.cache import RadiographCache
from monai_dgm.data.decode import to_float32
from monai_dgm.data.manifest import clip_boxes
from monai_dgm.errors import InputError
from monai_dgm.readers.read import check_same_place, read_mask, read_radiograph
from monai_dgm.transforms.boxes import rasterise_boxes
from monai_dgm.transforms.geometry import RadiographGeometry

__all__ = ["DatasetView", "ItemTransform", "RadiographDataset", "apply_transform"]

ItemTransform = Callable[[dict[str, Any]], dict[str, Any]]


def apply_transform(transform: Any, item: dict[str, Any]) -> dict[str, Any]:
    """Apply a dictionary transform to one item of a data set.

    Random transforms (:class:`monai.transforms.Randomizable`) are seeded for each item from NumPy's global state, which
    a training checkpoint holds: a resumed training draws the same numbers as an uninterrupted one.

    Args:
        transform: from an item to an item, such as a MONAI ``Compose`` of dictionary transforms; None for none.
        item: with "image", a tensor (C, S, S), and other values.

    Raises:
        InputError: the transform changes the shape of "image", or its values are not finite.
    """
    if transform is None or (isinstance(transform, Compose) and len(transform.transforms) == 0):
        return item
    if isinstance(transform, Randomizable):
        transform.set_random_state(seed=int(np.random.randint(2**31)))
    shape = tuple(item["image"].shape)
    changed = {name: v.as_subclass(Tensor) if isinstance(v, Tensor) else v for name, v in transform(item).items()}
    image = changed.get("image")
    if not isinstance(image, Tensor) or tuple(image.shape) != shape:
        found = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise InputError(f"transform: expected it to keep the image's shape {shape}, got {found}")
    if not torch.isfinite(image).all():
        raise InputError("transform: expected finite values of the image, got NaN or infinity")
    return {**changed, "image": image.float()}


class DatasetView(Dataset[dict[str, Any]]):
    """Another view of the radiographs of a data set, in the same order.

    Args:
        dataset: the radiographs; its ``items`` and ``geometries`` are those of the view.
        transform: applied to each item as it is taken, see :func:`apply_transform`.
    """

    def __init__(self, dataset: Any, transform: ItemTransform | None = None) -> None:
        self.dataset = dataset
        self.transform = transform

    @property
    def items(self) -> list[dict[str, Any]]:
        """The datalist's dicts."""
        items: list[dict[str, Any]] = self.dataset.items
        return items

    @property
    def geometries(self) -> list[RadiographGeometry]:
        """Geometry of each radiograph in the model's square."""
        geometries: list[RadiographGeometry] = self.dataset.geometries
        return geometries

    def __len__(self) -> int:
        """Number of radiographs."""
        return len(self.items)


class RadiographDataset(Dataset[dict[str, Any]]):
    """Radiographs of a datalist, decoded and prepared once into ``cache_dir``.

    Preparation (size, fit, percentiles) is deterministic and cached; ``transform`` comes after it, each time an item is
    taken, and may be random.

    Item i: "image" float32 (1, S, S) in [-1, 1], bright = dense; "label" float32 scalar, 0 normal or 1 abnormal (NaN
    where the datalist has none); "index" int, for :meth:`truth`, ``items`` and ``geometries``.

    Args:
        datalist: dicts with "image", and "label" and more where known; "shape" is the (rows, cols) that boxes are for.
        size: side S in pixels.
        cache_dir: folder of the cache.
        fit: "pad" (aspect kept) or "stretch".
        percentiles: intensity percentiles mapped to -1 and 1; None for the full range.
        num_workers: decoding processes while the cache is built; None decides by the work.
        skip_bad: leave out files that cannot be used (listed in ``bad`` as (path, reason)) instead of raising.
        transform: applied to each item as it is taken, see :func:`apply_transform`.

    Raises:
        InputError: files that cannot be used, a label other than 0 and 1, a box outside its image or of another
            ``shape``.
    """

    def __init__(
        self,
        datalist: Sequence[dict[str, Any]],
        size: int,
        cache_dir: str | os.PathLike[str],
        fit: str = "pad",
        percentiles: tuple[float, float] | None = (0.5, 99.5),
        num_workers: int | None = None,
        skip_bad: bool = False,
        transform: ItemTransform | None = None,
    ) -> None:
        self.transform = transform
        cached = RadiographCache(cache_dir, size, fit, percentiles, num_workers).build(datalist, skip_bad)
        self._cached = cached
        self.bad: list[tuple[str, str]] = cached.bad
        self.items: list[dict[str, Any]] = [datalist[index] for index in cached.kept]
        self.geometries: list[RadiographGeometry] = cached.geometries
        self.labels: Tensor = torch.tensor([_label_of(item) for item in self.items], dtype=torch.float32)  # (N,)
        for item, geometry in zip(self.items, self.geometries, strict=True):
            boxes = np.asarray(item.get("opacity_boxes", ()), dtype=np.float64).reshape(-1, 4)
            shape, expected = (geometry.rows, geometry.cols), item.get("shape")
            if len(boxes) and expected not in (None, shape):  # boxes of a larger original would lie elsewhere
                raise InputError(f"{item['image']}: expected {expected} pixels as its boxes (rows, cols), got {shape}")
            clip_boxes(item["image"], boxes, *shape)

    @property
    def images(self) -> NDArray[np.uint16]:
        """All images, uint16 (N, S, S), memory-mapped; 0..65535 stands for [-1, 1]."""
        return self._cached.images

    @property
    def content_key(self) -> str:
        """Hash of the images and of their preparation: the key of anything that is computed from them."""
        return self._cached.path.stem

    def __len__(self) -> int:
        """Number of radiographs."""
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One radiograph."""
        image = to_float32(self._cached.plain_images[index])[None]
        item = {"image": torch.from_numpy(image), "label": self.labels[index], "index": index}
        return apply_transform(self.transform, item)

    def images_as_tensor(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> Tensor:
        """Several images at once, float32 (B, 1, S, S) in [-1, 1]."""
        return torch.from_numpy(to_float32(self._cached.plain_images[np.asarray(indices, dtype=np.int64)])[:, None])

    def truth(self, index: int) -> dict[str, Any]:
        """Ground truth of an image in model coordinates; keys without a known truth are left out.

        Returns:
            "opacity_boxes" float32 (N, 4), always, (0, 4) where none is drawn; "opacity_mask" bool (S, S), from its
            file, else from the boxes of a lung_opacity; "lung_mask" bool (S, S); "normal" float32 (1, S, S), the true
            normal image on its radiograph's own intensity range, so that image - normal is the true residue.

        Raises:
            InputError: a mask or image that cannot be read or does not have its radiograph's size.
        """
        item, geometry = self.items[index], self.geometries[index]
        boxes = geometry.boxes_to_model(item.get("opacity_boxes", ()))
        known: dict[str, Any] = {"opacity_boxes": boxes}
        for name in ("opacity_mask", "lung_mask"):
            if item.get(name):
                mask = read_mask(item[name])
                check_same_place(item[name], item["image"])
                _check_size(item[name], mask, geometry)
                known[name] = geometry.mask_to_model(mask)
        if "opacity_mask" not in known and len(boxes) and item.get("category") == "lung_opacity":
            known["opacity_mask"] = rasterise_boxes(boxes, (geometry.size, geometry.size))
        if item.get("normal"):
            normal = read_radiograph(item["normal"]).pixels
            check_same_place(item["normal"], item["image"])
            _check_size(item["normal"], normal, geometry)
            known["normal"] = geometry.pixels_to_model(normal)
        return known


def _label_of(item: dict[str, Any]) -> float:
    label = item.get("label")
    if label is None:
        return float("nan")
    if label not in (0, 1):
        raise InputError(f"{item['image']}: expected a label of 0 (normal) or 1 (abnormal), got {label!r}")
    return float(label)


def _check_size(name: str, array: NDArray[Any], geometry: RadiographGeometry) -> None:
    if array.shape != (geometry.rows, geometry.cols):
        expected = f"{geometry.rows} x {geometry.cols} pixels as its radiograph"
        raise InputError(f"{name}: expected {expected}, got {array.shape[0]} x {array.shape[1]}")
