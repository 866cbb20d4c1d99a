"""Scores of unlabelled images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from monai_dgm.errors import InputError
from monai_dgm.labelling.active_learning.image_scores import (
    binary_entropy,
    binary_margin,
    disagreement,
    score_image,
    suspicion,
    uncertainty,
)

BOXES = np.array([[10.0, 20, 60, 80], [110, 30, 170, 90]])


@pytest.mark.parametrize("measure", [binary_entropy, binary_margin])
def test_measures_are_1_at_a_half_0_at_certainty_and_symmetric(measure: Any) -> None:
    p = np.linspace(0, 1, 101)
    values = measure(p)
    np.testing.assert_allclose(values, values[::-1], atol=1e-12)
    assert values[50] == 1 and values[0] == values[-1] == 0
    assert (np.diff(values[:51]) > 0).all()
    for wrong in (-0.1, 1.1, math.nan):
        with pytest.raises(InputError, match=r"\[0, 1\]"):
            measure(wrong)


def test_uncertainty_is_that_of_the_least_sure_box_and_of_the_head() -> None:
    assert uncertainty([]) == 0 and uncertainty([1.0, 0.0]) == 0
    assert uncertainty([0.99, 0.5, 0.01]) == 1
    assert uncertainty([0.5], 1.0) == 0.5 and uncertainty([], 0.5) == 0.5
    assert uncertainty([0.9], measure="margin") == pytest.approx(0.2)
    with pytest.raises(InputError, match="measure"):
        uncertainty([0.5], measure="variance")


def test_suspicion_is_of_the_best_box_and_of_the_head() -> None:
    assert suspicion([]) == 0 and suspicion([0.2, 0.8, 0.5]) == 0.8
    assert suspicion([0.8], 0.4) == pytest.approx(0.6) and suspicion([], 0.4) == 0.2
    for wrong in (([1.1], None), ([0.5], -0.1)):
        with pytest.raises(InputError, match=r"\[0, 1\]"):
            suspicion(*wrong)


def test_disagreement_is_0_for_the_same_boxes_and_1_for_boxes_apart() -> None:
    assert disagreement(BOXES, BOXES[::-1]) == pytest.approx(0)
    assert disagreement([], []) == 0
    assert disagreement(BOXES, []) == disagreement([], BOXES) == 1
    assert disagreement(BOXES[:1], BOXES[1:]) == 1


def test_disagreement_is_one_less_the_iou_of_a_single_pair_and_symmetric() -> None:
    moved = BOXES[:1] + np.array([10, 0, 10, 0])
    assert disagreement(BOXES[:1], moved) == pytest.approx(1 - 40 / 60)
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = (np.sort(rng.uniform(0, 50, (rng.integers(1, 5), 2, 2)), axis=1).reshape(-1, 4) for _ in range(2))
        value = disagreement(a, b)
        assert 0 <= value <= 1
        assert value == pytest.approx(disagreement(b, a))
        assert value == pytest.approx(disagreement(a[::-1], b[::-1]))


def test_boxes_of_little_weight_disagree_little() -> None:
    unsure = disagreement(BOXES[:1], BOXES, detector_scores=[1.0, 0.1])
    assert 0 < unsure < disagreement(BOXES[:1], BOXES, detector_scores=[1.0, 0.9])
    assert disagreement([], BOXES, detector_scores=[0.0, 0.0]) == 0
    with pytest.raises(InputError, match="one weight per box"):
        disagreement(BOXES, BOXES, detector_scores=[0.5])


def test_an_image_has_all_scores_that_its_models_allow() -> None:
    weights, feature = np.array([0.9, 0.4]), np.ones(4, dtype=np.float32)
    full = score_image("a", "v1", (BOXES, weights), 0.3, (BOXES[:1], np.ones(1)), feature, "e1")
    assert (full.image_id, full.model_version, full.feature_version) == ("a", "v1", "e1") and full.features is feature
    assert full.suspicion == suspicion(weights, 0.3) and full.uncertainty == uncertainty(weights, 0.3)
    assert full.disagreement == disagreement(BOXES[:1], BOXES, [1.0], weights)
    alone = score_image("a", "v1", (BOXES, weights))
    assert alone.suspicion == 0.9 and alone.disagreement is None and alone.features is None
