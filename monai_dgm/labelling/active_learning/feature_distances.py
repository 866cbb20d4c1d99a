"""Distances of images to the nearest labelled one, by their features; from one choice to the next what is new alone is
computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monai_dgm.labelling.active_learning.image_scores import ImageScores

__all__ = ["FeatureDistances", "distance_to_nearest", "unit_features"]

FloatArray = NDArray[np.float64]

BLOCK = 1024  # images whose distances are computed at once
ROUNDING = 1e-9  # of a cosine, by the order of its sum, and more
KEPT = 4  # rows for each candidate, above which those of images that are gone are dropped


def unit_features(features: ArrayLike) -> FloatArray:
    """Features (N, D) scaled to length 1; zeros stay."""
    array = np.asarray(features, dtype=np.float64)
    if not len(array):
        return array.reshape(0, 1)
    return np.asarray(array / np.maximum(np.linalg.norm(array, axis=1, keepdims=True), 1e-12))


def distance_to_nearest(features: ArrayLike, others: ArrayLike) -> FloatArray:
    """Distance of each of ``features`` (N, D) to the nearest of ``others`` (M, D): (N,), in [0, 2]; infinite for M = 0.

    Features are scaled to length 1 first; the distance is Euclidean. It is rounded to 1e-6, so that equal features have
    equal distances whatever the order of the sums.
    """
    return _distance(_largest_cosine(unit_features(features), unit_features(others)))


class FeatureDistances:
    """Distances of images to the nearest labelled one. Between two calls it keeps what it computed of each image.

    An image is the same one as in the call before if its scores are the same object. For one thread at a time.
    """

    def __init__(self) -> None:
        self._forget(("", -1))

    def nearest(self, pool: Sequence[ImageScores], labelled: Sequence[ImageScores]) -> FloatArray:
        """Distance of each image to the nearest labelled one, as :func:`distance_to_nearest`.

        Only features of one version and length are compared: those that most images of the pool have.

        Args:
            pool: the images.
            labelled: the labelled images.

        Returns:
            (N,) for the pool; NaN where an image has no such features, infinite where no labelled image has.
        """
        kind = _common_kind(pool)
        if kind is None:
            return np.full(len(pool), np.nan)
        if kind != self._kind or len(self._items) > KEPT * len(pool) + BLOCK:
            self._forget(kind)
        self._follow_labelled({item.image_id: item for item in labelled if item.kind == kind})
        rows = self._rows_of([item if item.kind == kind else None for item in pool])
        return np.where(rows >= 0, _distance(self._cosine[rows]), np.nan)

    def features(self, pool: Sequence[ImageScores]) -> FloatArray:
        """Features of the pool of the last :meth:`nearest`, scaled to length 1, (N, D); 0 where there are none."""
        rows = np.array([self._row.get(item.image_id, -1) if item.kind == self._kind else -1 for item in pool], int)
        return np.where(rows[:, None] >= 0, self._unit[rows], 0.0)

    def _forget(self, kind: tuple[str, int]) -> None:
        self._kind = kind
        self._row: dict[str, int] = {}
        self._items: list[ImageScores] = []  # of each row
        self._unit: FloatArray = np.zeros((1, max(1, kind[1])))
        self._cosine: FloatArray = np.full(1, -np.inf)  # with the nearest labelled image
        self._labelled: dict[str, ImageScores] = {}

    def _follow_labelled(self, labelled: dict[str, ImageScores]) -> None:
        gone = [item for name, item in self._labelled.items() if labelled.get(name) is not item]
        added = [item for name, item in labelled.items() if self._labelled.get(name) is not item]
        self._labelled, count = labelled, len(self._items)
        unit, cosine = self._unit[:count], self._cosine[:count]
        if gone and count:  # those that one of them was the nearest to
            rows = np.flatnonzero(_largest_cosine(unit, unit_features(_features(gone))) >= cosine - ROUNDING)
            cosine[rows] = _largest_cosine(unit[rows], unit_features(_features(list(labelled.values()))))
        if added and count:
            cosine[:] = np.maximum(cosine, _largest_cosine(unit, unit_features(_features(added))))

    def _rows_of(self, items: Sequence[ImageScores | None]) -> NDArray[np.int64]:
        """The row of each image, -1 for None; images that are new or have new features get one."""
        new = []
        for item in items:
            if item is None:
                continue
            row = self._row.setdefault(item.image_id, len(self._items))
            if row == len(self._items):
                self._items.append(item)
            elif self._items[row] is item:
                continue
            self._items[row] = item
            new.append(row)
        if new:
            self._grow()
            unit = unit_features(_features([self._items[row] for row in new]))
            others = unit_features(_features(list(self._labelled.values())))
            self._unit[new], self._cosine[new] = unit, _largest_cosine(unit, others)
        return np.array([-1 if item is None else self._row[item.image_id] for item in items], dtype=np.int64)

    def _grow(self) -> None:
        missing = len(self._items) - len(self._unit)
        if missing > 0:
            more = max(missing, len(self._unit))
            self._unit = np.concatenate([self._unit, np.zeros((more, self._unit.shape[1]))])
            self._cosine = np.concatenate([self._cosine, np.full(more, -np.inf)])


def _largest_cosine(ones: FloatArray, others: FloatArray) -> FloatArray:
    if not len(others) or not len(ones):
        return np.full(len(ones), -np.inf)
    blocks = [(others @ ones[i : i + BLOCK].T).max(axis=0) for i in range(0, len(ones), BLOCK)]
    return np.asarray(np.concatenate(blocks))


def _distance(cosine: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt(np.maximum(2 - 2 * cosine, 0.0)).round(6))


def _features(items: Sequence[ImageScores]) -> list[Any]:
    return [item.features for item in items]


def _common_kind(pool: Sequence[ImageScores]) -> tuple[str, int] | None:
    kinds = Counter(item.kind for item in pool if item.features is not None)
    return min(kinds, key=lambda key: (-kinds[key], key)) if kinds else None
