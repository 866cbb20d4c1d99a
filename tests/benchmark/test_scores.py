"""Metrics of made-up predictions: the truth is perfect, the unchanged radiograph is not, and groups part the images."""

from __future__ import annotations

import numpy as np
import pytest

from monai_dgm.benchmark.judge import Prediction
from monai_dgm.benchmark.scores import groups_of, map_scores, measure
from monai_dgm.benchmark.test_sets import TestSet
from monai_dgm.metrics.metric_sets import metric_values
from tests.benchmark.conftest import make_test_set, nothing, perfect


def values(test_set: TestSet, prediction: Prediction) -> dict[str, float]:
    return metric_values(measure(test_set, prediction).metrics(np.arange(len(test_set))), len(test_set))


def test_the_truth_is_perfect(test_set: TestSet) -> None:
    found = values(test_set, perfect(test_set))
    for name in ("pixel_ap", "pointing", "residue_auc", "head_auc", "normal_ssim", "residue_correlation"):
        assert found[name] == pytest.approx(1, abs=2e-3), name
    for name in ("identity", "residue_error", "normal_error", "lesion_left", "outside_error"):
        assert found[name] == pytest.approx(0, abs=1e-6), name
    assert found["area_correlation"] > 0.8


def test_an_unchanged_radiograph_has_the_whole_lesion_left(test_set: TestSet) -> None:
    found = values(test_set, nothing(test_set))
    assert found["lesion_left"] == pytest.approx(1) and found["identity"] == 0 and found["outside_error"] == 0
    assert found["pointing"] == 0 and found["residue_correlation"] == 0 and found["residue_auc"] == 0.5
    assert found["residue_error"] == pytest.approx(np.abs(test_set.images - test_set.normals).mean(), rel=1e-5)
    assert "head_auc" not in found  # it gives no probability


def test_identity_is_what_the_parts_lack(test_set: TestSet) -> None:
    right = perfect(test_set)
    wrong = Prediction(right.normals - 0.25, right.residues, right.probabilities, right.features)
    assert values(test_set, wrong)["identity"] == pytest.approx(0.25, rel=1e-4)


def test_rounding_of_a_normal_image_is_no_residue_to_correlate_with(test_set: TestSet) -> None:
    rounded = test_set.normals + np.random.default_rng(0).uniform(0, 1e-5, test_set.normals.shape).astype(np.float32)
    almost = TestSet(**{**vars(test_set), "normals": np.where(test_set.areas, test_set.normals, rounded)})
    assert values(almost, perfect(test_set))["residue_correlation"] == pytest.approx(1, abs=1e-3)


def test_without_exact_truth_there_are_no_errors_of_it() -> None:
    test_set = make_test_set("real", exact=False)
    exact = make_test_set("real")
    found = values(test_set, perfect(exact))
    assert {"residue_error", "normal_error", "lesion_left", "residue_correlation"}.isdisjoint(found)
    assert found["pixel_ap"] == pytest.approx(1, abs=2e-3)


def test_some_images_have_their_own_metrics(test_set: TestSet) -> None:
    right, index = perfect(test_set), np.arange(len(test_set) // 2)
    mixed = nothing(test_set)
    mixed.residues[index] = right.residues[index]
    scores = measure(test_set, mixed)
    assert metric_values(scores.metrics(index), len(index))["pointing"] == 1
    rest = np.arange(len(test_set) // 2, len(test_set))
    assert metric_values(scores.metrics(rest), len(rest))["pointing"] == 0


def test_a_prior_that_is_the_area_is_perfect_and_a_reversed_one_is_not(test_set: TestSet) -> None:
    everyone = np.arange(len(test_set))
    right = map_scores(test_set, lambda i: test_set.areas[i].astype(np.float32))
    wrong = map_scores(test_set, lambda i: 1 - test_set.areas[i].astype(np.float32))
    assert metric_values(right.metrics(everyone), len(test_set))["pixel_ap"] == pytest.approx(1)
    assert metric_values(wrong.metrics(everyone), len(test_set))["pixel_ap"] < 0.1
    assert set(metric_values(right.metrics(everyone), len(test_set))) == {"pixel_ap", "pointing", "area_correlation"}


def test_groups_part_inserted_opacities_by_source_kind_size_density_and_place() -> None:
    whole = make_test_set(count=60)
    marked = whole.labels == 1
    test_set = TestSet(**{name: v if name == "name" else v[marked] for name, v in vars(whole).items()})
    groups = groups_of(test_set)
    assert list(groups["all"]) == list(range(30))
    for kind in ("source", "kind", "size", "density", "place"):
        parts = [index for name, index in groups.items() if name.startswith(f"{kind}: ")]
        assert len(parts) > 1 and sorted(np.concatenate(parts).tolist()) == list(range(30)), kind
    area = test_set.areas.sum(axis=(1, 2))
    assert area[groups["size: small"]].max() <= area[groups["size: large"]].min()


def test_real_images_are_parted_by_source_only() -> None:
    assert list(groups_of(make_test_set("real"))) == ["all", "source: a", "source: b"]
