"""Where the data of a training comes from, and what a localisation must beat on it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.sources import Splits, fit_baselines, known_supervision, load_splits
from monai_dgm.errors import InputError, UsageError

ManifestWriter = Callable[..., Path]


def sides(splits: Splits) -> list[list[dict[str, Any]]]:
    return [splits.training, splits.validation, splits.test]


def assert_by_patient(splits: Splits) -> None:
    """Nobody is on two sides, and every side has somebody."""
    patients = [{item["patient_id"] for item in side} for side in sides(splits)]
    assert all(patients)
    assert len(set().union(*patients)) == sum(len(side) for side in patients)


def rows(count: int, **columns: Callable[[int], Any]) -> list[dict[str, Any]]:
    """Two images a patient."""
    return [
        {"image": f"{i}.png", "label": ("normal", "other_abnormal")[i % 2], "patient_id": i // 2}
        | {name: value(i) for name, value in columns.items()}
        for i in range(count)
    ]


def test_embedded_sample(sample_dir: Path) -> None:
    splits = load_splits(None, sample_dir, sample_patients=24, sample_size=64)
    assert_by_patient(splits)
    assert {item["fold"] for item in splits.test} == {0} and 0 not in {item["fold"] for item in splits.training}
    assert "simulated radiographs of 24 patients" in splits.description and "no real data" in splits.description
    assert all(Path(item["image"]).is_file() and item["normal"] for side in sides(splits) for item in side)


def test_sample_is_written_where_it_is_not(tmp_path: Path) -> None:
    splits = load_splits(None, tmp_path / "sample", sample_patients=6, sample_size=32)
    assert_by_patient(splits)
    assert (tmp_path / "sample" / "manifest.csv").is_file()


def test_folds_of_a_manifest(write_manifest: ManifestWriter, tmp_path: Path) -> None:
    folder = write_manifest(rows(20, fold=lambda i: i // 2 % 5))
    for fold in (0, 3):
        splits = load_splits(folder, tmp_path / "unused", fold=fold)
        assert_by_patient(splits)
        assert sum(map(len, sides(splits))) == 20
        assert {item["fold"] for item in splits.test} == {fold}
        assert fold not in {item["fold"] for item in splits.training + splits.validation}
        assert splits.description == f"the radiographs of {folder.name}/manifest.csv, fold {fold} as the test"
    with pytest.raises(InputError, match=r"expected images in the folds \[7\], the data has the folds"):
        load_splits(folder, tmp_path / "unused", fold=7)
    assert not (tmp_path / "unused").exists()


def test_a_manifest_without_folds_tests_on_a_fifth_of_the_patients(
    write_manifest: ManifestWriter, tmp_path: Path
) -> None:
    folder = write_manifest(rows(40))
    splits = load_splits(folder, tmp_path, seed=1)
    assert_by_patient(splits)
    assert len({item["patient_id"] for item in splits.test}) == 4
    assert splits.description.endswith("a fifth of the patients as the test")
    again, other = load_splits(folder, tmp_path, seed=1), load_splits(folder, tmp_path, seed=2)
    names = [[item["image_id"] for item in s.test] for s in (splits, again, other)]
    assert names[0] == names[1] != names[2]


def test_validation_is_the_share_asked_for_and_does_not_move_the_test(
    write_manifest: ManifestWriter, tmp_path: Path
) -> None:
    folder = write_manifest(rows(40, fold=lambda i: i // 2 % 5))
    few, many = (load_splits(folder, tmp_path, validation_fraction=share) for share in (0.125, 0.5))
    assert [len({item["patient_id"] for item in s.validation}) for s in (few, many)] == [2, 8]
    assert [item["image"] for item in few.test] == [item["image"] for item in many.test]


def test_one_patient_in_two_folds_is_refused(write_manifest: ManifestWriter, tmp_path: Path) -> None:
    folder = write_manifest(rows(12, fold=lambda i: i % 3))
    with pytest.raises(InputError, match="expected each patient in one part of a split"):
        load_splits(folder, tmp_path)


def test_rsna_challenge(tmp_path: Path) -> None:
    names = [f"p{i:03d}" for i in range(1060)]
    (tmp_path / "stage_2_train_images").mkdir()
    for name in names:
        (tmp_path / "stage_2_train_images" / f"{name}.dcm").touch()
    with open(tmp_path / "stage_2_train_labels.csv", "w", newline="") as stream:
        csv.writer(stream).writerows([["patientId", "x", "y", "width", "height", "Target"]])
        csv.writer(stream).writerows([[name, "", "", "", "", 0] for name in names])
    with open(tmp_path / "stage_2_detailed_class_info.csv", "w", newline="") as stream:
        csv.writer(stream).writerows([["patientId", "class"], *([name, "Normal"] for name in names)])
    splits = load_splits(tmp_path, tmp_path / "unused", fold=1, validation_fraction=0.5)
    assert_by_patient(splits)
    assert [len(side) for side in sides(splits)] == [57, 3, 1000]  # 95 / 5 whatever validation_fraction is
    assert {item["patient_id"] for item in splits.test} == set(names[60:])
    assert splits.description == "the RSNA challenge, the paper's hold-out, split 1"
    other = load_splits(tmp_path, tmp_path / "unused", fold=2)
    assert [item["image"] for item in other.test] == [item["image"] for item in splits.test]
    assert [item["image"] for item in other.validation] != [item["image"] for item in splits.validation]


def test_no_folder_and_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a folder with a manifest.csv or the RSNA challenge, there is no"):
        load_splits(tmp_path / "nowhere", tmp_path)
    with pytest.raises(InputError, match=r"manifest.csv: expected a CSV manifest"):
        load_splits(tmp_path, tmp_path)


def test_real_folder(real_data: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="upright_ok"):
        splits = load_splits(real_data / "cxr", tmp_path, fold=0)
    assert_by_patient(splits)
    assert {item["fold"] for item in splits.test} == {0}
    assert any(len(item["opacity_boxes"]) for item in splits.test)


def test_baselines_are_fitted_on_what_is_known(sample_dir: Path, tmp_path: Path) -> None:
    training = load_splits(None, sample_dir, sample_patients=24, sample_size=64).training
    dataset = RadiographDataset(training, 32, tmp_path)
    baselines = fit_baselines(dataset)
    masks = [dataset.truth(i)["opacity_mask"] for i in range(len(dataset))]
    mean = np.mean([mask for mask in masks if mask.any()], axis=0)
    assert baselines.mean_box_prior is not None and baselines.mean_lung_box is not None
    assert baselines.mean_box_prior.shape == (32, 32)
    assert np.corrcoef(baselines.mean_box_prior.ravel(), mean.ravel())[0, 1] > 0.9
    left, top, right, bottom = baselines.mean_lung_box
    assert 0 <= left < 16 < right <= 32 and 0 <= top < 16 < bottom <= 32


def test_baselines_that_nobody_knows_are_none_and_the_limit_bounds_the_reading(
    sample_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = load_splits(None, sample_dir, sample_patients=24, sample_size=64).training
    bare = [{name: item[name] for name in ("image", "image_id", "patient_id", "label")} for item in training]
    baselines = fit_baselines(RadiographDataset(bare, 32, tmp_path))
    assert baselines.mean_box_prior is None and baselines.mean_lung_box is None
    dataset, read = RadiographDataset(training, 32, tmp_path), []
    truth = dataset.truth
    monkeypatch.setattr(dataset, "truth", lambda index: read.append(index) or truth(index))
    assert fit_baselines(dataset, limit=2).mean_box_prior is not None
    assert len(read) < len(training)


def own_manifest(folder: Path, rows: list[str], name: str = "manifest.csv") -> Path:
    for row in rows[1:]:
        (folder / row.split(",")[0]).touch()
    (folder / name).write_text("\n".join(rows))
    return folder / name


def test_a_manifest_of_test_images_only(tmp_path: Path) -> None:
    """External validation: every image is a test image, asked for or because there is but one fold."""
    plain = own_manifest(tmp_path, ["image,label,patient_id", "a.png,normal,p", "b.png,lung_opacity,p"], "own.csv")
    splits = load_splits(plain, tmp_path, fold="all")
    assert (splits.training, splits.validation, len(splits.test)) == ([], [], 2) and splits.is_external
    own_manifest(tmp_path, ["image,label,fold", "a.png,normal,3", "b.png,lung_opacity,3"])
    for fold in (0, 3):
        assert load_splits(tmp_path, tmp_path, fold=fold).is_external
        assert "all images as the test" in load_splits(tmp_path, tmp_path, fold=fold).description


def test_a_fold_that_is_none(tmp_path: Path) -> None:
    for fold in ("every", 1.5, True):
        with pytest.raises(UsageError, match='expected a whole number or "all"'):
            load_splits(None, tmp_path, fold=fold)


def test_supervision_is_by_boxes_where_a_training_image_has_some() -> None:
    boxed, plain = {"opacity_boxes": np.zeros((1, 4))}, {"opacity_boxes": np.zeros((0, 4))}
    assert known_supervision(Splits([plain, boxed], [], [], "x")) == "boxes"
    assert known_supervision(Splits([plain, {}, {"opacity_boxes": None}], [boxed], [boxed], "x")) == "labels"
    assert known_supervision(Splits([boxed], [], [], "x"), on_sample=True) == "labels"
