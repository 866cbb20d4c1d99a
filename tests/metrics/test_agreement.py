"""Identity of residue and normal image, what was removed, and whether the residue grows with the opacity."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from monai_dgm.metrics.agreement import identity_error, removed_score, weighted_correlation
from monai_dgm.metrics.case_results import DecompositionResult, MetricRow
from monai_dgm.metrics.decomposition import evaluate_decomposition

SIDE = 64


def record(number: int, label: int, half: int) -> DecompositionResult:
    """A square opacity of side 2 ``half`` that a residue of twice the strength of its own area marks."""
    rng = np.random.default_rng(number)
    area = np.zeros((SIDE, SIDE), bool)
    area[32 - half : 32 + half, 32 - half : 32 + half] = bool(label)
    residue = np.where(area, 0.4, 0.0).astype(np.float32)
    image = rng.uniform(-0.5, 0.5, (SIDE, SIDE)).astype(np.float32)
    boxes = np.array([[32 - half, 32 - half, 32 + half, 32 + half]], np.float32) if label else None
    category = "lung_opacity" if label else "normal"
    return DecompositionResult(
        str(number), str(number), "a", label, category, image, image - residue, residue, 0.5, opacity_boxes=boxes
    )


def metrics(records: list[DecompositionResult]) -> dict[str, MetricRow]:
    return {row.name: row for row in evaluate_decomposition(records, num_bootstrap=20) if row.group == "all"}


def test_identity_error_is_what_is_missing_between_the_three() -> None:
    exact = record(0, 1, 6)
    assert identity_error(exact) == pytest.approx(0, abs=1e-7)
    half = replace(exact, residue=exact.residue / 2)
    assert identity_error(half) == pytest.approx(0.2 * 144 / SIDE**2, rel=1e-5)


def test_identity_is_a_figure_of_normals_and_of_abnormals() -> None:
    normals = [replace(record(i, 0, 4), normal=record(i, 0, 4).image + 0.03) for i in range(5)]
    found = metrics([*normals, *(record(10 + i, 1, 4) for i in range(5))])
    assert found["identity_error_normal"].value == pytest.approx(0.03, rel=1e-4)
    assert found["identity_error_abnormal"].value == pytest.approx(0, abs=1e-7)


def test_removed_is_what_the_normal_image_lacks_and_nothing_that_it_adds() -> None:
    one = record(0, 1, 8)
    assert removed_score(one)[32, 32] == pytest.approx(0.4, abs=0.01)
    assert removed_score(replace(one, normal=one.image + one.residue)).max() == pytest.approx(0, abs=1e-6)


def test_removed_has_its_own_figures() -> None:
    records = [replace(record(i, 1, 5), residue=np.roll(record(i, 1, 5).residue, 25)) for i in range(12)]
    found = metrics(records)  # the residue lies elsewhere, z - y' where it should
    assert found["pointing_game"].value == 0 and found["removed_pointing_game"].value == 1
    assert found["removed_pixel_ap"].value > 0.9 > 0.2 > found["residue_pixel_ap"].value


def test_a_residue_of_the_opacity_grows_with_its_area() -> None:
    records = [record(i, 1, 3 + i % 6) for i in range(18)]
    assert metrics(records)["residue_area_correlation"].value == pytest.approx(1, abs=1e-6)
    planes = [np.full((SIDE, SIDE), 0.1 + 0.01 * (i % 5), np.float32) for i in range(18)]
    lung_sized = [replace(one, residue=plane) for one, plane in zip(records, planes, strict=True)]
    assert abs(metrics(lung_sized)["residue_area_correlation"].value) < 0.5


def test_small_opacities_have_a_pointing_game_of_their_own() -> None:
    records = [record(i, 1, 3 + i % 3) for i in range(12)]
    missed = [replace(r, residue=np.roll(r.residue, 25)) if i % 3 == 0 else r for i, r in enumerate(records)]
    found = metrics(missed)
    assert found["pointing_game_smallest_third"].value == 0
    assert found["pointing_game"].value == pytest.approx(2 / 3)
    assert found["pointing_game_smallest_third"].num_images == 4


def test_correlation_is_pearsons_under_each_row_of_weights() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=30), rng.normal(size=30)
    weights = rng.integers(0, 3, (4, 30)).astype(np.float64)
    for row, found in zip(weights, weighted_correlation(x, y, weights), strict=True):
        index = np.repeat(np.arange(30), row.astype(int))
        assert found == pytest.approx(np.corrcoef(x[index], y[index])[0, 1], abs=1e-9)
