from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike
from sklearn import metrics as reference

from monai_dgm.metrics.classification import (
    METRICS,
    ONE_CLASS,
    auc,
    average_precision,
    balanced_threshold,
    classification_metric_set,
    classification_rows,
    undefined_reason,
)
from monai_dgm.metrics.intervals import patient_weights
from monai_dgm.metrics.metric_sets import metric_values


def classes(size: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = (rng.random(size) < 0.4).astype(int)
    return labels, 1 / (1 + np.exp(-(rng.normal(size=size) + 1.5 * labels - 0.5)))


def metrics_of(labels: ArrayLike, scores: ArrayLike, threshold: float, positive: Any = "abnormal") -> dict[str, float]:
    return metric_values(classification_metric_set(labels, scores, threshold, positive), len(np.asarray(labels)))


def test_balanced_threshold_minimises_the_gap_of_sensitivity_and_specificity() -> None:
    labels, scores = classes()

    def gap(threshold: float) -> float:
        return abs((scores[labels == 1] >= threshold).mean() - (scores[labels == 0] < threshold).mean())

    assert gap(balanced_threshold(labels, scores)) == pytest.approx(min(gap(score) for score in scores))


def test_threshold_separates_separable_classes() -> None:
    labels, scores = [0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9]
    threshold = balanced_threshold(labels, scores)
    assert 0.2 < threshold <= 0.7
    assert set(metrics_of(labels, scores, threshold).values()) == {1}


def test_threshold_of_another_set_is_applied_as_it_is() -> None:
    metrics = metrics_of([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9], threshold=0.5)
    assert metrics["sensitivity"] == metrics["specificity"] == metrics["precision"] == 0.5


def test_normal_as_positive_class_swaps_sensitivity_and_specificity_and_keeps_auc() -> None:
    labels, scores = classes()
    threshold = balanced_threshold(labels, scores)
    ours, papers = (metrics_of(labels, scores, threshold, positive) for positive in ("abnormal", "normal"))
    assert papers["auc"] == pytest.approx(ours["auc"])
    assert (papers["sensitivity"], papers["specificity"]) == (ours["specificity"], ours["sensitivity"])
    assert papers["precision"] != pytest.approx(ours["precision"])


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1], []])
def test_one_class_gives_nan_with_the_reason(labels: list[int]) -> None:
    scores = [0.1, 0.5, 0.9][: len(labels)]
    rows = classification_rows(labels, scores, ["patient"] * len(labels), 0.5)
    assert tuple(row.name for row in rows) == METRICS
    assert all(np.isnan(row.value) and row.note == ONE_CLASS and row.num_images == len(labels) for row in rows)
    assert np.isnan([auc(labels, scores), average_precision(labels, scores), balanced_threshold(labels, scores)]).all()


def test_scores_that_are_not_finite_give_nan_with_the_reason() -> None:
    assert "finite" in undefined_reason([0, 1], [np.nan, 0.3])
    assert np.isnan(auc([0, 1], [np.nan, 0.3]))


def test_equal_scores_do_not_crash() -> None:
    metrics = metrics_of([0, 1, 0, 1], [0.5] * 4, balanced_threshold([0, 1, 0, 1], [0.5] * 4))
    assert (metrics["auc"], metrics["sensitivity"], metrics["specificity"]) == (0.5, 1, 0)


