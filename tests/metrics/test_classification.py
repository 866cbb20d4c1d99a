import numpy as np
import pytest

from monai_dgm.metrics.classification import (
    ONE_CLASS,
    auc,
    average_precision,
    balanced_threshold,
    classification_figures,
    undefined_reason,
)


def classes(size: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = (rng.random(size) < 0.4).astype(int)
    return labels, 1 / (1 + np.exp(-(rng.normal(size=size) + 1.5 * labels - 0.5)))


def test_balanced_threshold_minimises_the_gap_of_sensitivity_and_specificity() -> None:
    labels, scores = classes()

    def gap(threshold: float) -> float:
        return abs((scores[labels == 1] >= threshold).mean() - (scores[labels == 0] < threshold).mean())

    assert gap(balanced_threshold(labels, scores)) == pytest.approx(min(gap(score) for score in scores))


def test_threshold_separates_separable_classes() -> None:
    figures = classification_figures([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9])
    assert 0.2 < figures.threshold <= 0.7
    assert figures.auc == figures.sensitivity == figures.specificity == figures.f1 == 1


def test_threshold_of_another_set_is_applied_as_it_is() -> None:
    figures = classification_figures([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9], threshold=0.5)
    assert figures.sensitivity == figures.specificity == figures.precision == 0.5
    assert figures.threshold == 0.5


def test_normal_as_positive_class_swaps_sensitivity_and_specificity_and_keeps_auc() -> None:
    labels, scores = classes()
    ours = classification_figures(labels, scores)
    papers = classification_figures(labels, scores, positive_class="normal")
    assert papers.auc == pytest.approx(ours.auc)
    assert (papers.sensitivity, papers.specificity) == (ours.specificity, ours.sensitivity)
    assert papers.precision != pytest.approx(ours.precision)


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1], []])
def test_one_class_gives_nan_with_the_reason(labels: list[int]) -> None:
    scores = [0.1, 0.5, 0.9][: len(labels)]
    figures = classification_figures(labels, scores)
    assert figures.note == ONE_CLASS
    assert np.isnan([figures.auc, figures.average_precision, figures.f1, figures.threshold]).all()
    assert np.isnan([auc(labels, scores), average_precision(labels, scores), balanced_threshold(labels, scores)]).all()


def test_scores_that_are_not_finite_give_nan_with_the_reason() -> None:
    assert "finite" in undefined_reason([0, 1], [np.nan, 0.3])
    assert np.isnan(auc([0, 1], [np.nan, 0.3]))


def test_equal_scores_do_not_crash() -> None:
    figures = classification_figures([0, 1, 0, 1], [0.5] * 4)
    assert figures.auc == 0.5 and figures.sensitivity == 1 and figures.specificity == 0
