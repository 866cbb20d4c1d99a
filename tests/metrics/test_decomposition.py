"""Figures of decompositions whose quality is known: the true one, none at all, and the two collapsed ones."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from monai_dgm.metrics.decomposition import (
    DecompositionResult,
    MetricRow,
    evaluate_decomposition,
)
from monai_dgm.metrics.prior_maps import fit_mean_box_prior

SIZE = 32


def radiograph(index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A patient's normal image, the opacity's mask, and the image with it."""
    rng = np.random.default_rng(index)
    normal = ndimage.gaussian_filter(rng.normal(size=(SIZE, SIZE)), 2) * 2
    normal = np.clip(normal, -0.5, 0.5).astype(np.float32)
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    if index % 2:
        y, x = rng.integers(4, 18, 2)
        mask[y : y + 9, x : x + 7] = True
    return normal, mask, normal + 0.4 * mask.astype(np.float32)


def record(index: int) -> DecompositionResult:
    """The true decomposition of patient ``index // 3``'s image."""
    normal, mask, image = radiograph(index)
    label = index % 2
    lungs = np.zeros((SIZE, SIZE), dtype=bool)
    lungs[3:29, 3:29] = True
    return DecompositionResult(
        image_id=f"image{index}",
        patient_id=f"patient{index // 3}",
        source=("nih", "shenzhen")[index % 5 == 0],
        label=label,
        category=("normal", "lung_opacity")[label],
        image=image,
        normal=normal,
        residue=image - normal,
        probability=0.2 + 0.6 * label,
        opacity_mask=mask,
        lung_mask=lungs if index % 4 else None,
        true_normal=normal,
    )


RECORDS = [record(i) for i in range(40)]


def metrics(records: list[DecompositionResult], **options: object) -> dict[str, MetricRow]:
    rows = evaluate_decomposition(records, num_bootstrap=100, groups={"all": lambda r: True}, **options)  # type: ignore[arg-type]
    return {row.name: row for row in rows}


def test_the_true_decomposition_is_perfect() -> None:
    found = metrics(RECORDS)
    for name in ("head_auc", "head_ap", "residue_auc", "residue_pixel_ap", "pointing_game", "lesion_error_reduction"):
        assert found[name].value == pytest.approx(1.0, abs=1e-3), name
    assert found["normal_ssim"].value == pytest.approx(1.0)
    assert found["normal_l1"].value == found["lesion_l1_normal"].value == found["outside_lesion_l1_normal"].value == 0
    assert found["sharpness_ratio"].value == pytest.approx(1.0)
    assert found["residue_mean_normal"].value == 0
    assert math.isnan(found["residue_ratio"].value) and found["residue_ratio"].note
    assert found["lesion_l1_image"].value == pytest.approx(0.4, abs=1e-6)


def test_taking_nothing_out_is_worth_nothing() -> None:
    found = metrics([replace(r, normal=r.image, residue=np.zeros_like(r.residue)) for r in RECORDS])
    marked = [r.opacity_mask for r in RECORDS if r.label]
    assert found["lesion_error_reduction"].value == pytest.approx(0.0)
    assert found["residue_auc"].value == 0.5
    assert found["residue_pixel_ap"].value == pytest.approx(np.mean(marked), abs=1e-6)
    assert found["pointing_game"].value == 0
    assert found["normal_std_ratio"].value == pytest.approx(1.0)


def test_one_normal_for_everybody_has_no_spread() -> None:
    mean = np.mean([r.true_normal for r in RECORDS], axis=0)
    found = metrics([replace(r, normal=mean, residue=r.image - mean) for r in RECORDS])
    assert found["normal_std_ratio"].value == pytest.approx(0.0, abs=1e-6)
    assert found["normal_std_ratio"].high == pytest.approx(0.0, abs=1e-6)
    assert found["normal_ssim"].value < 0.7


def test_a_blurred_normal_loses_sharpness_and_likeness() -> None:
    blurred = [ndimage.gaussian_filter(r.normal, 2) for r in RECORDS]
    found = metrics([replace(r, normal=b, residue=r.image - b) for r, b in zip(RECORDS, blurred, strict=True)])
    assert found["sharpness_ratio"].value < 0.5
    assert found["normal_ssim"].value < 0.95


def test_an_inverted_head_shows() -> None:
    found = metrics([replace(r, probability=1 - r.probability) for r in RECORDS])
    assert found["head_auc"].value == 0


def test_boxes_count_as_their_area_where_there_is_no_mask() -> None:
    boxed = []
    for r in RECORDS:
        rows, cols = np.nonzero(r.opacity_mask)
        box = [[cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]] if rows.size else np.zeros((0, 4))
        boxed.append(replace(r, opacity_mask=None, opacity_boxes=np.array(box, dtype=np.float32)))
    ours, theirs = metrics(boxed), metrics(RECORDS)
    assert ours.keys() == theirs.keys()
    assert ours["residue_pixel_ap"] == theirs["residue_pixel_ap"]
    assert ours["pointing_game"].num_images == 20


