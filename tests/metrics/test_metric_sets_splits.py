import math

import numpy as np
import pytest

from monai_dgm.metrics.classification import auc, classification_metric_set
from monai_dgm.metrics.comparison import paired_differences
from monai_dgm.metrics.intervals import weighted_mean
from monai_dgm.metrics.metric_sets import (
    MetricSet,
    Weights,
    mean_and_sd,
    mean_over_splits,
    metric_values,
    summarise_splits,
)


def means_of(values: np.ndarray) -> MetricSet:
    def metrics(weights: Weights) -> dict[str, np.ndarray]:
        return {"mean": weighted_mean(values, weights)}

    return metrics


def folds(count: int = 5, size: int = 60) -> list[tuple[np.ndarray, np.ndarray, list[str]]]:
    rng = np.random.default_rng(0)
    made = []
    for fold in range(count):
        labels = (np.arange(size) % 2).astype(int)
        made.append((labels, rng.normal(size=size) + labels + fold, [f"{fold}-{i // 2}" for i in range(size)]))
    return made


def test_mean_and_sd_are_numpys_with_one_degree_of_freedom_less() -> None:
    assert mean_and_sd([0.8, 0.9, 1.0]) == (pytest.approx(0.9), pytest.approx(0.1))
    assert mean_and_sd([0.8, math.nan, 1.0]) == (pytest.approx(0.9), pytest.approx(np.std([0.8, 1.0], ddof=1)))
    mean, sd = mean_and_sd([0.8])
    assert mean == 0.8 and math.isnan(sd)
    assert np.isnan(mean_and_sd([])).all()


def test_each_split_is_ranked_by_itself() -> None:
    made = folds()
    sets = [classification_metric_set(labels, scores, 0.0) for labels, scores, _ in made]
    found = summarise_splits(sets, [patients for *_, patients in made], 200)["auc"]
    each = [auc(labels, scores) for labels, scores, _ in made]
    assert found.values == pytest.approx(each) and found.mean == pytest.approx(np.mean(each))
    assert found.sd == pytest.approx(np.std(each, ddof=1))
    assert found.low < found.mean < found.high
    assert (found.num_images, found.num_patients, found.note) == (300, 150, "")
    together = auc(np.concatenate([f[0] for f in made]), np.concatenate([f[1] for f in made]))
    assert together < found.mean - 0.1, "scores of different networks do not compare"


def test_patients_who_are_in_every_test_set_are_drawn_for_all() -> None:
    values = np.random.default_rng(0).normal(size=100)
    patients = [f"p{i}" for i in range(100)]
    shared = summarise_splits([means_of(values)] * 5, [patients] * 5, 2000)["mean"]
    apart = [[f"{fold}-{patient}" for patient in patients] for fold in range(5)]
    own = summarise_splits([means_of(values)] * 5, apart, 2000)["mean"]
    assert (shared.num_patients, own.num_patients) == (100, 500) and shared.sd == own.sd == 0
    # five copies of one test set know no more than one; five test sets know sqrt(5) times as much
    assert (shared.high - shared.low) / (own.high - own.low) == pytest.approx(np.sqrt(5), rel=0.1)
    assert shared.high - shared.low == pytest.approx(2 * 1.96 * values.std() / 10, rel=0.1)


def test_a_split_without_the_figure_is_named() -> None:
    sets = [means_of(np.array([1.0, 2.0])), means_of(np.array([math.nan, 1.0])), means_of(np.array([3.0, 4.0]))]
    found = summarise_splits(sets, [["a", "b"], ["c", "d"], ["e", "f"]], 50)["mean"]
    assert found.mean == 2.5 and found.note == "undefined in 1 of 3 splits"
    assert math.isnan(found.values[1]) and math.isnan(found.low)


def test_pooled_splits_can_be_compared() -> None:
    made = folds()
    rng = np.random.default_rng(1)
    with_residue = [classification_metric_set(labels, scores + labels, 0.0) for labels, scores, _ in made]
    without = [
        classification_metric_set(labels, scores + rng.normal(0, 0.5, scores.size), 0.0) for labels, scores, _ in made
    ]
    sizes, patients = [60] * 5, [patient for *_, part in made for patient in part]
    pooled = [mean_over_splits(sets, sizes) for sets in (with_residue, without)]
    found = paired_differences(*pooled, patients, 300)["auc"]
    means = [np.mean([metric_values(metrics, 60)["auc"] for metrics in sets]) for sets in (with_residue, without)]
    assert found.difference == pytest.approx(means[0] - means[1]) and found.low > 0


def test_only_figures_of_all_splits_and_as_many_patients_as_splits() -> None:
    def other(weights: Weights) -> dict[str, np.ndarray]:
        return {"other": np.zeros(len(weights))}

    assert summarise_splits([means_of(np.ones(2)), other], [["a", "b"], ["c"]], 5) == {}
    with pytest.raises(ValueError, match="expected one per split"):
        summarise_splits([other], [])
    with pytest.raises(ValueError, match="expected one per split"):
        summarise_splits([], [])
