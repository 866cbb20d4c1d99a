"""Estimates over seeds and patients, and paired differences."""

from __future__ import annotations

import math

import numpy as np
import pytest

from monai_dgm.benchmark.judge import Prediction
from monai_dgm.benchmark.results import Judged, Results, collect, is_better
from monai_dgm.benchmark.scores import measure
from monai_dgm.benchmark.test_sets import TestSet
from tests.benchmark.conftest import make_test_set, nothing, perfect


def noisy(test_set: TestSet, noise: float, seed: int) -> Prediction:
    right = perfect(test_set)
    added = np.random.default_rng(seed + 1).normal(0, noise, right.residues.shape).astype(np.float32)
    return Prediction(right.normals, right.residues + added, right.probabilities, right.features)


@pytest.fixture
def results() -> Results:
    test_sets = {"inserted": make_test_set("inserted"), "real": make_test_set("real", exact=False)}
    exact = {"inserted": test_sets["inserted"], "real": make_test_set("real")}

    def judged(name: str, noise: float, seeds: tuple[int, ...]) -> Judged:
        cells = {
            seed: {part: measure(test_sets[part], noisy(exact[part], noise, seed)).metrics for part in test_sets}
            for seed in seeds
        }
        return Judged(name, name, "labels", cells)

    same = {part: measure(test_sets[part], nothing(exact[part])).metrics for part in test_sets}
    everyone = [
        judged("ours", 0.05, (0, 1, 2)),
        judged("other", 0.6, (1, 2, 3)),
        judged("weights", 0.3, (-1,)),
        Judged("unchanged", "unchanged", "none", {-1: same}, True),
    ]
    return collect(everyone, test_sets, ["ours"], 60)


def test_an_estimate_is_the_mean_over_seeds_with_its_interval(results: Results) -> None:
    own = results.estimates["ours", "inserted", "all", "pixel_ap"]
    assert own.seeds == (0, 1, 2) and own.mean == pytest.approx(np.mean(own.values)) and own.sd > 0
    assert own.low <= own.mean <= own.high and own.num_images == 24 and own.num_patients == 12
    assert math.isnan(results.estimates["weights", "inserted", "all", "pixel_ap"].sd)


def test_differences_are_of_common_seeds_and_tell_who_is_better(results: Results) -> None:
    found = {(c.other, c.test_set, c.group, c.metric): c for c in results.comparisons}
    one = found["other", "inserted", "all", "pixel_ap"]
    assert one.seeds == 2 and one.low > 0 and one.verdict == "better" and one.p_value < 0.05
    ours, theirs = (results.estimates[name, "inserted", "all", "pixel_ap"] for name in ("ours", "other"))
    assert one.difference == pytest.approx(np.mean(ours.values[1:]) - np.mean(theirs.values[:2]))
    assert found["weights", "inserted", "all", "pixel_ap"].seeds == 3  # one file of weights stands beside every seed
    identity = found["unchanged", "inserted", "all", "identity"]  # y' = z adds up; ours is noisy: lower is better
    assert identity.difference > 0 and identity.verdict == "worse"
    assert {c.ours for c in results.comparisons} == {"ours"}


def test_systems_without_a_common_seed_are_not_compared() -> None:
    test_sets = {"inserted": make_test_set()}
    cells = {
        seed: {"inserted": measure(test_sets["inserted"], perfect(test_sets["inserted"])).metrics} for seed in (0, 1)
    }
    pair = [Judged("ours", "", "", {0: cells[0]}), Judged("other", "", "", {1: cells[1]})]
    assert collect(pair, test_sets, ["ours"], 20).comparisons == []


def test_the_best_is_a_system_and_not_a_reference(results: Results) -> None:
    assert results.best("inserted", "all", "pixel_ap") == "ours"
    assert results.best("inserted", "all", "identity") == "ours"  # the unchanged radiograph has 0, and is none
    assert results.best("inserted", "all", "no_such_metric") is None


@pytest.mark.parametrize(
    ("metric", "value", "other", "better"),
    [
        ("pixel_ap", 0.5, 0.4, True),
        ("kid", 0.5, 0.4, False),
        ("sharpness", 0.9, 1.3, True),
        ("sharpness", 2, 1, False),
        ("probe_auc", 0.55, 0.3, True),
    ],
)
def test_which_value_is_better(metric: str, value: float, other: float, better: bool) -> None:
    assert is_better(metric, value, other) is better
