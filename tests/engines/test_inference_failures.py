"""Inference on files and folders: what cannot be used is told, and costs nothing else."""

from __future__ import annotations

import errno
import logging
import time
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import torch
from torch import Tensor

from monai_dgm.engines.decomposition.outputs import write_decomposition
from monai_dgm.engines.file_run import SCORES_FILE
from monai_dgm.engines.pipeline import RadiographPipeline
from monai_dgm.errors import InputError
from monai_dgm.handlers.decomposition_saver import DecompositionSaver
from monai_dgm.readers.radiograph import Radiograph
from monai_dgm.readers.read import read_radiograph
from monai_dgm.transforms.load_radiograph import LoadRadiographd
from tests.engines.file_runs import decompose_files
from tests.engines.written_radiographs import (
    SIZE,
    BrightCorner,
    bright_finder,
    picture,
    read_scores,
    untrained,
    write_dicom,
    write_nifti,
    write_png,
)


def test_bad_files_are_listed_and_the_others_go_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "in"
    for name in ("good1.png", "sub/good2.png"):
        write_png(folder / name)
    bad = {
        "truncated.png": "expected a whole PNG image",
        "colour.png": "expected a greyscale image",
        "volume.nii": "expected one slice",
        "nan.nii.gz": "expected finite pixel values",
        "empty.png": "empty file",
        "text.dcm": "expected",
        "flat.png": "no contrast",
        "sub/no_pixels.dcm": "no Pixel Data",
    }
    whole = write_png(folder / "truncated.png").read_bytes()
    (folder / "truncated.png").write_bytes(whole[: len(whole) // 2])
    write_png(folder / "colour.png", np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8))
    nibabel.Nifti1Image(np.zeros((32, 32, 3), np.float32), np.eye(4)).to_filename(folder / "volume.nii")
    write_nifti(folder / "nan.nii.gz", np.where(picture() > 200, np.nan, picture()))
    (folder / "empty.png").touch()
    (folder / "text.dcm").write_text("this is no radiograph" * 50)
    write_png(folder / "flat.png", np.full((64, 64), 7, dtype=np.uint8))
    dataset = pydicom.dcmread(write_dicom(folder / "sub/no_pixels.dcm", picture()))
    del dataset.PixelData
    dataset.save_as(folder / "sub/no_pixels.dcm")
    with caplog.at_level(logging.INFO):
        report = decompose_files(folder, untrained(), tmp_path / "out", batch_size=3, panels=False)
    assert [entry["file"] for entry in report["images"]] == ["good1.png", "sub/good2.png"]
    assert {entry["file"] for entry in report["failed"]} == set(bad)
    for entry in report["failed"]:
        assert bad[entry["file"]] in entry["reason"] and "\n" not in entry["reason"], entry
        assert not (tmp_path / "out" / entry["image_id"]).exists()
    told = (tmp_path / "out" / SCORES_FILE).read_text() + caplog.text
    assert "Secret" not in told and "SECRET" not in told
    assert str(tmp_path) not in (tmp_path / "out" / SCORES_FILE).read_text()


def test_when_all_fail_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").touch()
    with pytest.raises(InputError, match=r"^a\.png: empty file[^\n]*$"):
        decompose_files(tmp_path / "in", untrained(), tmp_path / "out")
    (tmp_path / "in/b.png").touch()
    with pytest.raises(InputError, match=r"^none of 2 files could be decomposed; the first: a\.png: [^\n]*$"):
        decompose_files(tmp_path / "in", untrained(), tmp_path / "out")
    assert len(read_scores(tmp_path / "out")["failed"]) == 2


def test_what_is_no_radiograph_is_told_too(tmp_path: Path) -> None:
    write_png(tmp_path / "in/a.png")
    (tmp_path / "in/study.zip").write_bytes(b"PK\x03\x04" + bytes(40))
    report = decompose_files(tmp_path / "in", untrained(), tmp_path / "in/out", panels=False)
    assert report["left_out"] == [{"file": "study.zip", "reason": "a zip archive, expected its files unpacked"}]
    report = decompose_files(tmp_path / "in", untrained(), tmp_path / "in/out", panels=False)
    assert [entry["file"] for entry in report["left_out"]] == ["study.zip"]  # not what the first run wrote
    (tmp_path / "in/a.png").unlink()
    with pytest.raises(InputError, match="found none"):
        decompose_files(tmp_path / "in", untrained(), tmp_path / "in/out")
    told = read_scores(tmp_path / "in/out")
    assert told["images"] == [] and [entry["file"] for entry in told["left_out"]] == ["study.zip"]


@pytest.mark.parametrize("error", [RuntimeError("Doe^Jane"), MemoryError(), KeyError("Doe^Jane"), RecursionError()])
def test_any_exception_of_reading_is_that_file_s_one_line(tmp_path: Path, error: Exception) -> None:
    for name in ("a.png", "b.png", "c.png"):
        write_png(tmp_path / "in" / name)

    def read(path: str) -> Radiograph:
        if path.endswith("b.png"):
            raise error
        return read_radiograph(path)

    preprocessing = LoadRadiographd("image", SIZE, reader=read)
    report = decompose_files(tmp_path / "in", untrained(), tmp_path / "out", panels=False, preprocessing=preprocessing)
    assert [entry["image_id"] for entry in report["images"]] == ["a", "c"]
    (failed,) = report["failed"]
    assert failed["file"] == "b.png" and type(error).__name__ in failed["reason"] and "Doe" not in failed["reason"]


def test_any_exception_of_writing_is_that_file_s_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "b.png"):
        write_png(tmp_path / "in" / name)

    def write(folder: Path, *args: object) -> dict:
        if folder.name == "a":
            raise ArithmeticError("Doe^Jane")
        return write_decomposition(folder, *args)

    monkeypatch.setattr("monai_dgm.handlers.decomposition_saver.write_decomposition", write)
    report = decompose_files(tmp_path / "in", untrained(), tmp_path / "out", panels=False)
    assert [entry["image_id"] for entry in report["images"]] == ["b"]
    assert "ArithmeticError" in report["failed"][0]["reason"] and "Doe" not in report["failed"][0]["reason"]


