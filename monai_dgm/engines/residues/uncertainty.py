"""Uncertainty of a residue: how much it changes between passes that should agree.

A disease has no side, so the residue of a radiograph's mirror image, mirrored back, should be that of the radiograph;
and other decomposers of the same data should find the same. Where they differ, none of them is to be relied on. What
the numbers are worth on real radiographs is in ``docs/results.md`` (``benchmarks/residue_uncertainty.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from monai_dgm.errors import InputError
from monai_dgm.transforms.geometry import RadiographGeometry
from monai_dgm.transforms.preparation import clear_border

__all__ = ["ResidueUncertainty", "further_residues", "measure_uncertainty"]

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ResidueUncertainty:
    """How uncertain the residue of one radiograph is.

    Attributes:
        map: standard deviation of the residue over the passes, float32 (S, S), at least 0, in units of the model's
            [-1, 1] scale; 0 in the border that "pad" added.
        score: one number for the radiograph, at least 0, the mean of the map over the radiograph.
        passes: number of residues that were compared.
    """

    map: FloatArray
    score: float
    passes: int


def further_residues(images: Tensor, decomposer: nn.Module, members: Sequence[nn.Module] = ()) -> list[Tensor]:
    """The residues that are compared with the residue of ``decomposer`` for the images as they are.

    Args:
        images: (B, 1, S, S) in [-1, 1], on the networks' device.
        decomposer: a residue system; it sees the mirror images.
        members: other residue systems of side S; each sees the images and their mirror images.

    Returns:
        1 + 2 M residues of M members, each float32 (B, S, S) on the CPU, mirrored back where the image was mirrored.

    Raises:
        InputError: an output of another shape, or NaN or infinity in a residue.
    """
    mirrored = images.flip(-1)
    passes = [(decomposer, True), *((member, side) for member in members for side in (False, True))]
    expected, found = (len(images), 3, *images.shape[-2:]), []
    for system, flipped in passes:
        with torch.inference_mode():
            prediction = system(mirrored if flipped else images)
        if not isinstance(prediction, Tensor) or tuple(prediction.shape) != expected:
            came = tuple(prediction.shape) if isinstance(prediction, Tensor) else type(prediction).__name__
            raise InputError(f"members: expected the output of a decomposer, a tensor of shape {expected}, got {came}")
        residue = prediction[:, 1].float().cpu()
        if not torch.isfinite(residue).all():
            raise InputError("expected finite values from the network, got NaN or infinity: are the weights sound?")
        found.append(residue.flip(-1) if flipped else residue)
    return found


def measure_uncertainty(
    images: Tensor,
    residues: Sequence[FloatArray],
    geometries: Sequence[RadiographGeometry],
    decomposer: nn.Module,
    members: Sequence[nn.Module] = (),
) -> list[ResidueUncertainty]:
    """The uncertainty of each radiograph's residue.

    Args:
        images, decomposer, members: as in :func:`further_residues`.
        residues: of ``decomposer`` for the images, B times (S, S).
        geometries: of the B radiographs at side S; the border that "pad" added does not count.

    Raises:
        InputError: as :func:`further_residues`.
    """
    first = torch.from_numpy(np.stack(residues))
    passes = torch.stack([first, *further_residues(images, decomposer, members)])
    spread = clear_border(passes.std(dim=0, correction=0)[:, None], geometries)[:, 0].numpy()
    pairs = zip(spread, geometries, strict=True)
    return [ResidueUncertainty(one, float(one[geometry.content].mean()), len(passes)) for one, geometry in pairs]
