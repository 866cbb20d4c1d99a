"""Scores of unlabelled images for active learning, as pure functions of the models' outputs.

A higher score means that a label of the image is expected to improve the models more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monai_dgm.errors import InputError
from monai_dgm.transforms.boxes import box_iou, pair_boxes

__all__ = [
    "MEASURES",
    "ImageScores",
    "binary_entropy",
    "binary_margin",
    "disagreement",
    "score_image",
    "suspicion",
    "uncertainty",
]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ImageScores:
    """The scores of one image.

    Args:
        image_id: id of the image.
        model_version: version of the models that the scores come from.
        suspicion: see :func:`suspicion`; None where not known.
        uncertainty: see :func:`uncertainty`; None where not known.
        disagreement: see :func:`disagreement`; None where not known.
        residue_uncertainty: of the decomposer's residue,
            :class:`monai_dgm.engines.residues.uncertainty.ResidueUncertainty`; None where not known.
        features: float32 (D,), E_F features, averaged over the image; None where not known.
        feature_version: version of the encoder; features of different versions are not compared.
        remark: why this may be no frontal chest radiograph; "" where nothing is wrong. Such an image is not selected.
    """

    image_id: str
    model_version: str
    suspicion: float | None = None
    uncertainty: float | None = None
    disagreement: float | None = None
    features: NDArray[np.float32] | None = None
    feature_version: str = ""
    residue_uncertainty: float | None = None
    remark: str = ""

    @cached_property
    def kind(self) -> tuple[str, int]:
        """Version and length of the features, whose length is -1 where they are not known."""
        return (self.feature_version, -1 if self.features is None else int(np.size(self.features)))


def binary_entropy(probability: ArrayLike) -> FloatArray:
    """-p log2 p - (1 - p) log2 (1 - p) in bits: 1 at p = 0.5, 0 at 0 and 1; same shape.

    Raises:
        InputError: a value outside [0, 1].
    """
    p = _probability(probability)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = [np.where(q > 0, -q * np.log2(q), 0.0) for q in (p, 1 - p)]
    return np.asarray(terms[0] + terms[1])


def binary_margin(probability: ArrayLike) -> FloatArray:
    """1 - |2 p - 1|: 1 at p = 0.5, 0 at 0 and 1; same shape.

    Raises:
        InputError: a value outside [0, 1].
    """
    return np.asarray(1 - np.abs(2 * _probability(probability) - 1))


MEASURES: dict[str, Callable[[ArrayLike], FloatArray]] = {"entropy": binary_entropy, "margin": binary_margin}


def suspicion(scores: ArrayLike, abnormality_probability: float | None = None) -> float:
    """Probability, by the models, that there is a finding, in [0, 1].

    The highest score of the detector's boxes (0 without boxes); where there is an abnormality probability, the mean of
    the two.

    Args:
        scores, abnormality_probability: as in :func:`uncertainty`.

    Raises:
        InputError: a score outside [0, 1].
    """
    best = float(np.max(_probability(scores), initial=0.0))
    if abnormality_probability is None:
        return best
    return (best + float(_probability(abnormality_probability))) / 2


def uncertainty(scores: ArrayLike, abnormality_probability: float | None = None, measure: str = "entropy") -> float:
    """Uncertainty of the models about an image, in [0, 1].

    The highest uncertainty of the detector's boxes (0 without boxes); where there is an abnormality probability, the
    mean of that and of its uncertainty.

    Args:
        scores: (N,) the detector's scores in [0, 1].
        abnormality_probability: of the decomposer's classification head, in [0, 1]; None where there is none.
        measure: "entropy" or "margin".

    Raises:
        InputError: another measure, or a score outside [0, 1].
    """
    if measure not in MEASURES:
        raise InputError(f"expected a measure of {', '.join(MEASURES)}, got {measure!r}")
    of_boxes = float(np.max(MEASURES[measure](np.ravel(scores)), initial=0.0))
    if abnormality_probability is None:
        return of_boxes
    return (of_boxes + float(MEASURES[measure](abnormality_probability))) / 2


def disagreement(
    saliency_boxes: ArrayLike,
    detector_boxes: ArrayLike,
    saliency_weights: ArrayLike | None = None,
    detector_scores: ArrayLike | None = None,
) -> float:
    """1 - matched soft IoU of two models' boxes, in [0, 1]: 0 where they agree, also if neither has a box.

    The soft IoU is sum over pairs (a_i + b_j) IoU_ij / (sum a + sum b), with the boxes' weights a and b and the
    one-to-one pairs that make it largest. Boxes without a partner count in the denominator only, so a finding of only
    one model is a disagreement, in proportion to its weight.

    Args:
        saliency_boxes: (N, 4).
        detector_boxes: (M, 4).
        saliency_weights: (N,) in [0, 1]; 1 where not given.
        detector_scores: (M,) in [0, 1]; 1 where not given.

    Raises:
        InputError: weights outside [0, 1], or another number of them than of boxes.
    """
    overlap = box_iou(saliency_boxes, detector_boxes)
    a, b = _weights(saliency_weights, overlap.shape[0]), _weights(detector_scores, overlap.shape[1])
    total = float(a.sum() + b.sum())
    if total <= 0:
        return 0.0
    gain = (a[:, None] + b[None, :]) * overlap
    return float(np.clip(1 - sum(gain[pair] for pair in pair_boxes(gain)) / total, 0.0, 1.0))


def score_image(
    image_id: str,
    model_version: str,
    detector: tuple[ArrayLike, ArrayLike],
    abnormality_probability: float | None = None,
    saliency: tuple[ArrayLike, ArrayLike] | None = None,
    features: NDArray[np.float32] | None = None,
    feature_version: str = "",
    residue_uncertainty: float | None = None,
) -> ImageScores:
    """All scores of one image.

    Args:
        image_id, model_version, features, feature_version, residue_uncertainty: as in :class:`ImageScores`.
        detector: boxes (M, 4) and their scores (M,).
        abnormality_probability: of the decomposer's head; None where there is none.
        saliency: boxes (N, 4) and their weights (N,) from the saliency map; None if the detector's boxes come from it.
    """
    boxes, scores = detector
    return ImageScores(
        image_id,
        model_version,
        suspicion(scores, abnormality_probability),
        uncertainty(scores, abnormality_probability),
        None if saliency is None else disagreement(saliency[0], boxes, saliency[1], scores),
        features,
        feature_version,
        residue_uncertainty,
    )


def _probability(values: ArrayLike) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if not ((array >= 0) & (array <= 1)).all():
        raise InputError("expected probabilities in [0, 1], got another number")
    return array


def _weights(values: ArrayLike | None, number: int) -> FloatArray:
    array = np.ones(number) if values is None else _probability(values).ravel()
    if len(array) != number:
        raise InputError(f"expected one weight per box, got {len(array)} for {number}")
    return array
