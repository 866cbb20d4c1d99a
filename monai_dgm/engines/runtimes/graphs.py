"""The modules that are exported: a network with the arithmetic that the pipeline does around it.

All take images that are prepared already, (B, 1, S, S) in [-1, 1]. :mod:`monai_dgm.engines.runtimes.pixel_graph` puts
the preparation of raw pixels before them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from monai_dgm.engines.lungs.upright import SIDE, UprightCheck, upright_scores
from monai_dgm.engines.residues.features import predict_with_features

if TYPE_CHECKING:
    from monai_dgm.networks.detector import OpacityDetector

__all__ = ["ClassifierGraph", "DecomposerGraph", "DetectorGraph", "LungsGraph", "resample_square", "resize_matrix"]


def resize_matrix(
    length: Tensor | int, size: int | Tensor, first: Tensor | int = 0, total: int | None = None
) -> Tensor:
    """The antialiased bilinear resize of one axis as a matrix: Pillow's and PyTorch's triangle filter.

    ``resize_matrix(rows, S) @ image @ resize_matrix(cols, S).T`` is the image at S x S. A graph computes it from the
    sides of its input, so that every runtime resizes alike.

    Args:
        length: of the axis that is resized.
        size: of the result.
        first: rows of zeros before it, for a border.
        total: rows of the matrix, zeros after the result; None for ``size``.

    Returns:
        float32 (total, length); each of the ``size`` rows adds up to 1.
    """
    height: Any = size if total is None else total
    width: Any = length  # a number, or while a graph is traced a tensor
    rows = torch.arange(height) - first
    scale = torch.as_tensor(length, dtype=torch.float64) / torch.as_tensor(size, dtype=torch.float64)
    support = scale.clamp(min=1.0)
    centre = (rows.double() + 0.5) * scale
    distance = (torch.arange(width).double()[None] + 0.5 - centre[:, None]).abs() / support
    weights = (1 - distance).clamp(min=0.0)
    sums = weights.sum(dim=1, keepdim=True)
    inside = ((rows >= 0) & (rows < size))[:, None]
    return torch.where(inside, weights / sums.clamp(min=1e-9), 0.0).float()


def resample_square(planes: Tensor, size: int) -> Tensor:
    """Planes (B, C, S', S') at (B, C, size, size), as :func:`monai_dgm.transforms.preparation.resample_planes`."""
    matrix = resize_matrix(planes.shape[-1], size)
    return matrix @ planes @ matrix.T


class DecomposerGraph(nn.Module):
    """A residue system, with the features of its residue encoder averaged over the image.

    Args:
        network: (B, 1, S, S) to (B, 3, S, S).
    """

    inputs = ("image",)

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.outputs = ("prediction", "features") if hasattr(network, "residue_encoder") else ("prediction",)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(B, 1, S, S) -> prediction (B, 3, S, S) and, where there is a residue encoder, features (B, D)."""
        prediction, features = predict_with_features(self.network, image)
        return (prediction.float(),) if features is None else (prediction.float(), features)


class LungsGraph(nn.Module):
    """The lung segmentor at its own side and back, and the two mirrored passes of the upright check.

    Args:
        network: of the segmentor, to logits.
        size: side that it was trained at.
        upright: None where there is no such check.
    """

    inputs = ("image",)

    def __init__(self, network: nn.Module, size: int, upright: UprightCheck | None) -> None:
        super().__init__()
        self.network = network
        self.size = size
        self.upright = None if upright is None else upright.network
        self.outputs = ("probability",) if upright is None else ("probability", "upright_scores")

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(B, 1, S, S) of any S -> probability of lung (B, 1, S, S), and scores (B, 2) of the upright check."""
        probability = torch.sigmoid(self.network(resample_square(image, self.size)).float())
        matrix = resize_matrix(self.size, image.shape[-1])
        planes = matrix @ probability @ matrix.T
        if self.upright is None:
            return (planes,)
        return planes, upright_scores(self.upright, resample_square(image, SIDE))


class DetectorGraph(nn.Module):
    """Maps of a detector, before boxes are decoded and suppressed: that code is the same for all runtimes.

    Args:
        detector: the trained detector.
    """

    inputs = ("image",)

    def __init__(self, detector: OpacityDetector) -> None:
        super().__init__()
        self.network = detector.network
        levels = len(detector.anchors.sizes)
        self.outputs = tuple(f"{kind}_{i}" for kind in ("classification", "box_regression") for i in range(levels))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(B, C, S, S) -> logits of each level (B, A, H, W), then box codes of each level (B, 4 A, H, W)."""
        features = list(self.network.feature_extractor(image).values())
        return (*self.network.classification_head(features), *self.network.regression_head(features))


class ClassifierGraph(nn.Module):
    """A classifier: (B, C, S, S) to logits (B, 1)."""

    inputs = ("image",)
    outputs = ("logits",)

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(B, C, S, S) -> logits (B, 1)."""
        return (self.network(image).float(),)
