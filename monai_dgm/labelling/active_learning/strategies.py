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
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monai_dgm.errors import InputError
from monai_dgm.labelling.active_learning.feature_distances import FeatureDistances, distance_to_nearest
from monai_dgm.labelling.active_learning.image_scores import ImageScores

FloatArray = NDArray[np.float64]

SCORES = ("suspicion", "uncertainty", "disagreement", "residue_uncertainty")
WEIGHTS = {"suspicion": 10.0, "uncertainty": 1.0, "disagreement": 1.0, "residue_uncertainty": 0.0, "diversity": 1.0}
STRATEGIES = ("combined", *WEIGHTS, "random")


def random_order(image_ids: Sequence[str], seed: int) -> FloatArray:
    """One number in [0, 1) per image, (N,). It depends on the image's id and the seed only, not on the other images."""
    return np.array([_chance(seed, image_id) for image_id in image_ids], dtype=np.float64)


@lru_cache(maxsize=100_000)  # the same images are asked for again and again
def _chance(seed: int, image_id: str) -> float:
    digest = hashlib.sha256(f"{seed}:{image_id}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


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
    distances: FeatureDistances | None = None,
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
        distances: of an earlier choice; it changes nothing but the time.

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
        indices = np.array(_greedy(pool, labelled, n, shares, chance, distances or FeatureDistances()), dtype=np.int64)
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
    distances: FeatureDistances,
) -> list[int]:
    """Indices picked one by one, by the combined score, or by the distance only if ``weights`` is None."""
    nearest = distances.nearest(pool, labelled)
    known = ~np.isnan(nearest)
    reached = bool(np.isfinite(nearest[known]).all())
    features = np.zeros((len(pool), 1))
    if known.any() and (n > 1 or (weights is None and not reached)):
        features = distances.features(pool)
    fixed = np.zeros(len(pool))
    if weights is not None:
        used = [name for name in SCORES if weights[name]]
        fixed = sum((weights[name] * relative_rank(_known(pool, name)) for name in used), fixed)
    left = np.ones(len(pool), dtype=bool)
    picked: list[int] = []
    while len(picked) < min(n, len(pool)):
        if weights is None:
            score = np.where(known, nearest if reached else _centrality(features), chance - 3)  # below any cosine
        else:
            score = fixed + weights["diversity"] * relative_rank(nearest)
        index = int(np.where(left, score, -np.inf).argmax())  # the first of equals: the pool is sorted by id
        picked.append(index)
        left[index] = False
        if known[index] and len(picked) < n:
            others = distance_to_nearest(features, features[index : index + 1])
            nearest, reached = np.where(known, np.minimum(nearest, others), np.nan), True
    return picked


def _centrality(features: FloatArray) -> FloatArray:
    mean = features.mean(axis=0, keepdims=True)
    return np.asarray((features @ mean.T)[:, 0])


def _known(pool: Sequence[ImageScores], name: str) -> FloatArray:
    return np.array([getattr(item, name) for item in pool], dtype=np.float64)  # None becomes NaN


def _checked_weights(weights: Mapping[str, float] | None) -> dict[str, float]:
    given = dict(weights or {})
    values = {name: float(given.get(name, weight)) for name, weight in WEIGHTS.items()}
    if not given.keys() <= WEIGHTS.keys() or min(values.values()) < 0 or not 0 < sum(values.values()) < np.inf:
        raise InputError(f"expected weights of at least 0 for {', '.join(WEIGHTS)}, not all 0, got {given}")
    return values
