import math
from collections.abc import Callable

import numpy as np
import pytest

from monai_dgm.metrics.classification import classification_metric_set
from monai_dgm.metrics.comparison import (
    bootstrap_p_value,
    delong_test,
    paired_differences,
)
from monai_dgm.metrics.detection import DetectionResult, detection_metric_set, match_detections
from monai_dgm.metrics.intervals import weighted_mean
from monai_dgm.metrics.metric_sets import MetricSet, Weights


def methods(seed: int, gain: float, size: int = 150) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    labels = (np.arange(size) % 3 == 0).astype(int)
    shared = rng.normal(size=size) + labels
    first, second = (1 / (1 + np.exp(-shared - rng.normal(0, 0.7, size) - extra * labels)) for extra in (gain, 0.0))
    return labels, first, second, [f"p{i}" for i in range(size)]


def test_auc_agrees_with_delong() -> None:
    labels, first, second, patients = methods(0, 0.5)
    sets = [classification_metric_set(labels, scores, 0.5) for scores in (first, second)]
    found, exact = paired_differences(*sets, patients)["auc"], delong_test(labels, first, second)
    assert found.difference == pytest.approx(exact.difference)
    assert found.std == pytest.approx(exact.standard_error, rel=0.1)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=0.3 * exact.standard_error)
    assert found.p_value == pytest.approx(exact.p_value, abs=0.02)


def test_every_figure_is_compared_and_turns_with_the_order() -> None:
    labels, first, second, patients = methods(1, 0.8)
    sets = [classification_metric_set(labels, scores, 0.5, "normal") for scores in (first, second)]
    there, back = paired_differences(*sets, patients), paired_differences(*reversed(sets), patients)
    assert list(there) == ["auc", "average_precision", "sensitivity", "specificity", "precision", "f1"]
    for name, found in there.items():
        assert found.difference == pytest.approx(found.first - found.second)
        assert (back[name].difference, back[name].low) == pytest.approx((-found.difference, -found.high))
        assert back[name].p_value == pytest.approx(found.p_value)
        assert (found.low > 0) <= (found.p_value < 0.06) and found.test == "paired bootstrap"
    assert there["auc"].p_value < 0.05 and there["auc"].low > 0


def scored(values: Callable[[Weights], np.ndarray]) -> MetricSet:
    """A metric set of one metric."""
    return lambda weights: {"score": values(weights)}


def test_pairing_takes_out_what_both_methods_share() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 5, 200)  # some images are hard for both

    def first(weights: Weights) -> np.ndarray:
        return weighted_mean(hard + 0.1, weights)

    def second(weights: Weights) -> np.ndarray:
        return weighted_mean(hard, weights)

    found = paired_differences(scored(first), scored(second), list(range(200)), 500)["score"]
    assert (found.low, found.high) == pytest.approx((0.1, 0.1)) and found.name == "score"
    assert found.p_value == pytest.approx(2 / 501), "never 0: there are only so many resamples"
    same = paired_differences(scored(first), scored(first), list(range(200)), 500)["score"]
    assert (same.difference, same.low, same.high, same.p_value) == (0, 0, 0, 1)


def test_equal_methods_are_seldom_called_different() -> None:
    p_values = []
    for seed in range(150):
        labels, first, second, patients = methods(seed, 0.0, size=90)
        sets = [classification_metric_set(labels, scores, 0.5) for scores in (first, second)]
        p_values.append(paired_differences(*sets, patients, num_bootstrap=200)["auc"].p_value)
    assert 0.0 < np.mean(np.array(p_values) < 0.05) < 0.11


def test_detectors_are_compared_in_the_same_resamples() -> None:
    rng = np.random.default_rng(0)
    good, poor = [], []
    for i in range(60):
        truth = np.array([[10, 10, 40, 40]], dtype=np.float32)[: i % 2]
        for records, noise in ((good, 1.0), (poor, 5.0)):
            boxes = np.concatenate([truth + rng.normal(0, noise, truth.shape), [[60, 60, 80, 80]]])
            scores = np.r_[np.full(len(truth), 0.6), rng.random()]
            records.append(DetectionResult(f"i{i}", f"p{i // 2}", boxes, scores, truth))
    sets = [detection_metric_set(match_detections(records)) for records in (good, poor)]
    found = paired_differences(*sets, [record.patient_id for record in good], num_bootstrap=300)
    assert found["ap"].difference > 0.1 and found["ap"].low > 0 and found["ap"].p_value < 0.02
    assert (found["ap"].num_images, found["ap"].num_patients) == (60, 30)
    assert found["precision"].note == "" and found["ap75"].first > found["ap75"].second


def test_undefined_figures_have_no_p_value() -> None:
    sets = [classification_metric_set([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4], level) for level in (0.2, 0.9)]
    found = paired_differences(*sets, list("abcd"), 100)["precision"]
    assert math.isnan(found.p_value) and math.isnan(found.low) and "undefined" in found.note


def test_p_value_and_interval_tell_the_same() -> None:
    differences = np.linspace(-0.1, 1, 1001)
    below = (differences <= 0).sum()
    assert bootstrap_p_value(differences) == pytest.approx(2 * (below + 1) / 1002)
    assert bootstrap_p_value(-differences) == bootstrap_p_value(differences)
    assert bootstrap_p_value([0.0, 0.0]) == 1 and math.isnan(bootstrap_p_value([math.nan]))
