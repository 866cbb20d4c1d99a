"""What a run does first: seeds, tidying up, words; and how an error of the input reaches the user."""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from monai_dgm.data.sources import Splits
from monai_dgm.engines.files import input_items
from monai_dgm.engines.setup import (
    announce,
    mixed_precision,
    prepare_inference,
    prepare_run,
    report_input_errors_in_one_line,
    select_defaults,
)
from monai_dgm.errors import InputError, UsageError


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process gets its hook and its settings back."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", torch.backends.cudnn.deterministic)


def test_settings_for_the_sample_replace_those_for_real_data_where_no_folder_is_given(tmp_path: Path) -> None:
    real, sample = {"image_size": 224, "batch_size": 4}, tmp_path / "sample.json"
    sample.write_text('{"image_size": 64}')
    assert select_defaults(None, sample, real) == {"image_size": 64, "batch_size": 4}
    assert select_defaults(tmp_path, sample, real) == real
    for content, expected in (('{"width": 1}', "got width"), ("[1]", "got list"), ("{", "it cannot be read")):
        sample.write_text(content)
        with pytest.raises(InputError, match=expected):
            select_defaults(None, sample, real)
    with pytest.raises(InputError, match="give --bundle_root"):
        select_defaults(None, tmp_path / "missing.json", real)


def draw(seed: int, rank: int, folder: Path) -> tuple[float, float, float]:
    prepare_run(seed, folder, rank=rank)
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_seeds_all_three_generators_differently_in_each_process(tmp_path: Path) -> None:
    first = draw(0, 0, tmp_path)
    assert draw(0, 0, tmp_path) == first
    for seed, rank in ((0, 1), (1, 0), (1, 1)):
        assert not set(draw(seed, rank, tmp_path)) & set(first)


def test_clears_what_a_killed_run_left_half_written(tmp_path: Path) -> None:
    out, models = tmp_path / "out", tmp_path / "models"
    places = [out, out / "report", out / "tensorboard", models]
    for place in places:
        place.mkdir(parents=True)
        (place / ".partial-abc.pt").touch()
        (place / "model.pt").touch()
    prepare_run(0, out, models, rank=1)  # only the first process does it
    prepare_run(0, out)  # an evaluation may find them in use
    assert all((place / ".partial-abc.pt").exists() for place in places)
    prepare_run(0, out, models)
    assert [sorted(file.name for file in place.iterdir() if file.is_file()) for place in places] == [["model.pt"]] * 4


def test_makes_the_output_folder(tmp_path: Path) -> None:
    prepare_run(0, tmp_path / "a" / "b", tmp_path / "not there")
    assert (tmp_path / "a" / "b").is_dir() and not (tmp_path / "not there").exists()


def raised(function: Callable[[], object]) -> BaseException:
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def fail() -> None:
    raise InputError("a.png: expected a radiograph, got nothing")


def wrapped() -> None:
    try:
        fail()
    except InputError as error:
        raise RuntimeError("Failed to evaluate the configuration") from error


def within_another() -> None:
    try:
        wrapped()
    except RuntimeError:
        {}["raised while the other is handled"]


def in_a_configuration() -> None:
    parser = ConfigParser({"imports": ["$import json"], "data": "$@fail()", "fail": fail})
    parser.get_parsed_content("data")