def random_cases(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Labels and scores of 2 to 40 images, both classes present; most cases have equal scores."""
    rng = np.random.default_rng(0)
    cases = []
    for _ in range(count):
        size = rng.integers(2, 41)
        labels = rng.permutation(np.r_[0, 1, rng.integers(0, 2, size - 2)])
        steps = rng.choice([2, 5, 20, 10**6])
        cases.append((labels, np.round((rng.random(size) + 0.3 * labels) / 1.3 * steps) / steps))
    return cases


def brute_force_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """The paper's rule, written out: every score is tried."""
    best = (np.inf, 0.0, 0.0)
    for threshold in sorted(set(scores), reverse=True):
        sensitivity = (scores[labels == 1] >= threshold).mean()
        specificity = (scores[labels == 0] < threshold).mean()
        best = min(best, (round(abs(sensitivity - specificity), 12), -(sensitivity + specificity), threshold))
    return float(best[2])


def test_threshold_rule_is_the_brute_force_one_in_random_cases() -> None:
    for labels, scores in random_cases(500):
        found, expected = balanced_threshold(labels, scores), brute_force_threshold(labels, scores)
        if found != expected:  # another threshold may be as good
            one, other = (
                sorted(metrics_of(labels, scores, level)[name] for name in ("sensitivity", "specificity"))
                for level in (found, expected)
            )
            assert one == pytest.approx(other)


def test_auc_and_average_precision_are_scikit_learns_in_random_cases() -> None:
    for labels, scores in random_cases(300):
        values = metrics_of(labels, scores, 0.5)
        assert values["auc"] == pytest.approx(reference.roc_auc_score(labels, scores))
        assert values["average_precision"] == pytest.approx(reference.average_precision_score(labels, scores))


@pytest.mark.parametrize("positive_class", ["abnormal", "normal"])
def test_figures_are_scikit_learns_in_random_cases(positive_class: str) -> None:
    for labels, scores in random_cases(50):
        ours = metrics_of(labels, scores, 0.5, positive_class)
        truth, ranked, called = labels, scores, (scores >= 0.5).astype(int)
        if positive_class == "normal":
            truth, ranked, called = 1 - labels, -scores, 1 - called
        expected = {
            "auc": reference.roc_auc_score(truth, ranked),
            "average_precision": reference.average_precision_score(truth, ranked),
            "sensitivity": reference.recall_score(truth, called),
            "specificity": reference.recall_score(1 - truth, 1 - called),
            "precision": reference.precision_score(truth, called) if called.any() else np.nan,
            "f1": reference.f1_score(truth, called),
        }
        assert tuple(ours) == METRICS
        assert ours == pytest.approx(expected, nan_ok=True)


def test_a_weight_is_that_many_copies_of_the_image() -> None:
    labels, scores = classes(60)
    weights = patient_weights([i // 2 for i in range(60)], 20)
    samples = classification_metric_set(labels, scores, 0.4, "normal")(weights)
    for b, row in enumerate(weights):
        copies = np.repeat(np.arange(60), row.astype(int))
        expected = metrics_of(labels[copies], scores[copies], 0.4, "normal")
        assert {name: samples[name][b] for name in METRICS} == pytest.approx(expected)


def test_probabilities_near_0_and_1_keep_their_order_for_the_normal_class() -> None:
    metrics = metrics_of([0, 1, 0, 1], [1e-20, 2e-20, 1e-21, 3e-20], 0.5, "normal")
    assert metrics["auc"] == metrics["average_precision"] == 1


def test_rows_have_intervals_by_patient_around_the_values() -> None:
    labels, scores = classes()
    patients = [f"p{i // 4}" for i in range(len(labels))]
    rows = classification_rows(labels, scores, patients, 0.4, num_bootstrap=200, group="nih")
    assert {row.name: row.value for row in rows} == metrics_of(labels, scores, 0.4)
    for row in rows:
        assert row.low < row.value < row.high and row.std > 0
        assert (row.group, row.num_images, row.num_patients, row.note) == ("nih", 400, 100, "")
    assert rows == classification_rows(labels, scores, patients, 0.4, num_bootstrap=200, group="nih")


def test_figure_sets_refuse_what_cannot_be_ranked() -> None:
    with pytest.raises(ValueError, match="finite"):
        classification_metric_set([0, 1], [0.5, np.nan], 0.5)
    with pytest.raises(ValueError, match="0 or 1"):
        classification_metric_set([0, 2], [0.5, 0.5], 0.5)
    with pytest.raises(ValueError, match="0 or 1"):
        classification_metric_set([0, 1, 1], [0.5, 0.5], 0.5)
