"""The simulated radiograph and its truth."""

from __future__ import annotations

import numpy as np
import pytest

from monai_dgm.data.simulator import simulate_radiograph
from monai_dgm.data.simulator.simulate import RESIDUE_THRESHOLD, SimulatedRadiograph, connected_opacities

SIZE = 128
SEEDS = range(20)


@pytest.fixture(scope="module")
def abnormal() -> list[SimulatedRadiograph]:
    return [simulate_radiograph(seed, SIZE, True) for seed in SEEDS]


@pytest.fixture(scope="module")
def normal() -> list[SimulatedRadiograph]:
    return [simulate_radiograph(seed, SIZE, False) for seed in SEEDS]


def _same(a: SimulatedRadiograph, b: SimulatedRadiograph) -> bool:
    arrays = ("image", "normal", "opacity_mask", "lung_mask", "opacity_boxes")
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in arrays) and a.findings == b.findings


def test_same_arguments_same_bits() -> None:
    assert _same(simulate_radiograph(11, SIZE, True), simulate_radiograph(11, SIZE, True))


def test_seeds_and_studies_differ() -> None:
    first = simulate_radiograph(11, SIZE, False)
    assert not np.array_equal(first.image, simulate_radiograph(12, SIZE, False).image)
    second = simulate_radiograph(11, SIZE, False, study=1)
    assert not np.array_equal(first.image, second.image)
    assert (first.sex, first.age, first.view) == (second.sex, second.age, second.view)


def test_shapes_types_and_range(abnormal: list[SimulatedRadiograph], normal: list[SimulatedRadiograph]) -> None:
    for shot in abnormal + normal:
        for array in (shot.image, shot.normal, shot.residue):
            assert array.shape == (SIZE, SIZE) and array.dtype == np.float32
        for picture in (shot.image, shot.normal):
            assert np.isfinite(picture).all() and picture.min() >= -1 and picture.max() <= 1
        for mask in (shot.opacity_mask, shot.lung_mask):
            assert mask.shape == (SIZE, SIZE) and mask.dtype == bool
        assert shot.opacity_boxes.dtype == np.float32 and shot.opacity_boxes.shape[1:] == (4,)
        assert shot.view in ("PA", "AP") and shot.sex in ("F", "M") and 18 <= shot.age <= 92


def test_normal_has_no_disease(normal: list[SimulatedRadiograph]) -> None:
    for shot in normal:
        assert np.array_equal(shot.image, shot.normal)
        assert not shot.opacity_mask.any() and len(shot.opacity_boxes) == 0
        assert (shot.category, shot.label, shot.findings) == ("normal", 0, ())


def test_true_normal_is_the_patient_without_disease(
    abnormal: list[SimulatedRadiograph], normal: list[SimulatedRadiograph]
) -> None:
    for ill, well in zip(abnormal, normal, strict=True):
        assert np.array_equal(ill.normal, well.image) and np.array_equal(ill.lung_mask, well.lung_mask)


def test_residue_lives_in_the_mask(abnormal: list[SimulatedRadiograph]) -> None:
    for shot in abnormal:
        assert shot.label == 1 and shot.findings
        assert not shot.residue[~shot.opacity_mask].any()
        assert np.abs(shot.residue[shot.opacity_mask]).min() > RESIDUE_THRESHOLD


def test_opacities_can_be_found(abnormal: list[SimulatedRadiograph]) -> None:
    strength = np.array([np.abs(shot.residue[shot.opacity_mask]).mean() for shot in abnormal])
    assert (strength > 0.07).all() and (strength < 0.8).all() and 0.1 < np.median(strength) < 0.5


def test_opacities_lie_at_the_lungs(abnormal: list[SimulatedRadiograph]) -> None:
    for shot in abnormal:
        rows, columns = np.nonzero(shot.lung_mask)
        share = shot.opacity_mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].sum()
        assert share >= 0.6 * shot.opacity_mask.sum()


def test_boxes_hold_the_mask_and_stay_inside(abnormal: list[SimulatedRadiograph]) -> None:
    for shot in abnormal:
        if shot.category != "lung_opacity":
            assert len(shot.opacity_boxes) == 0
            continue
        covered = np.zeros_like(shot.opacity_mask)
        for xmin, ymin, xmax, ymax in shot.opacity_boxes.astype(int):
            assert 0 <= xmin < xmax <= SIZE and 0 <= ymin < ymax <= SIZE
            assert shot.opacity_mask[ymin:ymax, xmin:xmax].any()
            covered[ymin:ymax, xmin:xmax] = True
        assert len(shot.opacity_boxes) > 0 and not (shot.opacity_mask & ~covered).any()


def test_both_categories_and_several_findings_occur() -> None:
    shots = [simulate_radiograph(seed, 64, True) for seed in range(36)]
    assert {shot.category for shot in shots} == {"lung_opacity", "other_abnormal"}
    assert len({name for shot in shots for name in shot.findings}) >= 7


def test_label_is_drawn_when_not_given() -> None:
    labels = [simulate_radiograph(seed, 64).label for seed in range(30)]
    assert 5 <= sum(labels) <= 25


def test_patients_vary(normal: list[SimulatedRadiograph]) -> None:
    images = np.stack([shot.image for shot in normal])
    assert images.std(axis=0).mean() > 0.15
    areas = [shot.lung_mask.mean() for shot in normal]
    assert min(areas) > 0.08 and max(areas) < 0.65 and np.std(areas) > 0.02


def test_lungs_are_dark_between_dense_tissue(normal: list[SimulatedRadiograph]) -> None:
    for shot in normal:
        columns = np.nonzero(shot.lung_mask.any(axis=0))[0]
        middle = int(columns.mean())
        rows = np.nonzero(shot.lung_mask.any(axis=1))[0]
        mediastinum = shot.image[rows.min() : rows.max(), middle - 4 : middle + 4].mean()
        assert shot.image[shot.lung_mask].mean() < mediastinum - 0.2


def test_heart_lies_to_the_right_of_the_image(normal: list[SimulatedRadiograph]) -> None:
    """The left lung (image right) gives way to the heart, so its field is the smaller one in most patients."""
    smaller = 0
    for shot in normal:
        gap = SIZE // 2 + np.argmin(shot.lung_mask.sum(axis=0)[SIZE // 2 - 20 : SIZE // 2 + 20]) - 20
        smaller += shot.lung_mask[:, gap:].sum() < shot.lung_mask[:, :gap].sum()
    assert smaller >= 0.7 * len(normal)


def test_specks_are_left_out() -> None:
    residue = np.zeros((100, 100), dtype=np.float32)
    residue[10:30, 20:50] = 0.3
    residue[80, 80] = 0.3
    mask, boxes = connected_opacities(residue)
    assert mask.sum() == 600 and boxes.tolist() == [[20, 10, 50, 30]]


def test_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 32"):
        simulate_radiograph(0, 16)
