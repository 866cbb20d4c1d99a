from __future__ import annotations

import numpy as np
import pytest

from monai_dgm.errors import InputError
from monai_dgm.labelling.active_learning.feature_distances import FeatureDistances, distance_to_nearest
from monai_dgm.labelling.active_learning.image_scores import (
    ImageScores,
)
from monai_dgm.labelling.active_learning.strategies import (
    SCORES,
    STRATEGIES,
    WEIGHTS,
    random_order,
    relative_rank,
    select_images,
)


def images(number: int = 40, seed: int = 0) -> list[ImageScores]:
    rng = np.random.default_rng(seed)
    return [
        ImageScores(
            f"image_{i:02d}",
            "1",
            **{name: float(rng.uniform()) for name in SCORES},
            features=rng.normal(size=8).astype("f4"),
        )
        for i in range(number)
    ]


def test_distance_is_between_directions() -> None:
    features = np.array([[1.0, 0], [0, 3], [-2, 0]])
    np.testing.assert_allclose(distance_to_nearest(features, [[5, 0]]), [0, np.sqrt(2), 2], atol=1e-6)
    assert np.isinf(distance_to_nearest(features, np.zeros((0, 2)))).all()
    assert distance_to_nearest(np.zeros((0, 2)), features).shape == (0,)


def test_ranks_share_ties_and_are_neutral_for_the_unknown() -> None:
    np.testing.assert_allclose(relative_rank([3, 1, 2]), [1, 0, 0.5])
    np.testing.assert_allclose(relative_rank([1, 1, np.inf, np.nan]), [0.25, 0.25, 1, 0.5])
    np.testing.assert_allclose(relative_rank([7]), [0.5])
    assert relative_rank([]).shape == (0,)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_order_of_the_candidates_changes_nothing(strategy: str) -> None:
    pool, labelled = images(), images(5, seed=1)
    first = select_images(pool, 10, strategy, labelled, seed=3)
    assert len(set(first)) == 10
    rng = np.random.default_rng(0)
    for _ in range(3):
        shuffled = [pool[i] for i in rng.permutation(len(pool))]
        assert select_images(shuffled, 10, strategy, labelled[::-1], seed=3) == first
    assert select_images(pool, 3, strategy, labelled, seed=3) == first[:3]
    assert len(select_images(pool, 100, strategy, labelled)) == len(pool)
    assert select_images([], 3, strategy) == [] and select_images(pool, 0, strategy) == []


@pytest.mark.parametrize("strategy", sorted(set(STRATEGIES) - {"random"}))
def test_ties_go_to_the_smaller_id(strategy: str) -> None:
    feature = np.ones(4, dtype=np.float32)
    pool = [ImageScores(name, "1", 0.5, 0.5, 0.5, feature, residue_uncertainty=0.5) for name in "dbca"]
    assert select_images(pool, 4, strategy, [ImageScores("z", "1", 0, 0, 0, feature)]) == list("abcd")


@pytest.mark.parametrize("strategy", SCORES)
def test_the_highest_score_comes_first_and_the_unknown_last(strategy: str) -> None:
    pool = [*images(), ImageScores("a_new", "")]
    chosen = select_images(pool, len(pool), strategy)
    values = {item.image_id: getattr(item, strategy) for item in pool}
    scores = [values[name] for name in chosen[:-1]]
    assert scores == sorted(scores, reverse=True) and chosen[-1] == "a_new"


def test_random_follows_the_seed_and_not_the_other_images() -> None:
    names = [item.image_id for item in images()]
    orders = {tuple(select_images(images(), 40, "random", seed=seed)) for seed in range(5)}
    assert len(orders) == 5
    full = select_images(images(), 40, "random", seed=1)
    assert select_images(images(20), 20, "random", seed=1) == [name for name in full if name in names[:20]]
    assert abs(random_order([str(i) for i in range(2000)], 0).mean() - 0.5) < 0.03


def test_diversity_is_k_center_greedy() -> None:
    pool, labelled = images(), images(3, seed=1)
    chosen = select_images(pool, 6, "diversity", labelled)
    unit = {item.image_id: item.features / np.linalg.norm(item.features) for item in pool}
    centres = [item.features / np.linalg.norm(item.features) for item in labelled]
    for name in chosen:
        distance = {other: min(np.linalg.norm(unit[other] - c) for c in centres) for other in unit}
        assert distance[name] == pytest.approx(max(distance.values()), abs=1e-5)
        centres.append(unit[name])