def test_baselines_stand_beside_on_the_images_they_exist_for() -> None:
    prior = fit_mean_box_prior([r.opacity_mask for r in RECORDS])
    found = metrics(RECORDS, mean_box_prior=prior, mean_lung_box=[3, 3, 29, 29])
    for baseline in ("lung_mask", "lung_box", "mean_lung_box", "mean_box_prior", "brightness"):
        row = found[f"residue_pixel_ap/baseline_{baseline}"]
        assert 0 < row.value < 0.9
        assert "residue on these images 1.000, above this in 100.0% of resamples" in row.note
        assert 0 <= found[f"pointing_game/baseline_{baseline}"].value <= 1
    assert found["residue_pixel_ap/baseline_lung_mask"].num_images == sum(
        bool(r.label and r.lung_mask is not None) for r in RECORDS
    )
    # A lung mask is a plateau: its pixel AP is the lesions' share of the lungs, and so is its chance of pointing right.
    share = np.mean([r.opacity_mask[3:29, 3:29].mean() for r in RECORDS if r.label])
    assert found["residue_pixel_ap/baseline_mean_lung_box"].value == pytest.approx(share, abs=0.02)


def test_groups_count_their_own_images_and_patients() -> None:
    rows = evaluate_decomposition(RECORDS, num_bootstrap=20)
    assert {row.group for row in rows} == {"all", "source:nih", "source:shenzhen"}
    for row in rows:
        if row.name == "head_auc":
            members = [r for r in RECORDS if row.group == "all" or row.group == f"source:{r.source}"]
            assert row.num_images == len(members)
            assert row.num_patients == len({r.patient_id for r in members})
    assert [row.value for row in rows if (row.group, row.name) == ("source:nih", "head_auc")] == [1.0]
    assert evaluate_decomposition(RECORDS, 5, groups={"none": lambda r: False}) == []


def test_intervals_hold_the_value_and_follow_the_seed() -> None:
    rng = np.random.default_rng(0)
    noisy = [replace(r, probability=float(np.clip(r.probability + rng.normal(0, 0.5), 0, 1))) for r in RECORDS]
    noisy = [replace(r, residue=r.residue + rng.normal(0, 0.3, r.residue.shape).astype(np.float32)) for r in noisy]
    found, again = metrics(noisy), metrics(noisy)
    assert found == again
    for name, row in found.items():
        if row.name != "normal_std_ratio":  # resamples repeat patients, which narrows spreads
            assert row.low <= row.value <= row.high, name
        assert row.std >= 0
    labels, scores = [r.label for r in noisy], [r.probability for r in noisy]
    assert found["head_auc"].value == pytest.approx(roc_auc_score(labels, scores))
    assert found["head_auc"].low < found["head_auc"].value < found["head_auc"].high
    assert found["residue_ratio"].value == pytest.approx(
        found["residue_mean_abnormal"].value / found["residue_mean_normal"].value
    )


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_only_is_nan_with_a_note_and_no_crash(label: int) -> None:
    found = metrics([r for r in RECORDS if r.label == label])
    assert math.isnan(found["head_auc"].value) and "one class" in found["head_auc"].note
    assert ("normal_ssim" in found) == (label == 0)
    assert "residue_ratio" not in found


def test_bare_records_have_the_figures_that_need_no_truth() -> None:
    bare = [replace(r, opacity_mask=None, lung_mask=None, true_normal=None) for r in RECORDS]
    found = metrics(bare)
    assert {"head_auc", "residue_auc", "normal_ssim", "normal_std_ratio"} <= found.keys()
    assert not {"residue_pixel_ap", "pointing_game", "lesion_error_reduction"} & found.keys()


def test_a_diverged_head_is_named() -> None:
    found = metrics([replace(RECORDS[0], probability=math.nan), *RECORDS[1:]])
    assert math.isnan(found["head_auc"].value) and "finite" in found["head_auc"].note


def test_a_diverged_network_gives_nan_and_no_crash() -> None:
    nan = np.full((SIZE, SIZE), np.nan, dtype=np.float32)
    found = metrics([replace(r, normal=nan, residue=nan, probability=math.nan) for r in RECORDS])
    for name, row in found.items():
        assert math.isnan(row.value) or name == "lesion_l1_image", name  # which is about the input
    assert "diverged" in found["residue_pixel_ap"].note


def test_single_and_no_records() -> None:
    assert evaluate_decomposition([], 10) == []
    assert math.isnan(metrics(RECORDS[:1])["head_auc"].value)


def test_planes_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="image1: expected normal of shape"):
        replace(RECORDS[1], normal=np.zeros((8, 8), dtype=np.float32))
    small = np.zeros((8, 8), dtype=np.float32)
    other = DecompositionResult("x", "x", "nih", 0, "normal", small, small, small, 0.5)
    with pytest.raises(ValueError, match="one shape"):
        evaluate_decomposition([*RECORDS, other], 5)
