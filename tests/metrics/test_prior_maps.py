import numpy as np
import pytest

from monai_dgm.metrics.prior_maps import (
    brightness_score,
    fit_mean_box_prior,
    fit_mean_lung_box,
    lung_box_score,
    lung_mask_score,
)


def two_lungs() -> np.ndarray:
    mask = np.zeros((12, 16), dtype=bool)
    mask[2:10, 2:6] = mask[2:10, 9:14] = True
    return mask


def test_mean_box_prior_is_the_share_of_marked_masks() -> None:
    first, second = np.zeros((8, 8), dtype=bool), np.zeros((8, 8), dtype=bool)
    first[:4], second[:, :4] = True, True
    prior = fit_mean_box_prior([first, second, np.zeros((8, 8))])
    assert prior.dtype == np.float32
    assert (prior[0, 0], prior[0, 7], prior[7, 0], prior[7, 7]) == (1, 0.5, 0.5, 0)


def test_priors_need_something_marked_and_one_shape() -> None:
    with pytest.raises(ValueError, match="at least one opacity mask"):
        fit_mean_box_prior([np.zeros((4, 4))])
    with pytest.raises(ValueError, match="one shape"):
        fit_mean_box_prior([np.ones((4, 4)), np.ones((5, 5))])
    with pytest.raises(ValueError, match="at least one lung mask"):
        fit_mean_lung_box([])


def test_lung_box_contains_the_lungs_and_the_mediastinum_between() -> None:
    mask = two_lungs()
    box, lungs = lung_box_score(mask), lung_mask_score(mask)
    assert ((box - lungs) >= 0).all()
    assert box[5, 7] == 1 and lungs[5, 7] == 0
    assert box.sum() == 8 * 12
    assert not lung_box_score(np.zeros((4, 4))).any()


def test_mean_lung_box_is_the_median_box() -> None:
    mask = two_lungs()
    box = fit_mean_lung_box([mask, np.roll(mask, 1, axis=1), np.roll(mask, 2, axis=1), np.zeros_like(mask)])
    np.testing.assert_array_equal(box, [3, 2, 15, 10])


def test_brightness_is_the_image_in_the_unit_interval() -> None:
    np.testing.assert_allclose(brightness_score([[-1.0, 0.0, 1.0]]), [[0, 0.5, 1]])
