"""Distances, ranks and classifiers on features of known kind."""

from __future__ import annotations

import numpy as np
import pytest

from monai_dgm.benchmark.features import CODE
from monai_dgm.benchmark.judge import Prediction
from monai_dgm.benchmark.realism import (
    fit_probe,
    kernel_distance,
    matched_images,
    own_ranks,
    real_or_made,
    realism_metrics,
)
from monai_dgm.metrics.metric_sets import metric_values
from tests.benchmark.conftest import make_test_set


def ones(count: int, rows: int = 1) -> np.ndarray:
    return np.ones((rows, count))


def test_the_distance_is_the_unbiased_estimate_of_its_definition() -> None:
    rng = np.random.default_rng(0)
    real, made = rng.normal(size=(7, 5)), rng.normal(0.3, 1, (6, 5))

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / 5 + 1) ** 3)

    within = [
        np.mean([kernel(a, b) for i, a in enumerate(part) for j, b in enumerate(part) if i != j])
        for part in (real, made)
    ]
    across = np.mean([kernel(a, b) for a in real for b in made])
    expected = within[0] + within[1] - 2 * across
    assert kernel_distance(real, made, ones(7), ones(6))[0] == pytest.approx(expected)


def test_a_resample_that_leaves_images_out_is_the_distance_of_the_rest() -> None:
    rng = np.random.default_rng(1)
    real, made = rng.normal(size=(6, 4)), rng.normal(size=(5, 4))
    weights = np.array([[1, 1, 1, 1, 0, 0]], float)
    part = kernel_distance(real, made, weights, ones(5))
    assert part[0] == pytest.approx(kernel_distance(real[:4], made, ones(4), ones(5))[0])


def test_a_shift_is_seen_by_distance_and_classifier_and_no_shift_is_not() -> None:
    rng = np.random.default_rng(2)
    real, same, other = rng.normal(size=(3, 60, 8))
    patients = np.array([f"p{i}" for i in range(120)])
    assert kernel_distance(real, other + 1, ones(60), ones(60))[0] > 5 * abs(
        kernel_distance(real, same, ones(60), ones(60))[0]
    )
    labels = np.r_[np.zeros(60), np.ones(60)]
    told = [np.corrcoef(real_or_made(real, made, patients), labels)[0, 1] for made in (same, other + 1)]
    assert abs(told[0]) < 0.35 and told[1] > 0.7


def test_the_classifier_never_scores_a_patient_that_it_has_seen() -> None:
    """Both images of a patient are alike and of the same side: having seen one would give the other away."""
    features = np.random.default_rng(3).normal(size=(40, 200))
    twice = np.repeat(features, 2, axis=0)
    patients = np.repeat([f"p{i}" for i in range(40)], 2)
    scores = real_or_made(twice[:40], twice[40:], patients)
    labels = np.r_[np.zeros(40), np.ones(40)]
    assert np.corrcoef(scores, labels)[0, 1] < 0.3


def test_own_ranks() -> None:
    real = np.random.default_rng(4).normal(size=(10, 6))
    sources = np.array(["a"] * 5 + ["b"] * 5)
    assert own_ranks(real, real, sources).tolist() == [1] * 10
    swapped = real[[1, 0, *range(2, 10)]]
    assert own_ranks(swapped, real, sources)[:2].max() <= 0.5  # somebody else is the most alike
    assert own_ranks(swapped, real, np.array([str(i) for i in range(10)])).tolist() == [1] * 10  # alone in a source


def test_images_are_matched_by_source() -> None:
    test_set = make_test_set("real", count=20)
    normal, abnormal = matched_images(test_set)
    assert sorted(test_set.sources[normal]) == sorted(test_set.sources[abnormal])
    assert not test_set.labels[normal].any() and test_set.labels[abnormal].all()


def test_metrics_of_images_that_are_given_back() -> None:
    test_set = make_test_set("real", count=40)
    rng = np.random.default_rng(5)
    features = rng.normal(size=(40, CODE + 20)).astype(np.float32)
    features[:, 0] += 4 * test_set.labels
    probe = fit_probe(features, test_set.labels)
    unknown = np.full(40, np.nan, np.float32)
    same = Prediction(test_set.images, np.zeros_like(test_set.images), unknown, features)
    found = metric_values(realism_metrics(test_set, features, same, probe)[0], 40)
    assert found["own_rank"] == 1 and found["sharpness"] == pytest.approx(1) and found["probe_auc"] > 0.9
    flat = Prediction(0 * test_set.images, same.residues, unknown, features[::-1].copy())
    other = metric_values(realism_metrics(test_set, features, flat, None)[0], 40)
    assert other["sharpness"] == 0 and other["own_rank"] < 0.5 and "probe_auc" not in other


def test_without_features_there_is_the_sharpness_alone() -> None:
    test_set = make_test_set("real")
    empty = np.zeros((len(test_set), 0), np.float32)
    same = Prediction(test_set.images, test_set.images, empty[:, 0:0].sum(axis=1), empty)
    assert set(metric_values(realism_metrics(test_set, empty, same, None)[0], len(test_set))) == {"sharpness"}
