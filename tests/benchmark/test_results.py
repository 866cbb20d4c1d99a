"""Estimates over seeds and patients, and paired differences."""

from __future__ import annotations

import math

import numpy as np
import pytest

from monai_dgm.benchmark.results import Judged, Results, collect, is_better
from monai_dgm.benchmark.scores import measure
from tests.benchmark.conftest import make_test_set, perfect


def test_an_estimate_is_the_mean_over_seeds_with_its_interval(results: Results) -> None:
    own = results.estimates["ours", "inserted", "all", "pixel_ap"]
    assert own.seeds == (0, 1, 2) and own.mean == pytest.approx(np.mean(own.values)) and own.sd > 0
    assert own.low <= own.mean <= own.high and own.num_images == 12 and own.num_patients == 12  # with an opacity
    assert results.estimates["ours", "inserted", "all", "identity"].num_images == 24
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
    cells = {seed: {"inserted": measure(test_sets["inserted"], perfect(test_sets["inserted"]))} for seed in (0, 1)}
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
