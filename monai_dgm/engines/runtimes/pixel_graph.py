"""A network with preparation before it and the arithmetic of the saliency after it: pixels in, results out.

The formulas are those of :mod:`monai_dgm.transforms.geometry` and :mod:`monai_dgm.transforms.saliency`, written with
operations that every runtime has: resizing and smoothing are products with matrices. Tests compare them.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from monai_dgm.engines.runtimes.graphs import resize_matrix
from monai_dgm.transforms.geometry import DARKEST
from monai_dgm.transforms.saliency import FULL_HEAT, RESIDUE_FLOOR, smoothing_sigma

__all__ = ["PixelGraph", "otsu_threshold", "prepare_pixels", "smoothing_matrix"]

HISTOGRAM_BINS = 256  # as scikit-image's threshold_otsu


def prepare_pixels(pixels: Tensor, size: int, percentiles: tuple[float, float]) -> tuple[Tensor, Tensor, Tensor]:
    """The arithmetic of :func:`monai_dgm.transforms.geometry.prepare_radiograph` with fit "pad".

    Args:
        pixels: (rows, cols), upright, bright = dense, without DICOM padding.
        size: side S.
        percentiles: low and high, in percent.

    Returns:
        image (1, 1, S, S) in [-1, 1], NaN where the pixels have no contrast; the values (2,) that became -1 and 1; and
        bool (S, S), True on the radiograph and False on the border.
    """
    sides = torch.stack([torch.as_tensor(pixels.shape[0]), torch.as_tensor(pixels.shape[1])]).double()
    inner = torch.round(sides * size / sides.max()).clamp(min=1)
    first = torch.floor((size - inner) / 2)
    down = resize_matrix(pixels.shape[0], inner[0], first[0], size)
    across = resize_matrix(pixels.shape[1], inner[1], first[1], size)
    placed = down @ pixels.float() @ across.T
    index = torch.arange(size)
    rows = (index >= first[0]) & (index < first[0] + inner[0])
    cols = (index >= first[1]) & (index < first[1] + inner[1])
    content = rows[:, None] & cols[None]
    levels = torch.sort(torch.where(content, placed, torch.inf).flatten())[0]
    count = inner.prod()
    low, high = (_at_rank(levels, (count - 1) * (percent / 100)) for percent in percentiles)
    least, largest = levels[0], _at_rank(levels, count - 1)
    plain = low < high  # else nearly all pixels are equal, and the full range is all there is
    low, high = torch.where(plain, low, least), torch.where(plain, high, largest)
    scaled = (2 * ((placed - low) / (high - low)) - 1).clamp(-1, 1)
    # no contrast: no result. Rounding in the products of matrices does not count as contrast
    scaled = torch.where(high - low > 1e-6 * torch.maximum(high.abs(), low.abs()), scaled, torch.nan)
    image = torch.where(content, scaled, DARKEST)
    return image[None, None], torch.stack([low, high]), content


def _at_rank(levels: Tensor, rank: Tensor) -> Tensor:
    """Sorted values at a rank that need not be whole, linear between two."""
    lower = torch.floor(rank)
    upper = torch.ceil(rank)
    below, above = (levels[one.long().reshape(1)][0] for one in (lower, upper))
    return below + (above - below) * (rank - lower).float()


def smoothing_matrix(size: int) -> Tensor:
    """The Gaussian filter of the saliency along one axis, float32 (S, S): ``G @ plane @ G.T`` smooths a plane."""
    smoothed = ndimage.gaussian_filter1d(np.eye(size), smoothing_sigma(size), axis=0)
    return torch.from_numpy(smoothed.astype(np.float32))


def otsu_threshold(strength: Tensor, counted: Tensor) -> Tensor:
    """Otsu's threshold of the values (S, S) where ``counted``, at least the floor of the saliency; a scalar."""
    least = torch.where(counted, strength, torch.inf).min()
    largest = torch.where(counted, strength, -torch.inf).max()
    edges = least + (largest - least) * torch.linspace(0, 1, HISTOGRAM_BINS + 1)
    below = ((strength.flatten()[None] < edges[1:-1, None]) & counted.flatten()[None]).sum(dim=1).float()
    total = counted.sum().float()
    cumulated = torch.cat([below, total[None]])
    counts = cumulated - torch.cat([torch.zeros(1), below])
    centres = (edges[1:] + edges[:-1]) / 2
    moments = torch.cumsum(counts * centres, dim=0)
    above, moments_above = total - below, moments[-1] - moments[:-1]
    difference = moments[:-1] / below.clamp(min=1) - moments_above / above.clamp(min=1)
    best = torch.argmax(below * above * difference**2)
    threshold = centres[best.reshape(1)][0]
    return torch.where(largest <= RESIDUE_FLOOR, RESIDUE_FLOOR, threshold.clamp(min=RESIDUE_FLOOR))


class PixelGraph(nn.Module):
    """A graph for prepared images as one for the pixels of one radiograph.

    Input ``pixels``: float32 (rows, cols), upright, bright = dense, any finite values. Outputs: those of the graph, and
    ``image`` (1, 1, S, S) in [-1, 1], and ``value_range`` (2,), the values of the pixels at -1 and 1.

    A decomposer also takes ``lung_box``: float32 (4,) [xmin, ymin, xmax, ymax] in pixels of the image; [0, 0, S, S]
    for the whole. It also gives ``strength`` (S, S), the smoothed |residue|; ``saliency_threshold``, Otsu's, a scalar;
    and ``heat`` (S, S) in [0, 1], 0 where the strength does not exceed it, of all components: to keep those that touch
    the lung box is left to the caller. Normal image and residue are cleared in the border.

    Args:
        graph: for prepared images (1, 1, S, S).
        size: side S.
        percentiles: of the intensities that become -1 and 1.
        saliency: whether the graph is a decomposer.
    """

    smoothing: Tensor

    def __init__(self, graph: nn.Module, size: int, percentiles: tuple[float, float], saliency: bool) -> None:
        super().__init__()
        self.inner = graph
        self.size = size
        self.percentiles = percentiles
        self.saliency = saliency
        own: tuple[str, ...] = graph.outputs  # type: ignore[assignment]
        self.inputs = ("pixels", "lung_box") if saliency else ("pixels",)
        added = ("strength", "saliency_threshold", "heat") if saliency else ()
        self.outputs = (*own, "image", "value_range", *added)
        self.register_buffer("smoothing", smoothing_matrix(size) if saliency else torch.zeros(0))

    def forward(self, pixels: Tensor, lung_box: Tensor | None = None) -> tuple[Tensor, ...]:
        """Inputs and outputs of the class."""
        image, value_range, content = prepare_pixels(pixels, self.size, self.percentiles)
        found = self.inner(image)
        if not self.saliency or lung_box is None:
            return (*found, image, value_range)
        prediction = found[0]
        normal = torch.where(content, prediction[:, 0:1], DARKEST)
        residue = torch.where(content, prediction[:, 1:2], 0.0)
        prediction = torch.cat([normal, residue, prediction[:, 2:3]], dim=1)
        strength = self.smoothing @ residue[0, 0].abs() @ self.smoothing.T
        middles = torch.arange(self.size) + 0.5
        rows = (middles >= lung_box[1]) & (middles < lung_box[3])
        cols = (middles >= lung_box[0]) & (middles < lung_box[2])
        threshold = otsu_threshold(strength, rows[:, None] & cols[None])
        heat = torch.where(strength > threshold, (strength / FULL_HEAT).clamp(0, 1), 0.0)
        return (prediction, *found[1:], image, value_range, strength, threshold, heat)