@pytest.mark.parametrize("function", [fail, wrapped, within_another, in_a_configuration])
def test_an_input_error_is_one_line_however_deep_it_lies(
    function: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    error = raised(function)
    report_input_errors_in_one_line()
    sys.excepthook(type(error), error, error.__traceback__)
    captured = capsys.readouterr()
    assert captured.err == "error: a.png: expected a radiograph, got nothing\n" and not captured.out


def test_other_errors_keep_their_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    error = raised(lambda: {}["key"])
    report_input_errors_in_one_line()
    sys.excepthook(type(error), error, error.__traceback__)
    assert "Traceback" in capsys.readouterr().err


def test_announces_data_sizes_and_what_to_expect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    item = {"image": ""}
    splits = Splits([item] * 3, [item] * 2, [item], "the data of a test")
    announce(splits, {"image_size": 64}, tmp_path, on_sample=True)
    said = capsys.readouterr().out
    assert "the data of a test" in said and "3 to train on, 2 to validate, 1 to test" in said
    assert '{"image_size": 64}' in said and "made for 2 CPU cores" in said and "--dataset_dir" in said
    assert "not a medical device" in said and "Going on" not in said
    (tmp_path / "checkpoint.pt").touch()
    announce(splits, {}, tmp_path, on_sample=False)
    said = capsys.readouterr().out
    assert f"Going on from {tmp_path / 'checkpoint.pt'}" in said and "embedded sample" not in said


FOLD_0 = "the radiographs of a/manifest.csv, fold 0 as the test"


@pytest.mark.parametrize(
    ("data", "trained_on", "warned"),
    [
        ("the radiographs of a/manifest.csv, fold 1 as the test", FOLD_0, 1),
        ("the radiographs of a/manifest.csv, all images as the test", FOLD_0, 1),
        (f"{FOLD_0}, 9 with lung masks", FOLD_0, 0),
        ("the radiographs of b/manifest.csv, fold 1 as the test", FOLD_0, 0),
        ("the RSNA challenge, the paper's hold-out, split 3", "the RSNA challenge, the paper's hold-out, split 0", 0),
        ("the data of a test", None, 0),
    ],
)
def test_weights_that_may_have_seen_the_test_are_named(
    data: str, trained_on: str | None, warned: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    announce(Splits([], [], [{"image": ""}], data), {"trained_on": trained_on}, tmp_path)
    assert caplog.text.count("have seen test images, and the metrics are too good") == warned


def test_a_file_of_two_patients_in_two_splits_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 400, 400), np.uint8)
    for i, plane in enumerate(pixels):
        (tmp_path / f"{i}.raw").write_bytes(plane.tobytes())  # all of one size
    items = [{"image": str(tmp_path / f"{i}.raw"), "image_id": f"image {i}", "patient_id": str(i)} for i in range(6)]
    splits = Splits(items[:3], items[3:4], items[4:], "some")
    announce(splits, {}, tmp_path)
    assert not caplog.records and not (tmp_path / "cache").exists()  # no file was read wholly
    shutil.copyfile(tmp_path / "1.raw", tmp_path / "5.raw")
    shutil.copyfile(tmp_path / "4.raw", tmp_path / "3.raw")
    (tmp_path / "0.raw").write_bytes((tmp_path / "1.raw").read_bytes()[:-1] + b"\0")
    shutil.copyfile(tmp_path / "2.raw", tmp_path / "2 again.raw")
    splits.training.append({"image": str(tmp_path / "2 again.raw"), "image_id": "again", "patient_id": "2"})
    for _ in range(2):
        announce(splits, {}, tmp_path)
        (record,) = caplog.records
        assert "2 files are in two of" in record.message and "(the first as 'image 1' and 'image 5')" in record.message
        caplog.clear()


def test_inference_wants_something_to_decompose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match=r"dataset_dir: expected a radiograph or a folder of them"):
        input_items(None, tmp_path, (), "scores.json")
    prepare_inference(None, tmp_path)  # a configuration that is only loaded
    assert capsys.readouterr().out == ""
    prepare_inference(tmp_path / "a.png", tmp_path)
    assert "a.png" in capsys.readouterr().out


@pytest.mark.parametrize(("native", "expected"), [(True, torch.bfloat16), (False, None)])
def test_precision_of_a_training_is_that_of_its_device(
    native: bool, expected: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: native)
    assert mixed_precision("cuda:0") is mixed_precision(torch.device("cpu")) is expected
    assert mixed_precision("mps") is None
