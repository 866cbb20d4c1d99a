"""Radiographs and the normal twins of the abnormal ones, as one data set."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from monai_dgm.data.decomposed import DecomposedDataset, resample_planes
from monai_dgm.errors import InputError
from monai_dgm.transforms.geometry import DARKEST, RadiographGeometry

__all__ = ["TwinDataset"]

Planes = NDArray[np.floating[Any]]


class TwinDataset(Dataset[dict[str, Any]]):
    """The N items of a data set, and after them a normal twin of each of its M images of label 1, with label 0.

    Items are as those of :class:`DecomposedDataset`; "index" counts through ``items``. Twins keep their patient, so a
    split by patient stays one, and carry "synthetic": True in ``items``. Add twins to training sets only.

    Args:
        dataset: the radiographs, side S.
        twins: y' of all N images, (N, S', S') in [-1, 1], see
            :func:`monai_dgm.engines.residues.twins.cached_twins`; resampled to S where S' differs.
            What lies in the border that "pad" added does not count.
        residues: of the twins, (N, S', S'); None where ``dataset`` has no channel "residue".

    Raises:
        InputError: planes that are missing or do not belong to ``dataset``, or a data set without the channel "image".
    """

    def __init__(self, dataset: DecomposedDataset, twins: Planes, residues: Planes | None = None) -> None:
        if "image" not in dataset.channels:
            raise InputError(f"channels: expected the image among them for twins, got {', '.join(dataset.channels)}")
        if "residue" in dataset.channels and residues is None:
            raise InputError("residues: expected those of the twins for the channel residue, got none")
        for name, planes in (("twins", twins), ("residues", residues)):
            if planes is not None and (planes.ndim != 3 or len(planes) != len(dataset)):
                raise InputError(f"{name}: expected a shape of ({len(dataset)}, S, S), got {planes.shape}")
        self.dataset = dataset
        self.places: list[int] = torch.nonzero(dataset.labels == 1).flatten().tolist()
        self._planes = {"image": twins, "residue": residues}
        self.items: list[dict[str, Any]] = [*dataset.items, *(self._twin_item(place) for place in self.places)]
        self.labels: Tensor = torch.cat((dataset.labels, torch.zeros(len(self.places))))  # (N + M,)

    def _twin_item(self, place: int) -> dict[str, Any]:
        item = self.dataset.items[place]
        name = item.get("image_id", place)
        known = {"label": 0, "category": "normal", "synthetic": True, "opacity_mask": None, "normal": None}
        return {**item, **known, "image_id": f"{name}_twin", "opacity_boxes": np.zeros((0, 4), dtype=np.float32)}

    @property
    def geometries(self) -> list[RadiographGeometry]:
        """How each radiograph became a square."""
        return [*self.dataset.geometries, *(self.dataset.geometries[place] for place in self.places)]

    def truth(self, index: int) -> dict[str, Any]:
        """What is known about an image, see :meth:`RadiographDataset.truth`; a twin has no opacities."""
        if index < len(self.dataset):
            return self.dataset.truth(index)
        known = self.dataset.truth(self.places[index - len(self.dataset)])
        kept = {name: value for name, value in known.items() if name == "lung_mask"}
        return {**kept, "opacity_boxes": np.zeros((0, 4), dtype=np.float32)}

    def __len__(self) -> int:
        """N + M."""
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One radiograph or twin."""
        if index < len(self.dataset):
            return self.dataset[index]
        place = self.places[index - len(self.dataset)]
        planes = [self._plane(name, place) for name in self.dataset.channels]
        return {"image": torch.cat(planes), "label": self.labels[index], "index": index}

    def _plane(self, name: str, place: int) -> Tensor:
        """y' or its residue, float32 (1, S, S), -1 or 0 in the border that "pad" added."""
        source, geometry = self._planes[name], self.dataset.geometries[place]
        assert source is not None  # checked when it was made
        side = source.shape[-1]
        (top, left), (rows, columns) = _content(geometry, side)
        plane = np.full((side, side), DARKEST if name == "image" else 0.0, dtype=np.float32)
        inside = (slice(top, top + rows), slice(left, left + columns))
        plane[inside] = source[place][inside]
        return resample_planes(torch.from_numpy(plane)[None, None], self.dataset.size)[0]


def _content(geometry: RadiographGeometry, side: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Offset and shape of the radiograph within a square of another side."""
    other = replace(geometry, size=side)
    return other.offset, other.content_shape
