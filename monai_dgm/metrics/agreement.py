"""Agreement of the residue with the difference of image and normal image, and with the size of the opacity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from monai_dgm.metrics.case_results import Cohort, DecompositionResult, MetricRow
from monai_dgm.transforms.boxes import rasterise_boxes
from monai_dgm.transforms.saliency import smoothing_sigma

__all__ = ["identity_error", "identity_rows", "removed_score", "size_rows"]

FloatArray = NDArray[np.float64]
FEWEST = 10  # images under which a correlation or a third is not printed


def identity_error(result: DecompositionResult) -> float:
    """Mean |z - y' - a| over the pixels: 0 where residue and normal image add up to the radiograph."""
    return float(np.abs(result.image - result.normal - result.residue).mean())


def removed_score(result: DecompositionResult) -> NDArray[np.float32]:
    """What y' took away, float32 (S, S): z - y' after a Gaussian of sigma S / 64, its positive part."""
    removed = ndimage.gaussian_filter(result.image - result.normal, smoothing_sigma(max(result.image.shape)))
    return np.maximum(removed, 0).astype(np.float32)


def identity_rows(cohort: Cohort) -> list[MetricRow]:
    """The identity error of normal and of abnormal images."""
    rows = []
    for name, label in (("normal", 0), ("abnormal", 1)):
        part = cohort.part(lambda result, label=label: result.label == label)  # type: ignore[misc]
        if part.results:
            rows.append(part.mean_row(f"identity_error_{name}", part.each(identity_error)))
    return rows


def size_rows(cohort: Cohort, hits: FloatArray) -> list[MetricRow]:
    """Correlation of mean |a| with the area of the opacity, and the pointing game on the third with the smallest.

    Args:
        cohort: images with an opacity area.
        hits: (N,) pointing game of |a| on them.
    """
    if len(cohort.results) < FEWEST:
        return []
    areas = cohort.each(lambda result: float(np.mean(result.opacity_area())))  # type: ignore[arg-type]
    strength = cohort.each(lambda result: float(np.abs(result.residue).mean()))
    rows = []
    if all(np.ptp(values) > 1e-6 * np.abs(values).max() for values in (strength, areas)):  # both vary
        value = float(weighted_correlation(strength, areas, np.ones((1, len(areas))))[0])
        samples = weighted_correlation(strength, areas, cohort.weights)
        rows.append(cohort.row("residue_area_correlation", value, samples))
    smallest = np.array([_smallest_box(result) for result in cohort.results])
    index = np.argsort(smallest, kind="stable")[: len(smallest) // 3].tolist()
    rows.append(cohort.take(index).mean_row("pointing_game_smallest_third", hits[index]))
    return rows


def _smallest_box(result: DecompositionResult) -> float:
    """Area of the smallest opacity of an image, in pixels; of the whole opacity where there is only a mask."""
    if result.opacity_boxes is not None and len(result.opacity_boxes):
        shape = (result.image.shape[0], result.image.shape[1])
        return float(min(rasterise_boxes(box[None], shape).sum() for box in result.opacity_boxes))
    area = result.opacity_area()
    return 0.0 if area is None else float(area.sum())


def weighted_correlation(x: FloatArray, y: FloatArray, weights: NDArray[np.floating]) -> FloatArray:
    """Pearson's correlation of x and y (N,) under each row of weights (B, N); NaN where one does not vary."""
    x, y = x - x.mean(), y - y.mean()
    share = np.asarray(weights, dtype=np.float64)
    share = share / np.maximum(share.sum(axis=1, keepdims=True), 1e-12)
    mean_x, mean_y = share @ x, share @ y
    covariance = share @ (x * y) - mean_x * mean_y
    with np.errstate(invalid="ignore", divide="ignore"):
        std = np.sqrt((share @ x**2 - mean_x**2) * (share @ y**2 - mean_y**2))
        return np.where(std > 0, covariance / std, np.nan)
