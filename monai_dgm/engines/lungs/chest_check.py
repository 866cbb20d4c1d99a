"""The chest check: does the output of the lung segmentor look like that of a frontal chest?

A radiograph is described by the two lungs found in it: their areas, positions, shapes, symmetry, and how certain the
segmentor was. How far such a description lies from those of the training set's chests is its Mahalanobis distance, and
the distance that a stated share of the training chests exceeds is the threshold. Nothing in it is set by hand.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monai_dgm.errors import InputError
from monai_dgm.transforms.boxes import box_of_mask
from monai_dgm.transforms.lungs import THRESHOLD, clean_lung_mask, split_lungs
from monai_dgm.utils.atomic import write_json

__all__ = [
    "CHEST_FILE",
    "ChestReference",
    "chest_plausibility",
    "describe_lungs",
    "fit_chest_reference",
]

CHEST_FILE = "chest.json"
TRIMMED = 0.05  # share of the training chests, the farthest, that do not shape the reference: failed segmentations
LEAST_CHESTS = 20
SCORE_CAP = 100.0
_EDGE = 0.01  # keeps logarithms of shares finite, and a number that never varies from ruling

FEATURES = {
    "right_area": "area of the right lung",
    "left_area": "area of the left lung",
    "right_x": "horizontal position of the right lung",
    "left_x": "horizontal position of the left lung",
    "right_y": "vertical position of the right lung",
    "left_y": "vertical position of the left lung",
    "right_aspect": "ratio of height to width of the right lung",
    "left_aspect": "ratio of height to width of the left lung",
    "right_fill": "share of its box that the right lung fills",
    "left_fill": "share of its box that the left lung fills",
    "right_taper": "widening of the right lung downwards",
    "left_taper": "widening of the left lung downwards",
    "right_lean": "slant of the right lung",
    "left_lean": "slant of the left lung",
    "gap": "distance of the lungs",
    "level": "overlap of the lungs' heights",
    "mirror": "symmetry of the lungs",
    "border": "contact of the lungs with the image's border",
    "doubt": "doubt of the segmentation",
    "blur": "area of the lungs' uncertain edge",
    "rest": "area of what else was taken for lung",
}
"""Names of the numbers of a description, and their names for a user."""


def describe_lungs(probability: ArrayLike) -> NDArray[np.float64] | None:
    """The numbers of ``FEATURES``, relative to the radiograph's rows and columns; None where two lungs were not found.

    Args:
        probability: of lung, (rows, cols) in [0, 1], of the radiograph alone, without a border that was added to it.
    """
    array = np.asarray(probability, dtype=np.float64)
    rows, cols = array.shape
    mask = clean_lung_mask(array)
    lungs = split_lungs(mask)
    right, left = box_of_mask(lungs[0]), box_of_mask(lungs[1])
    if right is None or left is None:
        return None
    numbers: dict[str, float] = {}
    for side, lung, box in zip(("right", "left"), lungs, (right, left), strict=True):
        numbers.update({f"{side}_{name}": value for name, value in _describe_lung(lung, box).items()})
    both = min(right[3], left[3]) - max(right[1], left[1])
    numbers["gap"] = float(left[0] - right[2]) / cols
    numbers["level"] = float(both) / float(max(right[3], left[3]) - min(right[1], left[1]))
    numbers["mirror"] = _mirror(*lungs)
    area = float(mask.sum())
    edges = mask[0].sum() + mask[-1].sum() + mask[:, 0].sum() + mask[:, -1].sum()
    numbers["border"] = float(np.log(edges / (rows + cols) + _EDGE))
    unsure = (array > 0.1) & (array < 0.9)
    numbers["doubt"] = float(np.log(1 - np.abs(2 * array[mask] - 1).mean() + _EDGE))
    numbers["blur"] = float(np.log(unsure.sum() / area + _EDGE))
    numbers["rest"] = float(np.log(((array > THRESHOLD) & ~mask).sum() / area + _EDGE))
    return np.array([numbers[name] for name in FEATURES])


def _describe_lung(lung: NDArray[np.bool_], box: NDArray[np.float32]) -> dict[str, float]:
    rows, cols = lung.shape
    height, width = float(box[3] - box[1]), float(box[2] - box[0])
    y, x = (np.argwhere(lung) + 0.5).T
    upper, lower = y < box[1] + height / 3, y > box[3] - height / 3  # thirds
    lean = x[lower].mean() - x[upper].mean() if upper.any() and lower.any() else 0.0
    return {
        "area": float(np.log(lung.mean())),
        "x": float(x.mean()) / cols,
        "y": float(y.mean()) / rows,
        "aspect": float(np.log(height / width)),
        "fill": float(lung.sum()) / (height * width),
        "taper": float(np.log((lower.sum() + 1) / (upper.sum() + 1))),
        "lean": float(lean) / width,
    }


def _mirror(right: NDArray[np.bool_], left: NDArray[np.bool_]) -> float:
    """Dice of the left lung and the right one mirrored onto it, box on box of the same top, in [0, 1]."""
    crops = []
    top = min(np.flatnonzero(lung.any(axis=1))[0] for lung in (right, left))
    bottom = max(np.flatnonzero(lung.any(axis=1))[-1] for lung in (right, left)) + 1
    for lung in (right[:, ::-1], left):
        columns = np.flatnonzero(lung.any(axis=0))
        crops.append(lung[top:bottom, columns[0] : columns[-1] + 1])
    width = max(crop.shape[1] for crop in crops)
    one, other = (np.pad(crop, ((0, 0), (0, width - crop.shape[1]))) for crop in crops)  # aligned at the spine
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


@dataclass(frozen=True)
class ChestReference:
    """Distribution of the descriptions of training chests: ``chest.json`` in the folder of a segmentor's weights.

    Attributes:
        features: names, as in ``FEATURES``.
        centre, scale: mean and standard deviation of each.
        precision: inverse covariance of the scaled description, a list a row.
        low, high: 1st and 99th percentile of each, for the reasons.
        threshold: distance above which a radiograph is questioned.
        false_alarm_rate: share of the training chests that was asked to exceed it.
        training_rate: share that does, those without two lungs among them.
        num_chests: training chests.
        trained_on: description of the data.
    """

    features: list[str]
    centre: list[float]
    scale: list[float]
    precision: list[list[float]]
    low: list[float]
    high: list[float]
    threshold: float
    false_alarm_rate: float
    training_rate: float
    num_chests: int
    trained_on: str = ""

    def parts(self, description: NDArray[np.float64]) -> NDArray[np.float64]:
        """What each number of a description adds to its squared distance; their sum is that."""
        scaled = (description - np.array(self.centre)) / np.array(self.scale)
        return np.asarray(scaled * (np.array(self.precision) @ scaled))

    def distance(self, description: NDArray[np.float64]) -> float:
        """Mahalanobis distance of a description."""
        return float(np.sqrt(max(0.0, self.parts(description).sum())))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write as JSON, aside and renamed."""
        write_json(path, asdict(self), allow_nan=False)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> ChestReference:
        """Read what :meth:`write` wrote.

        Raises:
            InputError: no such file, or another one.
        """
        try:
            reference = cls(**json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{path}: expected a chest reference as JSON ({error})") from error
        if reference.features != list(FEATURES):
            raise InputError(f"{path}: expected a chest reference with the features of this version; fit it again")
        return reference


def fit_chest_reference(
    descriptions: Sequence[NDArray[np.float64] | None], false_alarm_rate: float = 0.01, trained_on: str = ""
) -> ChestReference:
    """Centre, covariance (Ledoit-Wolf) and threshold of training chests.

    Args:
        descriptions: from :func:`describe_lungs`; None counts as a false alarm.
        false_alarm_rate: share of these chests that shall exceed the threshold. Where more than that have not two
            lungs, it is the largest distance.
        trained_on: description of the data.

    Raises:
        InputError: a rate outside (0, 1), or too few chests with two lungs.
    """
    if not 0 < false_alarm_rate < 1:
        raise InputError(f"false_alarm_rate: expected a share between 0 and 1, got {false_alarm_rate}")
    found = np.array([description for description in descriptions if description is not None])
    if len(found) < LEAST_CHESTS:
        expected = f"at least {LEAST_CHESTS} training chests in which two lungs are found"
        raise InputError(f"expected {expected}, got {len(found)} of {len(descriptions)}: is the segmentor trained?")
    reference = _fit(found, false_alarm_rate, len(descriptions), trained_on)
    distances = np.array([reference.distance(description) for description in found])
    inner = found[distances <= np.quantile(distances, 1 - TRIMMED)]
    reference = _fit(inner, false_alarm_rate, len(descriptions), trained_on)
    distances = np.array([reference.distance(description) for description in found])
    missing = len(descriptions) - len(found)
    every = np.concatenate((distances, np.full(missing, np.inf)))
    threshold = min(float(np.quantile(every, 1 - false_alarm_rate, method="lower")), float(distances.max()))
    return replace(reference, threshold=threshold, training_rate=float((every > threshold).mean()))


def _fit(found: NDArray[np.float64], rate: float, number: int, trained_on: str) -> ChestReference:
    from sklearn.covariance import LedoitWolf  # here, for it takes a second to import and inference does not fit

    centre, scale = found.mean(axis=0), np.maximum(found.std(axis=0), _EDGE)
    precision = LedoitWolf(assume_centered=True).fit((found - centre) / scale).get_precision()
    low, high = np.quantile(found, [0.01, 0.99], axis=0)
    arrays = {"centre": centre, "scale": scale, "precision": precision, "low": low, "high": high}
    return ChestReference(
        features=list(FEATURES),
        **{name: array.tolist() for name, array in arrays.items()},
        threshold=float("inf"),
        false_alarm_rate=rate,
        training_rate=float("nan"),
        num_chests=number,
        trained_on=trained_on,
    )


def chest_plausibility(probability: ArrayLike, reference: ChestReference) -> tuple[bool, str, float]:
    """Whether the lungs found in a radiograph look like those of a frontal chest.

    Args:
        probability: of lung, (rows, cols) in [0, 1], of the radiograph alone, without a border that was added to it.
        reference: of training chests, by the same segmentor.

    Returns:
        plausible; the reason where it is not, else ""; and a score: distance from the training chests in units
        of the threshold, at most 100. Above 1 is not plausible.
    """
    description = describe_lungs(probability)
    if description is None:
        lungs = int(clean_lung_mask(probability).any())
        reason = "only one lung was found" if lungs else "no lungs were found"
        return False, f"this does not look like a frontal chest: {reason}", SCORE_CAP
    score = min(SCORE_CAP, reference.distance(description) / reference.threshold)
    if score <= 1:
        return True, "", score
    worst = int(np.argmax(reference.parts(description)))
    value, low, high = description[worst], reference.low[worst], reference.high[worst]
    name = list(FEATURES.values())[worst]
    if low <= value <= high:
        reason = f"the {name} does not fit the other features"
    else:
        reason = f"the {name} is {'smaller' if value < low else 'larger'} than in nearly all training chests"
    return False, f"this does not look like a frontal chest: {reason}", score
