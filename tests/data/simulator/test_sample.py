"""The sample on disk: complete or absent, the same again, and true to what was simulated."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monai_dgm.data.simulator import sample, simulate_radiograph, write_sample
from monai_dgm.errors import InputError

COUNT, SIZE = 12, 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("parent") / "sample", COUNT, SIZE, seed=3, workers=1)


def _rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "manifest.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_manifest(folder: Path) -> None:
    rows = _rows(folder)
    assert tuple(rows[0]) == sample.MANIFEST_COLUMNS
    assert len(rows) == COUNT + round(sample.SECOND_STUDY_SHARE * COUNT)
    assert sum(row["label"] != "normal" for row in rows) == len(rows) // 2
    assert len({row["image"] for row in rows}) == len(rows)
    for row in rows:
        assert row["label"] in ("normal", "lung_opacity", "other_abnormal") and row["source"] == "simulated"
        assert bool(row["opacity_boxes"]) == (row["label"] == "lung_opacity")
        for column in ("image", "normal", "opacity_mask", "lung_mask"):
            with Image.open(folder / row[column]) as picture:
                assert picture.size == (SIZE, SIZE)
        for xmin, ymin, xmax, ymax in json.loads(row["opacity_boxes"] or "[]"):
            assert 0 <= xmin < xmax <= SIZE and 0 <= ymin < ymax <= SIZE


def test_folds_are_by_patient(folder: Path) -> None:
    rows = _rows(folder)
    folds = {row["patient_id"]: row["fold"] for row in rows}
    assert all(folds[row["patient_id"]] == row["fold"] for row in rows)
    assert set(folds.values()) == {str(k) for k in range(sample.NUM_FOLDS)} and len(folds) == COUNT


def test_files_hold_what_was_simulated(folder: Path) -> None:
    row = next(row for row in _rows(folder) if row["label"] == "lung_opacity")
    patient, study = (int(part) for part in Path(row["image"]).stem.split("_")[1:])
    truth = simulate_radiograph(3 * 1_000_000 + patient, SIZE, True, study)
    image, normal = (
        np.asarray(Image.open(folder / row[name])).astype(float) / 32767.5 - 1 for name in ("image", "normal")
    )
    mask = np.asarray(Image.open(folder / row["opacity_mask"])) > 0
    assert np.abs(image - truth.image).max() <= 0.51 / 32767.5
    assert np.abs(image - normal - truth.residue).max() <= 1.01 / 32767.5
    assert np.array_equal(image != normal, mask) and np.array_equal(mask, truth.opacity_mask)
    assert np.allclose(json.loads(row["opacity_boxes"]), truth.opacity_boxes)


def test_second_call_rewrites_nothing(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert write_sample(folder, COUNT, SIZE, seed=3) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_same_bytes_whatever_the_workers(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "_POOL_FROM", 1)
    assert _files(write_sample(tmp_path / "again", COUNT, SIZE, seed=3, workers=2)) == _files(folder)


def test_other_settings_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="size 64 instead of 96"):
        write_sample(folder, COUNT, 96, seed=3)


def test_foreign_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="settings.json"):
        write_sample(tmp_path, 2, 32)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    "arguments",
    [{"num_patients": 0}, {"size": 16}, {"seed": -1}, {"abnormal_fraction": 1.5}],
    ids=lambda a: next(iter(a)),
)
def test_bad_arguments(tmp_path: Path, arguments: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(arguments))):
        write_sample(tmp_path / "sample", **arguments)  # type: ignore[arg-type]
    assert not any(tmp_path.iterdir())


def test_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sample, "_save", fail)
    with pytest.raises(OSError, match="No space"):
        write_sample(tmp_path / "sample", 2, 32, workers=1)
    assert not any(tmp_path.iterdir())


_SCRIPT = "import sys; from monai_dgm.data.simulator import write_sample; write_sample(sys.argv[1], 200, 64, workers=1)"


def test_killed_half_way_then_built_by_two_at_once(tmp_path: Path) -> None:
    target = tmp_path / "sample"
    killed = subprocess.Popen([sys.executable, "-c", _SCRIPT, str(target)])
    try:
        deadline = time.monotonic() + 20
        while not any(tmp_path.glob(".partial-*/images/*")) and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
    assert not target.exists() and any(tmp_path.glob(".partial-*"))
    short = _SCRIPT.replace("200", "6")
    builders = [subprocess.Popen([sys.executable, "-c", short, str(target)]) for _ in range(2)]
    assert [builder.wait(timeout=60) for builder in builders] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["sample"]
    assert len(_rows(target)) == 7
