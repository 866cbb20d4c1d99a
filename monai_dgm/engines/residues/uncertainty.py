"""Uncertainty of a residue: where it is neither clearly there nor clearly not, and where passes disagree.

A disease has no side, so the residue of a radiograph's mirror image, mirrored back, should be that of the radiograph;
and other decomposers of the same data should find the same. The residue of a pass is read as in
:mod:`monai_dgm.losses.boxes`: a pixel is marked with probability 1 - exp(-|a| / 0.1). The map is the predictive entropy
of the passes (Lakshminarayanan et al., Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles,
NeurIPS 2017), the number their disagreement. Both were chosen on validation images, where the standard deviation over
the passes and |a| over its spread on normals predict the residue's errors less well. What they are worth, and that a
second pass adds nothing to the map, is in ``docs/results.md`` (``benchmarks/residue_uncertainty.py``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from monai_dgm.errors import InputError
from monai_dgm.networks.residue_system import checked_prediction
from monai_dgm.transforms.geometry import RadiographGeometry
from monai_dgm.transforms.preparation import clear_border

__all__ = [
    "ResidueUncertainty",
    "disagreement",
    "further_residues",
    "marked_probability",
    "measure_uncertainty",
    "predictive_entropy",
]

FloatArray = NDArray[np.float32]
SCALE = 0.1  # the objective's intensity_scale by default, on the [-1, 1] scale
LEAST_MARKED = 1e-3


@dataclass(frozen=True, eq=False)
class ResidueUncertainty:
    """How uncertain the residue of one radiograph is.

    Attributes:
        map: predictive entropy of the passes in bits, float32 (S, S) in [0, 1]: 0 where a pixel is surely marked or
            surely not, 1 where it is marked with probability 0.5; 0 in the border that "pad" added.
        score: disagreement of the passes about the radiograph, in [0, 1), see :func:`disagreement`.
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
    found = []
    for system, flipped in passes:
        with torch.inference_mode():
            prediction = checked_prediction(system(mirrored if flipped else images), images, "members")
        residue = prediction[:, 1].float().cpu()
        if not torch.isfinite(residue).all():
            raise InputError("expected finite values from the network, got NaN or infinity: are the weights sound?")
        found.append(residue.flip(-1) if flipped else residue)
    return found


def marked_probability(residue: Tensor) -> Tensor:
    """Probability that a pixel is marked by a residue, 1 - exp(-|a| / ``SCALE``), same shape."""
    return -torch.expm1(-residue.float().abs() / SCALE)


def predictive_entropy(probabilities: Tensor) -> Tensor:
    """Entropy in bits of the mean over passes, (K, ...) in [0, 1] -> (...) in [0, 1]."""
    mean = probabilities.mean(dim=0)
    return torch.special.entr(torch.stack((mean, 1 - mean))).sum(dim=0) / math.log(2)


def disagreement(probabilities: Tensor) -> float:
    """How much of what is marked depends on the pass, in [0, 1).

    The standard deviation over the passes, over the mean, both summed over the pixels; ``LEAST_MARKED`` of the pixels
    is added to the latter, so that an image on which nothing is marked has no disagreement. The largest standard
    deviation that K passes can have for their mean is that of one pass that marks alone; the ratio is 1 there.

    Args:
        probabilities: (K, N) of K >= 2 passes, in [0, 1].
    """
    most = math.sqrt(len(probabilities) - 1)
    spread, mean = probabilities.std(dim=0, correction=0).mean(), probabilities.mean()
    return float(spread / (mean + LEAST_MARKED) / most)


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
    passes = marked_probability(torch.stack([first, *further_residues(images, decomposer, members)]))
    maps = clear_border(predictive_entropy(passes)[:, None], geometries)[:, 0].numpy()
    scores = []
    for i, geometry in enumerate(geometries):
        rows, cols = geometry.content
        scores.append(disagreement(passes[:, i, rows, cols].flatten(1)))
    return [ResidueUncertainty(one, score, len(passes)) for one, score in zip(maps, scores, strict=True)]
