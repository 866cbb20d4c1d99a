"""From a lung probability to a lung mask, its box and its two lungs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.transforms import MapTransform
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from torch import Tensor

from monai_dgm.transforms.boxes import box_of_mask
from monai_dgm.transforms.geometry import RadiographGeometry
from monai_dgm.utils.orientation import to_stored, to_upright

__all__ = [
    "CleanLungMaskd",
    "clean_lung_mask",
    "lung_probability",
    "lungs_in_original",
    "split_lungs",
]

THRESHOLD = 0.5
MIN_AREA = 0.01
"""Least area of a lung, as a share of the image. The smallest of 717 radiographs with drawn masks has 1.8 %."""
MIN_SHARE = 0.08
"""Least area of the smaller lung, as a share of the larger: 10 % in those radiographs, 26 % in all but one."""
VALLEY = 0.5
"""Two lungs in one piece have between them a column with less than this share of the pixels on either side."""


def clean_lung_mask(probability: ArrayLike, threshold: float = THRESHOLD) -> NDArray[np.bool_]:
    """The lungs: pixels above the threshold, holes filled, and of the pieces the two largest of plausible size.

    Args:
        probability: (S, S) in [0, 1].
        threshold: in [0, 1].

    Returns:
        bool (S, S); all False where there is no piece of plausible size.

    Raises:
        ValueError: not two-dimensional.
    """
    array = np.asarray(probability)
    if array.ndim != 2:
        raise ValueError(f"probability: expected shape (S, S), got {array.shape}")
    filled = _fill_holes(array > threshold)
    labels, count = ndimage.label(filled)
    if count == 0:
        return np.zeros(array.shape, dtype=bool)
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    least = max(MIN_AREA * array.size, MIN_SHARE * areas.max())
    largest = [label for label in 1 + np.argsort(-areas, kind="stable")[:2] if areas[label - 1] >= least]
    return np.isin(labels, largest)


def _fill_holes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """As scipy's ``binary_fill_holes``, four times as fast: what is outside is what hangs together with the border."""
    labels, _ = ndimage.label(np.pad(~mask, 1, constant_values=True))
    return np.asarray(labels[1:-1, 1:-1] != labels[0, 0])


def split_lungs(mask: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(right, left) lung of a mask, each bool (S, S). The patient's right lung is on the image's left.

    Several pieces: each goes to the side of the middle between the two largest that its centre is on. One piece: both
    lungs, cut at their narrowest column, when it has a valley there (see ``VALLEY``), else the lung of the half of the
    image that its centre lies in; the other one is then empty.
    """
    inside = np.asarray(mask) != 0
    labels, count = ndimage.label(inside)
    if count == 0:
        return np.zeros_like(inside), np.zeros_like(inside)
    columns = np.arange(inside.shape[1])
    if count == 1:
        cut = _valley(inside.sum(axis=0))
        if cut is not None:
            return inside & (columns < cut), inside & (columns >= cut)
        middle = inside.shape[1] / 2
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    centres = np.array([(labels == label).sum(axis=0) @ (columns + 0.5) for label in range(1, count + 1)]) / areas
    if count > 1:
        middle = float(centres[np.argsort(-areas, kind="stable")[:2]].mean())
    right = np.isin(labels, 1 + np.flatnonzero(centres < middle))
    return right, inside & ~right


def _valley(profile: NDArray[np.int_]) -> int | None:
    """Column at which a piece with ``profile`` (pixels a column) falls into two lungs; None where it does not."""
    filled = np.flatnonzero(profile)
    first, last = int(filled[0]), int(filled[-1]) + 1
    width = last - first
    low, high = first + width // 4, last - width // 4
    if high - low < 1:
        return None
    cut = low + int(np.argmin(profile[low:high]))
    lower_peak = min(int(profile[first : cut + 1].max()), int(profile[cut:last].max()))
    return cut if profile[cut] < VALLEY * lower_peak else None


def lung_probability(network: Callable[[Tensor], Tensor], image: Tensor, size: int | None = None) -> Tensor:
    """Probability of lung for each pixel.

    Args:
        network: (B, 1, S, S) to logits (B, 1, S, S), in evaluation mode.
        image: (B, 1, H, W) in [-1, 1], on the network's device.
        size: side S that the network was trained at; images of another side are resampled there and back. None: as
            they are.

    Returns:
        float32 (B, 1, H, W) in [0, 1].
    """
    shape = image.shape[2:]
    with torch.inference_mode():
        if size is not None and tuple(shape) != (size, size):
            resized = F.interpolate(image, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
            probability = torch.sigmoid(network(resized).float())
            return F.interpolate(probability, size=shape, mode="bilinear", antialias=True, align_corners=False)
        return torch.sigmoid(network(image).float())


def lungs_in_original(
    probability: NDArray[np.float32], geometry: RadiographGeometry
) -> tuple[NDArray[np.bool_], dict[str, Any]]:
    """The lungs over the original's pixels.

    Args:
        probability: of lung, (S, S) in model coordinates.
        geometry: of the radiograph.

    Returns:
        the lung mask, bool (rows, cols), and as JSON can hold them "lung_box", "right_lung_box", "left_lung_box" (None
        where there is no such lung) and "lung_area_fraction" of the radiograph.
    """
    # the probability is resampled, not the mask: its edge is then smooth in the original's pixels
    inside = geometry.map_to_original(np.where(_near(clean_lung_mask(probability)), probability, 0.0))
    upright = clean_lung_mask(to_upright(inside, geometry.orientation))
    mask, right, left = (to_stored(one, geometry.orientation) for one in (upright, *split_lungs(upright)))
    boxes = {"lung_box": box_of_mask(mask), "right_lung_box": box_of_mask(right), "left_lung_box": box_of_mask(left)}
    values: dict[str, Any] = {k: None if box is None else [float(e) for e in box] for k, box in boxes.items()}
    return mask, {**values, "lung_area_fraction": round(float(mask.mean()), 6)}


def _near(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask and the pixels next to it, whose probability shapes the edge."""
    padded = np.pad(mask, 1)
    rows, cols = mask.shape
    return np.logical_or.reduce([padded[i : i + rows, j : j + cols] for i in range(3) for j in range(3)])


class CleanLungMaskd(MapTransform):
    """Dictionary transform of :func:`clean_lung_mask`: probabilities (..., S, S) to float32 masks of 0 and 1.

    Args:
        keys: probabilities of an image (1, S, S) or a batch (B, 1, S, S); they are replaced by the masks.
        threshold: in [0, 1].
        allow_missing_keys: as in MONAI.
    """

    def __init__(
        self, keys: KeysCollection = "pred", threshold: float = THRESHOLD, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.threshold = threshold

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` with masks instead of probabilities."""
        output = dict(data)
        for key in self.key_iterator(output):
            probability = torch.as_tensor(output[key]).detach().cpu()
            planes = probability.reshape(-1, *probability.shape[-2:]).numpy()
            masks = np.stack([clean_lung_mask(plane, self.threshold) for plane in planes])
            output[key] = torch.from_numpy(masks).reshape(probability.shape).float()
        return output
