import math

import numpy as np
import pytest
from monai.metrics import compute_froc_curve_data

from monai_dgm.metrics.detection import FROC_RATES, froc_curve, score_for_rate, sensitivity_at
from monai_dgm.metrics.detection_matching import DetectionResult, MatchedDetections, match_detections

TRUTH = np.array([[0, 0, 10, 10], [20, 20, 30, 30]], dtype=np.float32)


def detector(num_images: int = 40, ties: bool = False, seed: int = 0) -> MatchedDetections:
    """Noisy detections of two true boxes on every second image."""
    rng = np.random.default_rng(seed)
    records = []
    for number in range(num_images):
        truth = TRUTH if number % 2 else TRUTH[:0]
        corner = rng.uniform(40, 80, (rng.integers(0, 12), 2))
        boxes = np.concatenate([truth + rng.uniform(0, 2, truth.shape), np.concatenate([corner, corner + 9], axis=1)])
        scores = rng.random(len(boxes)) + np.r_[np.full(len(truth), 0.3), np.zeros(len(corner))]
        records.append(
            DetectionResult(str(number), f"p{number // 3}", boxes, np.round(scores, 1 if ties else 9), truth)
        )
    return match_detections(records)


def brute_force(matched: MatchedDetections, weights: np.ndarray, rate: float) -> float:
    hits, each = matched.hits[0], weights[matched.image]
    best = 0.0
    for threshold in matched.scores:
        called = matched.scores >= threshold
        if (each * (called & ~hits)).sum() <= rate * weights.sum():
            best = max(best, float((each * (called & hits)).sum()))
    return best / float(weights @ matched.num_truth)


@pytest.mark.parametrize("ties", [False, True])
def test_sensitivity_at_a_rate_is_the_best_operating_point(ties: bool) -> None:
    matched = detector(ties=ties)
    weights = np.random.default_rng(1).integers(0, 3, (20, 40)).astype(np.float32)
    found = sensitivity_at(matched, weights, 0.4)
    expected = [[brute_force(matched, row, rate) for rate in FROC_RATES] for row in weights]
    np.testing.assert_allclose(found, expected)
    assert (np.diff(found, axis=1) >= 0).all()


@pytest.mark.parametrize("ties", [False, True])
def test_curve_is_monais(ties: bool) -> None:
    matched = detector(ties=ties)
    curve, hits = froc_curve(matched, 0.4), matched.hits[0]
    rates, sensitivity = compute_froc_curve_data(matched.scores[~hits], matched.scores[hits], 40, 40)
    # MONAI leaves out the lowest score, at which everything is called
    np.testing.assert_allclose(curve.false_positives[:-1], rates[::-1])
    np.testing.assert_allclose(curve.sensitivity[:-1], sensitivity[::-1])
    assert curve.false_positives[-1] == (~hits).sum() / 40 and curve.sensitivity[-1] == hits.sum() / 40


def test_curve_starts_with_nothing_and_rises() -> None:
    curve = froc_curve(detector(), 0.4)
    assert (curve.false_positives[0], curve.sensitivity[0], curve.threshold[0]) == (0, 0, math.inf)
    for values in (curve.false_positives, curve.sensitivity, -curve.threshold):
        assert (np.diff(values) >= 0).all()


def test_score_for_a_rate_keeps_to_it_and_no_lower_score_would() -> None:
    matched = detector(ties=True)
    for rate in (0.0, 0.25, 1.0, 100.0):
        score, wrong = score_for_rate(matched, rate, 0.4), matched.scores[~matched.hits[0]]
        assert (wrong >= score).sum() <= 40 * rate
        lower = matched.scores[matched.scores < score]
        assert not lower.size or (wrong >= lower.max()).sum() > 40 * rate


def test_nothing_detected_and_nothing_to_detect() -> None:
    silent = match_detections([DetectionResult("i", "p", TRUTH[:0], np.zeros(0), TRUTH)])
    once = np.ones((1, 1), dtype=np.float32)
    assert (sensitivity_at(silent, once, 0.4) == 0).all()
    assert score_for_rate(silent, 1.0, 0.4) == math.inf
    healthy = match_detections([DetectionResult("i", "p", TRUTH, np.array([0.5, 0.6]), TRUTH[:0])])
    assert np.isnan(sensitivity_at(healthy, once, 0.4)).all()
