"""Active learning strategies: which images to label next, as pure functions of the images' scores.

Equal images are ordered by id, and random orders depend on a seed only, so that equal inputs give equal results.

The default, "combined", picks one image after the other; the next is the one with the largest

    c = (w_s R(suspicion) + w_u R(uncertainty) + w_d R(disagreement) + w_r R(residue uncertainty) + w_v R(distance))
        / (w_s + w_u + w_d + w_r + w_v),

with w_s = 10, w_r = 0 (what it brings was not measured) and the others 1 (``WEIGHTS``). A detector learns least from
images without boxes, and images that are uncertain, disputed or unlike the others often have none. So suspicion has the
largest weight, and the other terms choose among the most suspicious images. R is the rank among the candidates divided
by their number less one, in [0, 1] (equal values share the mean rank; 0.5 for an image whose score is not known). The
distance is that to the nearest image that is labelled or already picked. Ranks need no common unit, and limit the
influence of outliers.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monai_dgm.errors import InputError
from monai_dgm.labelling.active_learning.image_scores import ImageScores

FloatArray = NDArray[np.float64]

SCORES = ("suspicion", "uncertainty", "disagreement", "residue_uncertainty")
WEIGHTS = {"suspicion": 10.0, "uncertainty": 1.0, "disagreement": 1.0, "residue_uncertainty": 0.0, "diversity": 1.0}
STRATEGIES = ("combined", *WEIGHTS, "random")


def distance_to_nearest(features: ArrayLike, others: ArrayLike) -> FloatArray:
    """Distance of each of ``features`` (N, D) to the nearest of ``others`` (M, D): (N,), in [0, 2]; infinite for M = 0.

    Features are scaled to length 1 first; the distance is Euclidean. It is rounded to 1e-6, so that equal features have
    equal distances whatever the order of the sums.
    """
    ones, rest = _unit(features), _unit(others)
    if not len(rest) or not len(ones):
        return np.full(len(ones), np.inf)
    nearest = np.concatenate([(rest @ ones[i : i + 1024].T).max(axis=0) for i in range(0, len(ones), 1024)])
    return np.asarray(np.sqrt(np.maximum(2 - 2 * nearest, 0.0)).round(6))


def random_order(image_ids: Sequence[str], seed: int) -> FloatArray:
    """One number in [0, 1) per image, (N,). It depends on the image's id and the seed only, not on the other images."""
    digests = [hashlib.sha256(f"{seed}:{image_id}".encode("utf-8", "surrogatepass")).digest() for image_id in image_ids]
    return np.array([int.from_bytes(digest[:6], "big") / 2**48 for digest in digests], dtype=np.float64)


def relative_rank(values: ArrayLike) -> FloatArray:
    """Rank of each value (N,) in [0, 1], the largest 1; ties share the mean; 0.5 for NaN and for a single value."""
    array = np.asarray(values, dtype=np.float64)
    ranks = np.full(array.shape, 0.5)
    known = ~np.isnan(array)
    if known.sum() > 1:
        _, inverse, counts = np.unique(array[known], return_inverse=True, return_counts=True)
        mean_ranks = counts.cumsum() - (counts + 1) / 2  # as scipy.stats.rankdata, which takes 1 s to import
        ranks[known] = mean_ranks[inverse] / (known.sum() - 1)
    return ranks


def select_images(
    candidates: Sequence[ImageScores],
    n: int,
    strategy: str = "combined",
    labelled: Sequence[ImageScores] = (),
    seed: int = 0,
    weights: Mapping[str, float] | None = None,
) -> list[str]:
    """The ``n`` images to label next, the best first.

    - "suspicion", "uncertainty", "disagreement", "residue_uncertainty": by that score.
    - "diversity": k-center greedy (Sener and Savarese, 2018): repeatedly the image with the largest distance to all
      labelled and picked images; if there are none yet, the image nearest to the mean of the candidates.
    - "combined": see the module's docstring.
    - "random": by :func:`random_order`.

    Images whose score is not known come after the others, in random order.

    Args:
        candidates: unlabelled images.
        n: number of images; fewer are returned if there are fewer candidates.
        strategy: one of ``STRATEGIES``.
        labelled: scores of the labelled images, for the distances.
        seed: of the random order.
        weights: of the terms of "combined"; those of ``WEIGHTS`` for terms that are not named.

    Raises:
        InputError: another strategy, ``n`` below 0, or weights that are unknown, negative or all 0.
    """
    if strategy not in STRATEGIES:
        raise InputError(f"expected a strategy of {', '.join(STRATEGIES)}, got {strategy!r}")
    if n < 0:
        raise InputError(f"expected a number of images of at least 0, got {n}")
    pool = sorted(candidates, key=lambda item: item.image_id)
    chance = random_order([item.image_id for item in pool], seed)
    if strategy == "random":
        indices = np.argsort(-chance, kind="stable")[:n]
    elif strategy in SCORES:
        indices = _by_score(_known(pool, strategy), chance)[:n]
    else:
        shares = _checked_weights(weights) if strategy == "combined" else None
        indices = np.array(_greedy(pool, labelled, n, shares, chance), dtype=np.int64)
    return [pool[index].image_id for index in indices]


