import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from monai_dgm.metrics.comparison import auc_components, auc_covariance, delong_test
from monai_dgm.metrics.intervals import bootstrap_ranking, patient_weights


def two_tests(seed: int, size: int = 200, gain: float = 0.0, ties: bool = False) -> tuple[np.ndarray, ...]:
    """Labels and two correlated scores; the first is better by ``gain``."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(size) % 5 < 2).astype(int)
    shared = rng.normal(size=size) + labels
    first, second = (shared + rng.normal(0, 0.7, size) + extra * labels for extra in (gain, 0.0))
    return labels, *((np.round(s * 2) / 2 if ties else s) for s in (first, second))


def brute_force_covariance(labels: np.ndarray, scores: list[np.ndarray]) -> np.ndarray:
    """DeLong et al. (1988), equations 5 and 6, written out."""
    ten, one = [], []
    for score in scores:
        positive, negative = score[labels == 1][:, None], score[labels == 0][None]
        kernel = (positive > negative) + 0.5 * (positive == negative)
        ten.append(kernel.mean(axis=1))
        one.append(kernel.mean(axis=0))
    return np.cov(ten) / len(ten[0]) + np.cov(one) / len(one[0])


@pytest.mark.parametrize("ties", [False, True])
def test_components_average_to_the_auc_on_either_side(ties: bool) -> None:
    labels, score, _ = two_tests(0, ties=ties)
    components = auc_components(labels, score)
    area = roc_auc_score(labels, score)
    assert components[labels == 1].mean() == pytest.approx(area)
    assert components[labels == 0].mean() == pytest.approx(area)


@pytest.mark.parametrize("ties", [False, True])
def test_covariance_is_delongs(ties: bool) -> None:
    for seed in range(20):
        labels, *scores = two_tests(seed, size=37, ties=ties)
        areas, covariance = auc_covariance(labels, scores)
        np.testing.assert_allclose(covariance, brute_force_covariance(labels, scores), rtol=1e-10)
        np.testing.assert_allclose(areas, [roc_auc_score(labels, score) for score in scores])


def test_one_image_a_patient_changes_nothing() -> None:
    labels, first, second = two_tests(3, gain=0.4)
    names = [f"p{i}" for i in range(len(labels))]
    alone, named = delong_test(labels, first, second), delong_test(labels, first, second, names)
    assert named.standard_error == pytest.approx(alone.standard_error) and named.p_value == pytest.approx(alone.p_value)


def test_every_image_twice_is_no_news_when_patients_are_named() -> None:
    labels, first, second = two_tests(3, gain=0.4)
    alone = delong_test(labels, first, second)
    twice = [np.tile(array, 2) for array in (labels, first, second)]
    assert delong_test(*twice).standard_error < 0.8 * alone.standard_error
    patients = list(range(len(labels))) * 2
    assert delong_test(*twice, patients).standard_error == pytest.approx(alone.standard_error, rel=0.01)


def test_standard_error_is_that_of_the_bootstrap_over_patients() -> None:
    rng = np.random.default_rng(0)
    patients = np.arange(300) // 3
    labels = (np.random.default_rng(1).random(100) < 0.4)[patients].astype(int)
    labels[::50] = 1 - labels[::50]  # some patients with images of either class
    shared = labels + rng.normal(0, 0.5, 300)
    first, second = (shared + rng.normal(0, 0.8, 100)[patients] for _ in range(2))  # images of a patient are alike
    weights = patient_weights(patients.tolist(), 2000)
    differences = bootstrap_ranking(first, labels, weights).auc - bootstrap_ranking(second, labels, weights).auc
    found = delong_test(labels, first, second, patients.tolist())
    assert found.standard_error == pytest.approx(differences.std(), rel=0.08)
    assert delong_test(labels, first, second).standard_error < 0.7 * differences.std()


def test_equal_methods_are_called_different_in_one_of_twenty() -> None:
    p_values = [delong_test(*two_tests(seed, size=80)).p_value for seed in range(600)]
    assert 0.03 < np.mean(np.array(p_values) < 0.05) < 0.075
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.04)


def test_a_gain_is_found_and_turns_with_the_order() -> None:
    labels, first, second = two_tests(1, gain=0.8)
    there, back = delong_test(labels, first, second), delong_test(labels, second, first)
    assert there.p_value < 0.01 and 0 < there.low < there.difference < there.high
    assert there.difference == pytest.approx(roc_auc_score(labels, first) - roc_auc_score(labels, second))
    assert (back.difference, back.p_value, back.low) == pytest.approx((-there.difference, there.p_value, -there.high))


def test_the_same_scores_do_not_differ() -> None:
    labels, first, _ = two_tests(1)
    same = delong_test(labels, first, 3 * first + 1)
    assert (same.difference, same.p_value) == (0, 1)


def test_what_has_no_test_says_why() -> None:
    assert "one class" in delong_test([1, 1], [0, 1], [1, 0]).note
    assert "finite" in delong_test([0, 1], [0, np.nan], [1, 0]).note
    assert "fewer than two" in delong_test([0, 1, 1], [0, 1, 2], [1, 2, 0]).note
    perfect = delong_test([0, 0, 1, 1], [0, 1, 2, 3], [0, 0, 0, 0])
    assert perfect.difference == 0.5 and np.isnan(perfect.p_value) and "variance" in perfect.note
