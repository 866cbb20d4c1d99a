"""Normal twins of a whole data set from a frozen decomposer: computed once and cached, as residues are."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.engines.residues.cached import cached_residues
from monai_dgm.transforms.normal_twin import normal_twin

__all__ = ["cached_twins"]


def cached_twins(
    dataset: RadiographDataset,
    decomposer: nn.Module,
    weights: str | os.PathLike[str],
    cache_dir: str | os.PathLike[str],
    device: torch.device | str = "cpu",
    batch_size: int = 16,
    with_residues: bool = False,
) -> tuple[NDArray[np.float16], NDArray[np.float16] | None]:
    """Normal images y' of all radiographs of ``dataset``, and the residues of those, from the cache where it has them.

    Args:
        dataset, decomposer, weights, cache_dir, device, batch_size: as in
            :func:`monai_dgm.engines.residues.cached.cached_residues`.
        with_residues: the residues of the twins, too: for classifiers that see a residue.

    Returns:
        y' and its residue, each float16 (N, S', S'), memory-mapped and read-only, for
        :class:`monai_dgm.data.twins.TwinDataset`; the border that "pad" added holds 0 in both.

    Raises:
        InputError: as :func:`cached_residues`.
    """
    found = []
    for name in ("image", "residue")[: 1 + with_residues]:
        folder = Path(cache_dir) / f"twin_{name}"  # a folder each: their keys are those of the residues
        found.append(cached_residues(dataset, _TwinPlane(decomposer, name), weights, folder, device, batch_size))
    return found[0], found[1] if with_residues else None


class _TwinPlane(nn.Module):
    """One plane of the twin where a decomposer has the residue: what caches residues then caches this."""

    def __init__(self, decomposer: nn.Module, plane: str) -> None:
        super().__init__()
        self.decomposer = decomposer
        self.plane = plane

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, S', S') -> (B, 3, S', S')."""
        return normal_twin(self.decomposer, image, channels=(self.plane,)).expand(-1, 3, -1, -1)
