"""What the argument is made on."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from monai_dgm.data.sources import load_splits
from monai_dgm.errors import InputError
from monai_dgm.jobs.dataset_info import RSNA_DESCRIPTION, choose_folds, find_dataset_info
from monai_dgm.reproduction.presets import PRESETS

TOY = PRESETS["toy"]  # of the reproduction


def without_folds(sample: Path, target: Path) -> Path:
    """A copy of the sample's manifest without the column fold."""
    for name in ("images", "normals", "lung_masks", "opacity_masks"):
        shutil.copytree(sample / name, target / name)
    with open(sample / "manifest.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    names = [name for name in rows[0] if name != "fold"]
    with open(target / "manifest.csv", "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return target


def test_folds_of_a_manifest(sample_dir: Path, tmp_path: Path) -> None:
    dataset_info = find_dataset_info(sample_dir, tmp_path / "unused", TOY.data)
    assert dataset_info.folds == (0, 1, 2, 3, 4) and not dataset_info.is_rsna
    assert choose_folds(dataset_info, None, TOY.folds) == (0, 1)
    assert choose_folds(dataset_info, None, PRESETS["cpu"].folds) == (0, 1, 2, 3, 4)
    assert choose_folds(dataset_info, [3, 1], TOY.folds) == (1, 3)
    with pytest.raises(InputError, match="no fold 7"):
        choose_folds(dataset_info, [0, 7], TOY.folds)
    assert not (tmp_path / "unused").exists()


def test_a_manifest_without_folds_has_one(sample_dir: Path, tmp_path: Path) -> None:
    dataset_info = find_dataset_info(without_folds(sample_dir, tmp_path), tmp_path, TOY.data)
    assert dataset_info.folds == choose_folds(dataset_info, None, TOY.folds) == (0,)


def test_the_fingerprint_follows_the_manifest(sample_dir: Path, tmp_path: Path) -> None:
    other = find_dataset_info(without_folds(sample_dir, tmp_path), tmp_path, TOY.data)
    assert other.sha256 != find_dataset_info(sample_dir, tmp_path, TOY.data).sha256


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"manifest\.csv or the RSNA challenge"):
        find_dataset_info(tmp_path, tmp_path, TOY.data)


def test_the_challenge_is_known_by_its_files(tmp_path: Path) -> None:
    for name in ("stage_2_train_labels.csv", "stage_2_detailed_class_info.csv"):
        (tmp_path / name).write_text("patientId\n")
    dataset_info = find_dataset_info(tmp_path, tmp_path, TOY.data)
    assert dataset_info.is_rsna and dataset_info.folds == (0, 1, 2, 3, 4)


def test_splits_of_other_data_are_not_described_as_the_challenge(sample_dir: Path, tmp_path: Path) -> None:
    assert not load_splits(sample_dir, tmp_path).description.startswith(RSNA_DESCRIPTION)


def test_without_a_folder_it_is_the_embedded_sample(tmp_path: Path) -> None:
    small = {"sample_patients": 8, "sample_size": 32}
    found = find_dataset_info(None, tmp_path / "sample", small)
    assert found.dataset_dir is None and not found.is_rsna and "8 patients, no real data" in found.name
    assert (tmp_path / "sample" / "manifest.csv").is_file() and len(found.sha256) == 64


def test_a_challenge_without_its_second_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "stage_2_train_labels.csv").write_text("patientId\n")
    with pytest.raises(InputError, match=r"detailed_class_info\.csv: expected a file of the RSNA challenge"):
        find_dataset_info(tmp_path, tmp_path, TOY.data)