def test_diversity_starts_in_the_middle_and_takes_one_of_each_cluster() -> None:
    rng = np.random.default_rng(0)
    middles = np.eye(4)[[0, 0, 0, 0, 0, 1, 1, 2, 3, 3]]
    pool = [ImageScores(f"{i}", "1", features=m + rng.normal(0, 0.01, 4)) for i, m in enumerate(middles)]
    chosen = select_images(pool, 4, "diversity")
    assert {int(middles[int(name)].argmax()) for name in chosen} == {0, 1, 2, 3}
    assert middles[int(chosen[0])].argmax() == 0  # the largest cluster pulls the mean


def test_combined_is_the_formula() -> None:
    pool, labelled = images(), images(3, seed=1)
    weights = {"uncertainty": 2.0, "disagreement": 0.5}
    chosen = select_images(pool, 3, "combined", labelled, weights=weights)
    centres = [item.features for item in labelled]
    left = list(pool)
    for name in chosen:
        distance = distance_to_nearest([item.features for item in pool], centres)
        ranks = {part: relative_rank([getattr(item, part) for item in pool]) for part in SCORES}
        ranks["diversity"] = relative_rank(distance)
        sums = sum(({**WEIGHTS, **weights}[part] * rank for part, rank in ranks.items()), np.zeros(len(pool)))
        total = dict(zip([item.image_id for item in pool], sums, strict=True))
        assert total[name] == max(total[item.image_id] for item in left)
        left = [item for item in left if item.image_id != name]
        centres.append(next(item.features for item in pool if item.image_id == name))


def test_combined_prefers_what_all_parts_prefer_and_works_with_what_is_known() -> None:
    best = ImageScores("best", "1", 2.0, 2.0, 2.0, -np.ones(8, dtype=np.float32))
    labelled = [ImageScores("z", "1", features=np.ones(8, dtype=np.float32))]
    assert select_images([*images(), best], 1, "combined", labelled) == ["best"]
    bare = [ImageScores("a", ""), ImageScores("b", "1", 0.9), ImageScores("c", "1", 0.1)]
    assert select_images(bare, 3, "combined") == ["b", "a", "c"]


def test_only_features_of_one_version_and_length_are_compared() -> None:
    def make(name: str, version: str, feature: list[float]) -> ImageScores:
        return ImageScores(name, "1", 0.5, 0.5, 0.5, np.array(feature, dtype=np.float32), version)

    pool = [make("a", "new", [1, 0]), make("b", "new", [0, 1]), make("c", "old", [0, 0, 1])]
    labelled = [make("x", "new", [1, 0]), make("y", "old", [0, 1, 0])]
    assert select_images(pool, 3, "diversity", labelled)[0] == "b"
    assert select_images(pool, 3, "diversity", labelled)[2] == "c"
    assert len(select_images(pool, 3, "combined", labelled)) == 3


def test_invalid_arguments_are_refused() -> None:
    for more in ({"strategy": "best"}, {"n": -1}, {"weights": {"age": 1.0}}, {"weights": {"diversity": -1.0}}):
        with pytest.raises(InputError, match="expected"):
            select_images(images(), **{"n": 1, **more})
    with pytest.raises(InputError, match="not all 0"):
        select_images(images(), 1, weights=dict.fromkeys(WEIGHTS, 0.0))


@pytest.mark.parametrize("strategy", ["combined", "diversity"])
def test_what_is_kept_between_choices_changes_none(strategy: str) -> None:
    rng, kept = np.random.default_rng(5), FeatureDistances()
    known = {item.image_id: item for item in images()}
    done: list[str] = []
    for step in range(30):
        name = f"img{rng.integers(40):03d}"
        version = "new" if step > 20 else "1"
        known[name] = ImageScores(
            name, "1", rng.random(), rng.random(), None, rng.normal(size=8).astype(np.float32), version
        )
        if step % 5 == 4:
            done = done[1:]  # a label is deleted, or a case that was reserved is not any more
        pool, labelled = [known[name] for name in known if name not in done], [known[name] for name in done]
        chosen = select_images(pool, 1 + step % 3, strategy, labelled, distances=kept)
        assert chosen == select_images(pool, 1 + step % 3, strategy, labelled)
        done += chosen[:1]
