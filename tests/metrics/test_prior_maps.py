from __future__ import annotations

import numpy as np
import pytest

from monai_dgm.metrics.case_results import DecompositionResult
from monai_dgm.metrics.decomposition import evaluate_decomposition
from monai_dgm.metrics.prior_maps import (
    MARGIN,
    LungAlignedPrior,
    brightness_score,
    fit_mean_box_prior,
    fit_mean_lung_box,
    lung_box_score,
    lung_mask_score,
)

SIDE = 96


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


def box_mask(xmin: int, ymin: int, xmax: int, ymax: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[ymin:ymax, xmin:xmax] = True
    return mask


def test_an_opacity_in_the_lower_left_of_the_lungs_is_expected_there_in_other_lungs() -> None:
    prior = LungAlignedPrior.fit([box_mask(10, 50, 30, 70)], [[10, 10, 70, 70]])
    placed = prior.place([40, 30, 80, 60], (SIDE, SIDE))  # lungs elsewhere, two thirds as wide and half as high
    expected = box_mask(40, 50, 53, 60)
    inside, outside = placed[expected].mean(), placed[~expected].mean()
    assert inside > 0.9 and outside < 0.01


def test_the_aligned_prior_is_the_share_of_opacities_that_cover_a_point() -> None:
    masks = [box_mask(20, 20, 40, 60), box_mask(20, 20, 40, 40), np.zeros((SIDE, SIDE), bool)]
    lungs = [[16, 16, 80, 80]] * 3
    placed = LungAlignedPrior.fit(masks, lungs).place(lungs[0], (SIDE, SIDE))
    assert placed[30, 30] == pytest.approx(1.0, abs=0.02)
    assert placed[50, 30] == pytest.approx(0.5, abs=0.02)
    assert placed[70, 70] == pytest.approx(0.0, abs=0.02)


def test_the_aligned_prior_is_zero_beyond_its_margin() -> None:
    prior = LungAlignedPrior(np.ones((64, 64), np.float32))
    placed = prior.place([40, 40, 60, 60], (SIDE, SIDE))
    reach = round(20 * MARGIN)
    assert placed[50, 50] == 1 and placed[50, 40 - reach + 1] == 1
    assert not placed[:, : 40 - reach - 1].any() and not placed[: 40 - reach - 1].any()


@pytest.mark.parametrize("masks", [[], [np.zeros((SIDE, SIDE), bool)]])
def test_the_aligned_prior_needs_an_opacity(masks: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="at least one opacity mask"):
        LungAlignedPrior.fit(masks, [[0, 0, 9, 9]] * len(masks))


def test_a_lung_box_needs_an_area() -> None:
    with pytest.raises(ValueError, match="lung_box"):
        LungAlignedPrior(np.ones((64, 64), np.float32)).place([5, 5, 5, 9], (SIDE, SIDE))


def results() -> list[DecompositionResult]:
    """Opacities in the lower half of lungs that lie differently; the residue marks them."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(12):
        left, top = rng.integers(0, 40, 2)
        box = np.array([left, top, left + 48, top + 48], np.float32)
        area = box_mask(left + 4, top + 30, left + 20, top + 46)
        image = rng.uniform(-1, 1, (SIDE, SIDE)).astype(np.float32)
        residue = (0.5 * area).astype(np.float32)
        known = {"opacity_mask": area, "lung_box": box}
        identity = (str(i), str(i), "a", 1, "lung_opacity")
        found.append(DecompositionResult(*identity, image, image - residue, residue, 0.9, **known))
    return found


def test_reports_have_the_paired_difference_to_the_aligned_prior() -> None:
    known = results()
    prior = LungAlignedPrior.fit([r.opacity_mask for r in known], [r.lung_box for r in known])  # type: ignore[misc]
    mean = np.mean([r.opacity_mask for r in known], axis=0)  # type: ignore[misc]
    rows = evaluate_decomposition(known, num_bootstrap=50, mean_box_prior=mean, aligned_prior=prior)
    metrics = {row.name: row for row in rows if row.group == "all"}
    aligned, plain = (metrics[f"residue_pixel_ap/baseline_{name}"] for name in ("lung_aligned_prior", "mean_box_prior"))
    assert aligned.value > plain.value + 0.3
    for name in ("lung_aligned_prior", "mean_box_prior"):
        above = metrics[f"residue_pixel_ap/above_{name}"]
        gap = metrics["residue_pixel_ap"].value - metrics[f"residue_pixel_ap/baseline_{name}"].value
        assert above.value == pytest.approx(gap) and above.low <= above.value <= above.high
    assert metrics["pointing_game/above_lung_aligned_prior"].value >= 0