def test_a_network_that_yields_nan_fails_the_image_alone(tmp_path: Path) -> None:
    class NanOnce(BrightCorner):
        def forward(self, image: Tensor) -> Tensor:
            prediction = super().forward(image)
            prediction[0] = torch.nan
            return prediction

    for name in ("a.png", "b.png"):
        write_png(tmp_path / "in" / name)
    report = decompose_files(tmp_path / "in", RadiographPipeline(NanOnce(), SIZE), tmp_path / "out", panels=False)
    assert [entry["image_id"] for entry in report["images"]] == ["b"]
    assert "finite values from the network" in report["failed"][0]["reason"]


def test_an_earlier_run_stays_whole_when_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_png(tmp_path / "in/a.png")
    decompose_files(tmp_path / "in", bright_finder(), tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}

    def full_disk(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(InputError, match=r"^\S*a: no space left, expected up to 20 MB[^\n]*$"):
        decompose_files(tmp_path / "in", bright_finder(64), tmp_path / "out")
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_a_target_that_is_a_file(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png")
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="out: expected a folder that can be written"):
        decompose_files(tmp_path / "a.png", untrained(), tmp_path / "out")


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "scores.json"])
def test_image_ids_that_no_folder_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="expected a name that a folder can have"):
        decompose_files([{"image": "a.png", "image_id": name}], untrained(), tmp_path / "out")


def test_image_ids_that_come_twice(tmp_path: Path) -> None:
    twice = [{"image": "a.png", "image_id": "A"}, {"image": "b.png", "image_id": "a"}]
    with pytest.raises(InputError, match="'a': expected different ones"):
        decompose_files(twice, untrained(), tmp_path / "out")


def test_nothing_to_decompose(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one radiograph"):
        decompose_files([], untrained(), tmp_path / "out")
    with pytest.raises(InputError, match="no such file or folder"):
        decompose_files(tmp_path / "nowhere", untrained(), tmp_path / "out")


def test_a_reading_that_ends_early_is_an_error_and_no_shorter_list(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write_png(tmp_path / "in" / name)
    files = DecompositionSaver.list_files(tmp_path / "in", tmp_path / "out")
    saver = DecompositionSaver(files, untrained(), panels=False)
    with pytest.raises(InputError, match="expected results of 2 radiographs, got 0"):
        saver.save_all([])


def test_results_are_listed_in_the_order_of_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{i:02d}" for i in range(24)]
    for name in names:
        write_png(tmp_path / "in" / f"{name}.png")

    def write(folder: Path, *args: object) -> dict:
        time.sleep(0.05 if folder.name in ("00", "07") else 0)
        return write_decomposition(folder, *args)

    monkeypatch.setattr("monai_dgm.handlers.decomposition_saver.write_decomposition", write)
    report = decompose_files(tmp_path / "in", untrained(), tmp_path / "out", panels=False, outputs="scores")
    assert [entry["image_id"] for entry in report["images"]] == names
    assert [path.name for path in (tmp_path / "out").iterdir()] == [SCORES_FILE]
