import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from monai_dgm.metrics.intervals import (
    bootstrap_ranking,
    histogram_auc,
    histogram_average_precision,
    interval,
    patient_weights,
    pixel_histograms,
    weighted_mean,
    weighted_ratio,
)


def scored(seed: int, size: int = 200, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.random(size) < 0.3
    scores = rng.normal(size=size) + labels
    return (np.round(scores) if ties else scores), labels.astype(int)


def test_images_of_a_patient_are_drawn_together() -> None:
    patients = ["a", "b", "a", "c", "b", "a"]
    weights = patient_weights(patients, 200, seed=3)
    assert weights.shape == (200, 6)
    for name in set(patients):
        columns = [i for i, patient in enumerate(patients) if patient == name]
        assert (weights[:, columns] == weights[:, columns[:1]]).all()
    firsts = weights[:, [0, 1, 3]]
    assert (firsts.sum(axis=1) == 3).all(), "as many patients as there are"
    assert firsts.mean() == pytest.approx(1, abs=0.1)


def test_same_seed_same_resamples() -> None:
    patients = list(range(30))
    np.testing.assert_array_equal(patient_weights(patients, 5, 1), patient_weights(patients, 5, 1))
    assert (patient_weights(patients, 5, 1) != patient_weights(patients, 5, 2)).any()
    assert patient_weights([], 5).shape == (5, 0)


def test_interval_of_known_samples() -> None:
    bounds = interval(np.linspace(0, 1, 1001))
    assert (bounds.low, bounds.high) == (pytest.approx(0.025), pytest.approx(0.975))
    assert bounds.std == pytest.approx(np.linspace(0, 1, 1001).std(ddof=1))


def test_interval_leaves_nan_out_and_needs_two() -> None:
    assert interval([1.0, np.nan, 2.0]).high <= 2
    assert np.isnan(interval([np.nan, 1.0]).low)
    assert np.isnan(interval([]).std)


def test_bootstrap_interval_of_a_mean_covers_as_the_normal_one_does() -> None:
    values = np.random.default_rng(0).normal(5, 2, 400)
    bounds = interval(weighted_mean(values, patient_weights(range(400), 2000)))
    error = values.std() / 20
    assert bounds.std == pytest.approx(error, rel=0.1)
    assert bounds.low == pytest.approx(values.mean() - 1.96 * error, abs=0.3 * error)


def test_weighted_mean_is_the_mean_of_the_repeated_values() -> None:
    values, weights = np.array([1.0, 4.0, 7.0]), np.array([[2, 0, 1], [0, 0, 0]])
    mean = weighted_mean(values, weights)
    assert mean[0] == pytest.approx(np.mean([1, 1, 7])) and np.isnan(mean[1])
    ratio = weighted_ratio(values, [1, 1, 2], weights)
    assert ratio[0] == pytest.approx(9 / 4) and np.isnan(ratio[1])


@pytest.mark.parametrize("ties", [False, True])
def test_ranking_of_a_resample_is_scikit_learns_on_the_repeated_images(ties: bool) -> None:
    scores, labels = scored(1, ties=ties)
    weights = patient_weights([f"p{i // 2}" for i in range(len(scores))], 70, seed=0)  # more than one chunk
    samples = bootstrap_ranking(scores, labels, weights)
    for b in (0, 1, 69):
        repeated = np.repeat(np.arange(len(scores)), weights[b].astype(int))
        assert samples.auc[b] == pytest.approx(roc_auc_score(labels[repeated], scores[repeated]))
        expected = average_precision_score(labels[repeated], scores[repeated])
        assert samples.average_precision[b] == pytest.approx(expected)


def test_ranking_without_one_class_or_without_images_is_nan() -> None:
    weights = patient_weights([1, 2, 3], 10)
    assert np.isnan(bootstrap_ranking([0.1, 0.2, 0.3], [0, 0, 0], weights).auc).all()
    assert np.isnan(bootstrap_ranking([], [], weights[:, :0]).auc).all()
    assert np.isnan(histogram_average_precision([0.0, 0.0], [1.0, 2.0]))
    assert histogram_auc([1.0, 0.0], [0.0, 1.0]) == 1.0


def residue_like(seed: int, count: int = 5, side: int = 48) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Scores that crowd near zero, with small lesions of differing strength."""
    rng = np.random.default_rng(seed)
    scores, masks = [], []
    for i in range(count):
        mask = np.zeros((side, side), dtype=bool)
        y, x = rng.integers(0, side - 10, 2)
        mask[y : y + 3 + i, x : x + 8] = True
        score = rng.exponential(0.003, mask.shape) ** 2 + mask * rng.exponential(1e-4 * (i + 1), mask.shape)
        scores.append(score.astype(np.float32))
        masks.append(mask)
    return scores, masks


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pooled_average_precision_from_histograms_is_scikit_learns(seed: int) -> None:
    scores, masks = residue_like(seed)
    histograms = pixel_histograms(scores, masks)
    exact = average_precision_score(np.concatenate(masks).ravel(), np.concatenate(scores).ravel())
    assert histograms.pooled_average_precision()[0] == pytest.approx(exact, abs=1e-3)
    for i, single in enumerate(histograms.image_average_precision()):
        assert single == pytest.approx(average_precision_score(masks[i].ravel(), scores[i].ravel()), abs=1e-2)


def test_pooled_average_precision_of_a_resample_is_scikit_learns_on_the_repeated_images() -> None:
    scores, masks = residue_like(4)
    histograms = pixel_histograms(scores, masks)
    weights = patient_weights(list("aabcd"), 3, seed=5)
    for found, row in zip(histograms.pooled_average_precision(weights), weights, strict=True):
        repeated = np.repeat(np.arange(len(scores)), row.astype(int))
        truth = np.concatenate([masks[i].ravel() for i in repeated])
        exact = average_precision_score(truth, np.concatenate([scores[i].ravel() for i in repeated]))
        assert found == pytest.approx(exact, abs=1e-3)


def test_binary_and_constant_scores_are_exact() -> None:
    _, masks = residue_like(0)
    lungs = [np.roll(mask, 2, axis=0).astype(np.float32) for mask in masks]
    exact = average_precision_score(np.concatenate(masks).ravel(), np.concatenate(lungs).ravel())
    assert pixel_histograms(lungs, masks).pooled_average_precision()[0] == pytest.approx(exact, abs=1e-9)
    blank = [np.zeros_like(score) for score in lungs]
    prevalence = np.mean(np.concatenate(masks))
    assert pixel_histograms(blank, masks).pooled_average_precision()[0] == pytest.approx(prevalence)
    assert np.isnan(pixel_histograms([], []).pooled_average_precision(np.zeros((4, 0)))).all()
