import numpy as np
import pytest

from monai_dgm.metrics.localisation import pointing_hit, residue_score, smoothed_score

SIZE = 64


def area() -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[10:20, 30:50] = True
    return mask


def test_peak_inside_hits_and_outside_misses() -> None:
    score = np.random.default_rng(0).random((SIZE, SIZE)).astype(np.float32) * 0.1
    score[14:17, 39:42] = 1
    assert pointing_hit(score, area()) == 1
    assert pointing_hit(score.T, area()) == 0


def test_a_single_hot_pixel_does_not_outweigh_a_lesion() -> None:
    score = np.zeros((SIZE, SIZE), dtype=np.float32)
    score[12:18, 36:44] = 0.5
    score[50, 5] = 1
    assert pointing_hit(score, area()) == 1


def test_a_plateau_hits_by_its_share_and_a_blank_map_misses() -> None:
    assert pointing_hit(np.ones((SIZE, SIZE)), area()) == pytest.approx(area().mean())
    assert pointing_hit(np.zeros((SIZE, SIZE)), area()) == 0


def test_scores_ignore_the_sign_of_the_residue() -> None:
    residue = np.random.default_rng(0).normal(size=(SIZE, SIZE))
    np.testing.assert_array_equal(residue_score(residue), residue_score(-residue))
    assert smoothed_score(residue_score(residue)).std() < residue_score(residue).std()
