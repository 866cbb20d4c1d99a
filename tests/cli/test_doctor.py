"""`monai-dgm doctor` says what is there, what is missing, and fails only where something needed is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from monai_dgm.cli import installation
from monai_dgm.data.fingerprints import hash_file
from monai_dgm.engines.runtimes.installed import EXACT, installed_runtimes
from monai_dgm.utils.bundle_files import BUNDLES, bundles_folder


def test_weights_are_those_that_ship(command: Callable) -> None:
    finished = command("doctor", "--json")
    found = json.loads(finished.stdout)
    assert finished.status == 0 and found["problems"] == []
    for name, bundle in BUNDLES.items():
        shipped = bundles_folder() / bundle / "models" / "shipped" / "model.safetensors"
        assert found["weights"][name]["sha256"] == hash_file(shipped) and found["weights"][name]["state"] == "sound"
    assert found["packages"]["torch"] == found["runtimes"]["torch"] == torch.__version__


def test_damaged_and_missing_weights_are_problems(
    command: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bundle in BUNDLES.values():
        target = tmp_path / bundle / "models" / "shipped"
        target.mkdir(parents=True)
        for name in ("model.json", "model.safetensors"):
            shutil.copy(bundles_folder() / bundle / "models" / "shipped" / name, target)
    (tmp_path / "opacity_classification" / "models" / "shipped" / "model.safetensors").write_bytes(b"half")
    (tmp_path / "lung_segmentation" / "models" / "shipped" / "model.safetensors").unlink()
    monkeypatch.setattr(installation, "bundles_folder", lambda: tmp_path)
    finished = command("doctor")
    assert finished.status == 1
    assert "problem: weights of the classifier: damaged" in finished.stdout
    assert "problem: weights of the lungs: missing" in finished.stdout
    assert "weights of the decomposer" not in finished.stdout


def test_what_is_not_installed_has_advice(command: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    known = installation.version_of
    monkeypatch.setattr(installation, "requirements", lambda: (["torch", "nibabel"], {"onnx": ["onnx"], "gdcm": []}))
    monkeypatch.setattr(installation, "version_of", lambda name: None if name in ("onnx", "nibabel") else known(name))
    finished = command("doctor")
    assert finished.status == 1
    assert "without onnx: pip install 'monai-dgm[onnx]'" in finished.stdout
    assert "problem: packages are missing: pip install nibabel" in finished.stdout


def test_a_runtime_without_what_it_needs_is_not_called_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "version_of", lambda name: None if name == "onnx" else "1.0")
    runtimes = installation.describe_installation()["runtimes"]
    assert runtimes == {"torch": "1.0", "openvino": None, "onnxruntime": None}
    monkeypatch.setattr(installation, "version_of", lambda name: "1.0")
    assert set(installation.describe_installation()["runtimes"].values()) == {"1.0"}


def test_the_runtimes_are_those_that_a_run_can_take() -> None:
    told = installation.describe_installation()["runtimes"]
    assert list(told) == list(EXACT)
    assert {name for name, version in told.items() if version} == {*installed_runtimes()} & {*EXACT}
