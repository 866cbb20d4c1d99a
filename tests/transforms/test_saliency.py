import warnings

import numpy as np
import pytest

from monai_dgm.transforms.saliency import (
    FULL_HEAT,
    RESIDUE_FLOOR,
    compute_saliency,
    saliency_to_boxes,
)

SIZE = 64


def residue_with_spots() -> np.ndarray:
    """Faint noise, a strong spot in the lungs, one that straddles the lung box and one far outside it."""
    residue = np.random.default_rng(0).normal(0, 0.01, (SIZE, SIZE)).astype(np.float32)
    residue[20:30, 24:36] += 0.4
    residue[8:14, 40:48] += 0.4
    residue[56:62, 2:8] += 0.4
    return residue


LUNG_BOX = np.array([10, 12, 54, 50], dtype=np.float32)


def test_only_components_that_overlap_the_lung_box_are_kept() -> None:
    saliency = compute_saliency(residue_with_spots(), LUNG_BOX)
    assert saliency.mask[25, 30]
    assert saliency.mask[9, 44], "a component that overlaps the box keeps its part outside"
    assert not saliency.mask[58, 5]
    assert saliency.lung_box_source == "given"


def test_without_a_lung_box_the_whole_image_counts_and_is_named() -> None:
    saliency = compute_saliency(residue_with_spots())
    assert saliency.mask[58, 5]
    assert saliency.lung_box_source == "whole_image"
    assert saliency.lung_box.tolist() == [0, 0, SIZE, SIZE]


def test_lung_mask_gives_its_bounding_box_and_an_empty_one_is_no_lung_mask() -> None:
    lungs = np.zeros((SIZE, SIZE), dtype=bool)
    lungs[12:50, 10:25] = lungs[12:50, 40:54] = True
    saliency = compute_saliency(residue_with_spots(), lung_mask=lungs)
    assert saliency.lung_box_source == "lung_mask"
    np.testing.assert_array_equal(saliency.lung_box, LUNG_BOX)
    assert compute_saliency(residue_with_spots(), lung_mask=lungs * 0).lung_box_source == "whole_image"


@pytest.mark.parametrize("threshold", ["otsu", "li", "quantile"])
@pytest.mark.parametrize("noise", [0.0, 0.01, 0.02])
def test_blank_residue_has_an_empty_mask(threshold: str, noise: float) -> None:
    residue = np.random.default_rng(1).normal(0, noise, (SIZE, SIZE)).astype(np.float32)
    saliency = compute_saliency(residue, threshold=threshold)
    assert not saliency.mask.any() and not saliency.heat.any()
    assert saliency.threshold >= RESIDUE_FLOOR


def test_both_signs_of_the_residue_count_alike() -> None:
    residue = residue_with_spots()
    ours, mirrored = compute_saliency(residue, LUNG_BOX), compute_saliency(-residue, LUNG_BOX)
    np.testing.assert_array_equal(ours.mask, mirrored.mask)
    np.testing.assert_array_equal(ours.heat, mirrored.heat)


def test_heat_lies_in_the_mask_and_grows_with_the_residue_up_to_one() -> None:
    residue = residue_with_spots()
    weak, strong = compute_saliency(0.4 * residue, LUNG_BOX), compute_saliency(residue, LUNG_BOX)
    for saliency in (weak, strong):
        assert saliency.heat.dtype == np.float32
        assert saliency.heat.min() >= 0 and saliency.heat.max() <= 1
        assert not saliency.heat[~saliency.mask].any()
    assert weak.heat[25, 30] < strong.heat[25, 30]
    assert strong.heat[25, 30] == pytest.approx(1.0)
    flat = np.full((SIZE, SIZE), FULL_HEAT / 2, dtype=np.float32)
    assert compute_saliency(flat, threshold=0.01).heat == pytest.approx(0.5)


def test_a_marker_outside_the_lungs_does_not_set_the_threshold() -> None:
    residue = residue_with_spots()
    residue[56:62, 2:8] += 1.5
    assert compute_saliency(residue, LUNG_BOX).mask[25, 30]


def test_li_keeps_the_faint_part_of_a_lesion_that_otsu_drops() -> None:
    residue = np.zeros((SIZE, SIZE), dtype=np.float32)
    residue[20:40, 10:20], residue[20:40, 20:40] = 0.6, 0.2
    assert not compute_saliency(residue, threshold="otsu").mask[30, 35]
    assert compute_saliency(residue, threshold="li").mask[30, 35]


def test_a_fixed_threshold_is_taken_as_it_is() -> None:
    residue = np.full((SIZE, SIZE), 0.02, dtype=np.float32)
    assert compute_saliency(residue, threshold=0.01).mask.all()
    assert compute_saliency(residue, threshold=0.01).threshold == 0.01


@pytest.mark.parametrize(
    ("residue", "options", "message"),
    [
        (np.zeros((1, 8, 8)), {}, r"\(S, S\)"),
        (np.full((8, 8), np.nan), {}, "finite"),
        (np.ones((8, 8)), {"threshold": "adaptive"}, "'otsu', 'li', 'quantile' or a number"),
        (np.ones((8, 8)), {"lung_mask": np.ones((4, 4))}, "lung_mask"),
        (np.ones((8, 8)), {"lung_box": [4, 4, 2, 8]}, "no area"),
    ],
)
def test_bad_input_is_refused(residue: np.ndarray, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compute_saliency(residue, **options)


def test_boxes_surround_components_strongest_first() -> None:
    residue = residue_with_spots()
    residue[20:30, 24:36] -= 0.2
    saliency = compute_saliency(residue, LUNG_BOX, threshold=0.1, sigma=0)
    boxes, scores = saliency_to_boxes(saliency.mask, saliency.heat)
    np.testing.assert_array_equal(boxes, [[40, 8, 48, 14], [24, 20, 36, 30]])
    assert scores[0] > scores[1] > 0 and scores[0] <= 1


def test_specks_give_no_box_and_an_empty_mask_shape_0_4() -> None:
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    boxes, scores = saliency_to_boxes(mask, mask)
    assert boxes.shape == (0, 4) and scores.shape == (0,)
    mask[5, 5] = True
    assert len(saliency_to_boxes(mask, mask)[0]) == 0
    assert len(saliency_to_boxes(mask, mask, min_area=1)[0]) == 1


@pytest.mark.parametrize("rule", ["otsu", "li", "quantile"])
def test_blank_residue_but_for_its_last_digit_has_the_floor_as_threshold_without_a_warning(rule: str) -> None:
    residue = np.full((64, 64), 9.1433525e-05, dtype=np.float32)
    residue[0, 0] = np.nextafter(residue[0, 0], np.float32(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        saliency = compute_saliency(residue, threshold=rule, sigma=0)
    assert saliency.threshold == RESIDUE_FLOOR and not saliency.mask.any()
