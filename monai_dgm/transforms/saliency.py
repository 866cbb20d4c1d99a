"""Disease saliency from a residue map (paper, Fig. 1 d).

The paper, word for word: "we first define a bounding box from the segmented lung regions [...]. Then we binarize the
residue map with an adaptive threshold. Only the connected components overlapped with the defined bounding box are
shown". It does not name the threshold; the readings chosen here are in the docstring of :func:`compute_saliency`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from skimage.filters import threshold_li, threshold_otsu

from monai_dgm.transforms.boxes import box_of_mask, check_boxes, rasterise_boxes

LungBoxSource = Literal["lung_mask", "whole_image", "given"]
ThresholdRule = Literal["otsu", "li", "quantile"]

RESIDUE_FLOOR = 0.04
"""Least |a| that may be called salient: 2 % of the [-1, 1] scale, 5 of 256 grey levels."""
FULL_HEAT = 0.3
"""|a| drawn at full heat: 15 % of the [-1, 1] scale, a strong opacity."""
QUANTILE = 0.95
_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class Saliency:
    """The salient parts of a residue map: where it shows disease.

    Attributes:
        mask: bool (S, S), the kept connected components.
        heat: float32 (S, S) in [0, 1]: |a| / ``FULL_HEAT`` (clipped) inside the mask, 0 outside. The scale is the same
            for every image, so a faint residue looks faint and scores compare between images.
        threshold: the |a| a pixel had to exceed, in the [-1, 1] scale.
        lung_box: float32 (4,) ``[xmin, ymin, xmax, ymax]`` in model coordinates.
        lung_box_source: where the box came from: a "lung_mask", "given" by the caller, or the "whole_image".
    """

    mask: NDArray[np.bool_]
    heat: NDArray[np.float32]
    threshold: float
    lung_box: NDArray[np.float32]
    lung_box_source: LungBoxSource


def smoothing_sigma(size: int) -> float:
    """Gaussian sigma (pixels) that evens a residue map of side ``size`` before its peaks are read: size / 64."""
    return size / 64.0


def compute_saliency(
    residue: ArrayLike,
    lung_box: ArrayLike | None = None,
    threshold: ThresholdRule | float = "otsu",
    sigma: float | None = None,
    *,
    lung_mask: ArrayLike | None = None,
    floor: float = RESIDUE_FLOOR,
) -> Saliency:
    """Binarise |a| with an adaptive threshold and keep the components that overlap the lung box (paper, Fig. 1 d).

    Readings where the paper is silent. Both signs of the residue count, so |a| is binarised (a pneumothorax takes
    density away). |a| is smoothed first, or single pixels of noise become components. Otsu's threshold is taken over
    the pixels of the lung box, so that a marker in a corner does not set it, and never falls below ``floor``, so
    that a blank residue has an empty mask instead of half of its rounding noise. Components are 8-connected.

    Args:
        residue: (S, S) residue map a in the [-1, 1] scale of the image (values up to +-2 are possible).
        lung_box: ``[xmin, ymin, xmax, ymax]`` in model coordinates, when known.
        threshold: "otsu"; "li" (minimum cross-entropy: lower, keeps the faint parts of a lesion whose strength varies,
            and more noise); "quantile" (the 95th percentile of |a| in the lung box); or a fixed |a|, to which the floor
            does not apply.
        sigma: Gaussian smoothing of |a| in pixels; None is S / 64, 0 none.
        lung_mask: (S, S), nonzero in the lungs; its bounding box is taken when ``lung_box`` is None.
        floor: lowest adaptive threshold, in the [-1, 1] scale.

    Raises:
        InputError: ``lung_box`` is not a box.
        ValueError: ``residue`` is not 2D or not finite, ``lung_mask`` has another shape, or the rule is unknown.
    """
    array = np.asarray(residue, dtype=np.float32)
    if array.ndim != 2:
        raise ValueError(f"residue: expected shape (S, S), got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("residue: expected finite values, got NaN or infinity")
    box, source = _resolve_lung_box(array.shape, lung_box, lung_mask)
    lungs = rasterise_boxes(box[None], (array.shape[0], array.shape[1]))
    strength = np.abs(array)
    smoothed = ndimage.gaussian_filter(strength, smoothing_sigma(max(array.shape)) if sigma is None else sigma)
    level = _threshold(smoothed[lungs], threshold, floor)
    mask = _components_overlapping(smoothed > level, lungs)
    heat = np.where(mask, np.clip(smoothed / FULL_HEAT, 0.0, 1.0), 0.0).astype(np.float32)
    return Saliency(mask, heat, level, box, source)


def _resolve_lung_box(
    shape: tuple[int, ...], lung_box: ArrayLike | None, lung_mask: ArrayLike | None
) -> tuple[NDArray[np.float32], LungBoxSource]:
    if lung_box is not None:
        return check_boxes(np.asarray(lung_box, dtype=np.float32).reshape(-1, 4), name="lung_box")[0], "given"
    if lung_mask is not None:
        mask = np.asarray(lung_mask)
        if mask.shape != shape:
            raise ValueError(f"lung_mask: expected the residue's shape {shape}, got {mask.shape}")
        box = box_of_mask(mask)
        if box is not None:  # an empty mask means that the segmentation failed, not that there are no lungs
            return box, "lung_mask"
    return np.array([0, 0, shape[1], shape[0]], dtype=np.float32), "whole_image"


def _threshold(strength: NDArray[np.float32], rule: ThresholdRule | float, floor: float) -> float:
    """Threshold for the |a| values ``strength`` (n,)."""
    if isinstance(rule, int | float):
        return float(rule)
    if rule not in ("otsu", "li", "quantile"):
        raise ValueError(f"threshold: expected 'otsu', 'li', 'quantile' or a number, got {rule!r}")
    if strength.size == 0 or (largest := float(strength.max())) <= floor:
        return floor  # no rule finds a threshold above the largest value
    if rule == "quantile":
        adaptive = float(np.quantile(strength, QUANTILE))
    else:
        find = threshold_otsu if rule == "otsu" else threshold_li
        adaptive = largest if largest == float(strength.min()) else float(find(strength))
    return max(adaptive, floor)


def _components_overlapping(binary: NDArray[np.bool_], lungs: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep the 8-connected components with at least one pixel in the lung box."""
    labels, _ = ndimage.label(binary, structure=_EIGHT_NEIGHBOURS)
    kept = np.unique(labels[lungs & binary])
    return np.isin(labels, kept[kept > 0])