def _by_score(scores: FloatArray, chance: FloatArray) -> NDArray[np.int64]:
    unknown = np.isnan(scores)
    return np.lexsort([np.where(unknown, -chance, 0.0), -np.nan_to_num(scores), unknown])


def _greedy(
    pool: Sequence[ImageScores],
    labelled: Sequence[ImageScores],
    n: int,
    weights: Mapping[str, float] | None,
    chance: FloatArray,
) -> list[int]:
    """Indices picked one by one, by the combined score, or by the distance only if ``weights`` is None."""
    features, known, nearest = _distances(pool, labelled)
    fixed = np.zeros(len(pool))
    if weights is not None:
        fixed = sum((weights[name] * relative_rank(_known(pool, name)) for name in SCORES), fixed)
    left = np.ones(len(pool), dtype=bool)
    picked: list[int] = []
    while len(picked) < min(n, len(pool)):
        if weights is None:
            reached = np.isfinite(nearest[known]).all()
            score = np.where(known, nearest if reached else _centrality(features), chance - 3)  # below any cosine
        else:
            score = fixed + weights["diversity"] * relative_rank(np.where(known, nearest, np.nan))
        index = int(np.where(left, score, -np.inf).argmax())  # the first of equals: the pool is sorted by id
        picked.append(index)
        left[index] = False
        if known[index]:
            nearest = np.minimum(nearest, distance_to_nearest(features, features[index : index + 1]))
    return picked


def _distances(
    pool: Sequence[ImageScores], labelled: Sequence[ImageScores]
) -> tuple[FloatArray, NDArray[np.bool_], FloatArray]:
    """(features (N, D), which are known (N,), distance to the nearest labelled image (N,))."""
    kinds = Counter(_kind(item) for item in pool if item.features is not None)
    if not kinds:
        return np.zeros((len(pool), 1)), np.zeros(len(pool), dtype=bool), np.full(len(pool), np.inf)
    kind = min(kinds, key=lambda key: (-kinds[key], key))
    known = np.array([_kind(item) == kind for item in pool])
    blank = np.zeros(kind[1], dtype=np.float32)
    rows: list[Any] = [item.features if same else blank for item, same in zip(pool, known, strict=True)]
    features = _unit(np.array(rows))
    others = [item.features for item in labelled if _kind(item) == kind]
    return features, known, distance_to_nearest(features, np.array(others).reshape(-1, kind[1]))


def _centrality(features: FloatArray) -> FloatArray:
    mean = features.mean(axis=0, keepdims=True)
    return np.asarray((features @ mean.T)[:, 0])


def _kind(item: ImageScores) -> tuple[str, int]:
    return (item.feature_version, -1 if item.features is None else int(np.size(item.features)))


def _known(pool: Sequence[ImageScores], name: str) -> FloatArray:
    values = [getattr(item, name) for item in pool]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _unit(features: ArrayLike) -> FloatArray:
    array = np.asarray(features, dtype=np.float64)
    if not len(array):
        return array.reshape(0, 1)
    return np.asarray(array / np.maximum(np.linalg.norm(array, axis=1, keepdims=True), 1e-12))


def _checked_weights(weights: Mapping[str, float] | None) -> dict[str, float]:
    given = dict(weights or {})
    values = {name: float(given.get(name, weight)) for name, weight in WEIGHTS.items()}
    if not given.keys() <= WEIGHTS.keys() or min(values.values()) < 0 or not 0 < sum(values.values()) < np.inf:
        raise InputError(f"expected weights of at least 0 for {', '.join(WEIGHTS)}, not all 0, got {given}")
    return values
