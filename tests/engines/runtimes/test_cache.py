"""Exports are made once, again where they are stale or damaged, and are never half there."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch

from monai_dgm.engines.runtimes.cache import NOTE, cached_export
from monai_dgm.engines.runtimes.networks import exported_decomposer
from monai_dgm.engines.weights import load_residue_system, save_weights
from monai_dgm.errors import InputError

RUNTIME = "onnxruntime"  # the faster one to export


@pytest.fixture
def file(models: dict[str, Path], tmp_path: Path) -> Path:
    pytest.importorskip("onnxruntime")
    return make(models["decomposer"], tmp_path)


def make(weights: Path, folder: Path) -> Path:
    return cached_export("decomposer", weights, RUNTIME, load_residue_system(weights), folder / "cache")


def test_an_export_is_made_once(file: Path, models: dict[str, Path], tmp_path: Path) -> None:
    before = file.stat().st_mtime_ns
    assert make(models["decomposer"], tmp_path) == file and file.stat().st_mtime_ns == before
    assert json.loads((file.parent / NOTE).read_text())["files"].keys() == {file.name}


@pytest.mark.parametrize("damage", ["cut", "changed", "no note", "note of another"])
def test_a_damaged_export_is_made_again(
    file: Path, damage: str, models: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content, note = file.read_bytes(), file.parent / NOTE
    if damage == "cut":
        file.write_bytes(content[:1000])
    elif damage == "changed":
        file.write_bytes(content[:-100] + bytes(100))
    elif damage == "no note":
        note.unlink()
    else:
        note.write_text(note.read_text().replace('"decomposer"', '"detector"'))
    assert make(models["decomposer"], tmp_path) == file
    assert len(file.read_bytes()) == len(content) and note.is_file()
    assert damage == "none" or "made again" in caplog.text


def test_other_weights_give_another_export(file: Path, models: dict[str, Path], tmp_path: Path) -> None:
    other = tmp_path / "model.safetensors"
    network = load_residue_system(models["decomposer"])
    with torch.no_grad():
        network.normal_decoder.output.bias.add_(0.1)  # type: ignore[union-attr, operator]
    save_weights(network.state_dict(), other)
    other.with_suffix(".json").write_text(models["decomposer"].with_suffix(".json").read_text())
    assert make(other, tmp_path) != file


def test_an_export_that_fails_leaves_nothing(models: dict[str, Path], tmp_path: Path) -> None:
    class Unsuitable(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("first line\nsecond line")

    with pytest.raises(InputError, match="expected a network that onnxruntime can take, got: first line$"):
        cached_export("decomposer", models["decomposer"], RUNTIME, Unsuitable(), tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_folder_that_cannot_be_written_is_named_in_one_line(models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(InputError, match="model.safetensors: expected") as caught:
        make(models["decomposer"], tmp_path)
    assert "\n" not in str(caught.value)


def test_no_path_is_kept(file: Path, models: dict[str, Path]) -> None:
    assert str(models["decomposer"].parent) not in (file.parent / NOTE).read_text()


def test_a_quantised_network_is_only_looked_for(models: dict[str, Path], exports: Path) -> None:
    pytest.importorskip("openvino")
    network = load_residue_system(models["decomposer"])
    with pytest.raises(InputError, match="expected an export for openvino-int8"):
        exported_decomposer(models["decomposer"], "openvino-int8", network)


@pytest.fixture(autouse=True)
def all_messages(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
