"""The one manifest: chosen sources, all of the test fold, the same choice whatever the order."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from monai_dgm.benchmark.benchmark_data import choose_sources
from monai_dgm.data.manifest import load_manifest
from monai_dgm.errors import InputError


def rows_of(folder: Path) -> list[dict[str, str]]:
    with open(folder / "manifest.csv", newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def folder(sample_dir: Path, tmp_path: Path) -> Path:
    """The sample with two sources."""
    target = tmp_path / "all"
    target.mkdir()
    for name in ("images", "normals", "lung_masks", "opacity_masks"):
        (target / name).symlink_to(sample_dir / name)
    rows = rows_of(sample_dir)
    for i, row in enumerate(rows):
        row["source"] = "first" if i % 3 else "second"
    with open(target / "manifest.csv", "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return target


def test_the_chosen_sources_only(folder: Path, tmp_path: Path) -> None:
    chosen = choose_sources(folder, ["first"], tmp_path / "some")
    assert chosen == tmp_path / "some"
    assert {item["source"] for item in load_manifest(chosen)} == {"first"}
    assert len(rows_of(chosen)) == sum(row["source"] == "first" for row in rows_of(folder))
    assert choose_sources(folder, ["first"], tmp_path / "some") == chosen  # and again


def test_fewer_training_images_and_all_test_images(folder: Path, tmp_path: Path) -> None:
    chosen = choose_sources(folder, None, tmp_path / "few", fold=0, train_images=1)
    assert chosen is not None
    kept, whole = rows_of(chosen), rows_of(folder)
    assert [r for r in kept if r["fold"] == "0"] == [r for r in whole if r["fold"] == "0"]
    kinds = [(r["source"], r["label"], bool(r["opacity_boxes"])) for r in kept if r["fold"] != "0"]
    assert kinds and len(kinds) == len(set(kinds)) < sum(r["fold"] != "0" for r in whole)


def test_nothing_to_choose_is_the_folder_itself(folder: Path, tmp_path: Path) -> None:
    assert choose_sources(folder, None, tmp_path / "x") == folder
    assert choose_sources(None, ["first"], tmp_path / "x") is None and not (tmp_path / "x").exists()


def test_sources_that_are_not_there_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected images of nobody"):
        choose_sources(folder, ["nobody"], tmp_path / "x")
