import numpy as np
import pytest

from monai_dgm.metrics.intervals import interval, patient_weights, weighted_mean
from monai_dgm.metrics.metric_sets import Weights, metric_rows, metric_values

VALUES = np.random.default_rng(0).normal(3, 1, 40)
PATIENTS = [f"p{i // 2}" for i in range(40)]


def means(weights: Weights) -> dict[str, np.ndarray]:
    return {"mean": weighted_mean(VALUES, weights), "undefined": np.full(len(weights), np.nan)}


def test_values_are_those_of_weights_of_one() -> None:
    values = metric_values(means, 40)
    assert values["mean"] == pytest.approx(VALUES.mean()) and np.isnan(values["undefined"])


def test_rows_carry_the_bootstrap_over_patients() -> None:
    first, second = metric_rows(means, PATIENTS, 300, seed=1, group="nih", notes={"undefined": "why"})
    bounds = interval(weighted_mean(VALUES, patient_weights(PATIENTS, 300, seed=1)))
    assert (first.low, first.high, first.std) == (bounds.low, bounds.high, bounds.std)
    assert (first.group, first.num_images, first.num_patients, first.note) == ("nih", 40, 20, "")
    assert np.isnan([second.value, second.low, second.high]).all() and second.note == "why"


def test_without_resamples_there_is_no_interval() -> None:
    row = metric_rows(means, PATIENTS, 0)[0]
    assert row.value == pytest.approx(VALUES.mean()) and np.isnan([row.low, row.high, row.std]).all()
