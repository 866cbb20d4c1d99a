"""`monai-dgm export` writes what the runtimes load, and says what the trained network says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from monai_dgm.data import example_radiographs
from monai_dgm.engines.weights import load_residue_system
from monai_dgm.readers import read_radiograph
from monai_dgm.utils.bundle_files import bundles_folder

SHIPPED = bundles_folder() / "dgm" / "models" / "shipped" / "model.safetensors"


def test_torchscript_gives_the_networks_numbers(command: Callable, tmp_path: Path) -> None:
    finished = command("export", "decomposer", "--format", "torchscript", "-o", tmp_path)
    assert finished.status == 0 and finished.stdout == f"{tmp_path / 'decomposer.ts'}\n"
    image = torch.rand(1, 1, 224, 224) * 2 - 1
    with torch.no_grad():
        script = torch.jit.load(tmp_path / "decomposer.ts")
        torch.testing.assert_close(script(image), load_residue_system(SHIPPED)(image), rtol=0, atol=1e-5)


def test_onnx_takes_pixels(command: Callable, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    finished = command("export", "lungs", "-o", tmp_path)  # that it says what the network says: tests/engines/runtimes
    assert finished.status == 0, finished.stderr
    session = runtime.InferenceSession(finished.stdout.strip(), providers=["CPUExecutionProvider"])
    pixels = read_radiograph(sorted((example_radiographs() / "images").iterdir())[0]).pixels.astype(np.float32)
    (given,) = session.get_inputs()
    assert given.name == "pixels"
    assert all(np.isfinite(output).all() for output in session.run(None, {"pixels": pixels}))


def test_what_cannot_be_exported_is_refused(command: Callable, tmp_path: Path) -> None:
    assert command("export", "spleen").status == 2
    assert command("export", "decomposer", "--format", "pickle").status == 2
    missing = command("export", "lungs", "--weights", tmp_path / "no.pt", "--format", "torchscript")
    assert missing.status == 1 and "error: " in missing.stderr and "Traceback" not in missing.stderr