def saliency_to_boxes(
    mask: ArrayLike, heat: ArrayLike, min_area: int | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Opacity boxes around the components of a saliency mask, strongest first.

    Args:
        mask: (S, S) saliency mask.
        heat: (S, S) saliency heat in [0, 1].
        min_area: components with fewer pixels give no box; None is S * S / 1000 (a square of about S / 32).

    Returns:
        boxes float32 (N, 4) in model coordinates, and scores float32 (N,) in [0, 1]: the mean heat of a component.
    """
    inside, warmth = np.asarray(mask) != 0, np.asarray(heat, dtype=np.float32)
    least = inside.size / 1000 if min_area is None else min_area
    labels, count = ndimage.label(inside, structure=_EIGHT_NEIGHBOURS)
    found: list[tuple[float, tuple[float, float, float, float]]] = []
    for index, (rows, cols) in enumerate(ndimage.find_objects(labels, count), start=1):
        component = labels[rows, cols] == index
        if component.sum() >= least:
            score = float(warmth[rows, cols][component].mean())
            found.append((score, (cols.start, rows.start, cols.stop, rows.stop)))
    found.sort(key=lambda item: -item[0])
    boxes = np.array([box for _, box in found], dtype=np.float32).reshape(-1, 4)
    return boxes, np.array([score for score, _ in found], dtype=np.float32)
