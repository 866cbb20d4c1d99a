"""Does the residue lie where the opacity is? Pixel average precision and the pointing game, for any score map."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from monai_dgm.metrics.baselines import box_score, brightness_score, lung_box_score, lung_mask_score
from monai_dgm.metrics.records import DecompositionRecord
from monai_dgm.transforms.saliency import smoothing_sigma

ScoreMap = NDArray[np.float32]


def residue_score(residue: ArrayLike) -> ScoreMap:
    """|a|, float32 (S, S): the residue map as a score of disease."""
    return np.abs(np.asarray(residue, dtype=np.float32))


def smoothed_residue_score(residue: ArrayLike) -> ScoreMap:
    """|a| after a Gaussian of sigma S / 64, float32 (S, S): the map whose peak the pointing game reads."""
    score = residue_score(residue)
    return np.asarray(ndimage.gaussian_filter(score, smoothing_sigma(max(score.shape))), dtype=np.float32)


def pointing_hit(score: ArrayLike, area: ArrayLike) -> float:
    """Pointing game (Zhang et al., 2018): is the maximum of the smoothed score inside the area?

    Args:
        score: (S, S) score map; smoothed here with a Gaussian of sigma S / 64.
        area: (S, S), nonzero in the boxes or mask.

    Returns:
        1 for a hit, 0 for a miss. Of a plateau, the share of its pixels that hit (a lung mask points at no single
        pixel). A map that is 0 everywhere points nowhere and misses.
    """
    smoothed = smoothed_residue_score(score)
    peak = float(smoothed.max())
    if not peak > 0:
        return 0.0
    at_peak = smoothed >= peak * (1 - 1e-6)
    return float((np.asarray(area) != 0)[at_peak].mean())


def baseline_scores(
    record: DecompositionRecord, mean_box_prior: ArrayLike | None, mean_lung_box: ArrayLike | None
) -> dict[str, ScoreMap]:
    """Score maps (S, S) of the baselines that exist for an image, by name."""
    shape = (record.image.shape[0], record.image.shape[1])
    scores = {"image": brightness_score(record.image)}
    if record.lung_mask is not None and np.any(record.lung_mask):
        scores["lung_mask"] = lung_mask_score(record.lung_mask)
        scores["lung_box"] = lung_box_score(record.lung_mask)
    if mean_lung_box is not None:
        scores["mean_lung_box"] = box_score(mean_lung_box, shape)
    if mean_box_prior is not None:
        scores["mean_box_prior"] = np.asarray(mean_box_prior, dtype=np.float32)
    return scores
