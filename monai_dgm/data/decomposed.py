"""Prepared radiographs with their residues as further channels, the training data of classifiers and detectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from monai_dgm.data.dataset import DatasetView, ItemTransform, RadiographDataset, apply_transform
from monai_dgm.errors import InputError
from monai_dgm.transforms.preparation import resample_planes

__all__ = ["CHANNELS", "CONTROL_CHANNELS", "DecomposedDataset", "check_channels"]

CHANNELS = ("image", "residue")
CONTROL_CHANNELS = ("shuffled_residue", "mean_residue")
"""What a residue is compared with: the residue of another image, drawn once, and the mean residue of the data set."""


def check_channels(channels: Sequence[str], controls: bool = False) -> tuple[str, ...]:
    """Check the names of a model's input channels.

    Args:
        channels: names, or one name.
        controls: whether :data:`CONTROL_CHANNELS` are allowed, which a data set has and a single radiograph has not.

    Returns:
        the names.

    Raises:
        InputError: no channel, an unknown one, or one twice.
    """
    names = tuple(channels) if not isinstance(channels, str) else (channels,)
    known = (*CHANNELS, *CONTROL_CHANNELS) if controls else CHANNELS
    if not names or len(set(names)) < len(names) or not set(names) <= set(known):
        raise InputError(f"channels: expected some of {', '.join(known)}, each once, got {list(names)}")
    return names


class DecomposedDataset(DatasetView):
    """The radiographs of a data set with the named channels concatenated.

    Item i: "image" float32 (C, S, S), the image z in [-1, 1] and the residue a in [-1, 1] in the order of ``channels``;
    "label" float32 scalar and "index" int as in :class:`RadiographDataset`. "shuffled_residue" is the residue of
    another image of the data set, the same in each pass; "mean_residue" the mean of all residues of the data set.

    Args:
        dataset: the radiographs, side S.
        residues: (N, S', S') in the order of ``dataset.items``, see
            :func:`monai_dgm.engines.residues.cached.cached_residues`;
            resampled to S where S' differs. None where ``channels`` has no residue.
        channels: the stacked channels, of :data:`CHANNELS` and :data:`CONTROL_CHANNELS`.
        transform: applied to each item as it is taken, see :func:`monai_dgm.data.dataset.apply_transform`.

    Raises:
        InputError: unknown channels, or residues that are missing or do not belong to ``dataset``.
    """

    dataset: RadiographDataset

    def __init__(
        self,
        dataset: RadiographDataset,
        residues: NDArray[np.floating[Any]] | None = None,
        channels: Sequence[str] = CHANNELS,
        transform: ItemTransform | None = None,
    ) -> None:
        super().__init__(dataset, transform)
        self.channels = check_channels(channels, controls=True)
        self._residues: NDArray[Any] | None = None
        others = [name for name in self.channels if name != "image"]
        if others:
            if residues is None:
                raise InputError(
                    f"channels: expected residues for the channel {others[0]}, got none; name a decomposer"
                )
            if residues.ndim != 3 or len(residues) != len(dataset) or residues.shape[1] != residues.shape[2]:
                raise InputError(f"expected residues of shape ({len(dataset)}, S, S), got {residues.shape}")
            self._residues = residues
        self._open()
        # kept when a loader process gets a copy: the mean reads all residues
        if self._planes is not None and "shuffled_residue" in self.channels:
            order = np.random.default_rng(0).permutation(len(self._planes))
            self._partners = np.empty_like(order)
            self._partners[order] = np.roll(order, 1)  # a cycle through all images: none keeps its own
        if self._planes is not None and "mean_residue" in self.channels:
            self._mean = self._planes.mean(axis=0, dtype=np.float32)

    def _open(self) -> None:
        # a plain view of the same memory, because slicing a memmap is slow
        self._planes = None if self._residues is None else np.asarray(self._residues)

    @property
    def size(self) -> int:
        """Side S in pixels."""
        return int(self.dataset.images.shape[-1])

    @property
    def labels(self) -> Tensor:
        """(N,) 0 normal, 1 abnormal, NaN where unknown."""
        return self.dataset.labels

    def truth(self, index: int) -> dict[str, Any]:
        """Ground truth of an image, see :meth:`RadiographDataset.truth`."""
        return self.dataset.truth(index)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One radiograph."""
        item = self.dataset[index]
        planes = [item["image"] if name == "image" else self._plane(name, index) for name in self.channels]
        return apply_transform(self.transform, {**item, "image": planes[0] if len(planes) == 1 else torch.cat(planes)})

    def residue(self, index: int) -> Tensor:
        """The residue of an image, float32 (1, S, S) in [-1, 1].

        Raises:
            InputError: the data set was made without residues.
        """
        if self._planes is None:
            raise InputError("expected a data set with residues, its channels are " + ", ".join(self.channels))
        return self._resampled(self._planes[index])

    def _plane(self, name: str, index: int) -> Tensor:
        if name == "mean_residue":
            return self._resampled(self._mean)
        return self.residue(int(self._partners[index]) if name == "shuffled_residue" else index)

    def _resampled(self, plane: NDArray[np.floating[Any]]) -> Tensor:
        return resample_planes(torch.from_numpy(plane.astype(np.float32))[None, None], self.size)[0]

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name != "_planes"}
        if isinstance(self._residues, np.memmap) and str(self._residues.filename).endswith(".npy"):
            # a pickled memory map would copy all residues into every loader process; instead each process maps the file
            state["_residues"] = str(self._residues.filename)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if isinstance(state["_residues"], str):
            self._residues = np.load(state["_residues"], mmap_mode="r", allow_pickle=False)
        self._open()
