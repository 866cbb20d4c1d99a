"""A quantised decomposer is near the trained one, is kept for its weights, and is never taken unasked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from monai_dgm.engines.pipeline_loading import load_pipeline
from monai_dgm.engines.runtimes.installed import choose_runtime, installed_runtimes
from monai_dgm.engines.runtimes.quantise import main, quantise_decomposer
from monai_dgm.engines.runtimes.use import use_runtime
from monai_dgm.errors import InputError
from tests.engines.runtimes.models import SIZE


def images(count: int, seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [np.tanh(generator.normal(size=(1, SIZE, SIZE))).astype(np.float32) for _ in range(count)]


def test_too_few_images_are_refused(models: dict[str, Path], exports: Path) -> None:
    with pytest.raises(InputError, match="at least 32 radiographs to calibrate with, got 3"):
        quantise_decomposer(models["decomposer"], images(3))


def test_the_command_refuses_a_folder_that_is_none(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--dataset_dir", str(tmp_path / "none"), "--cache_dir", str(tmp_path)]
    assert main(["--weights", str(models["decomposer"]), *folders]) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.slow
def test_a_quantised_decomposer(models: dict[str, Path], exports: Path) -> None:
    pytest.importorskip("nncf")
    quantise_decomposer(models["decomposer"], images(32))
    plain = load_pipeline(models["decomposer"])
    quantised = use_runtime(load_pipeline(models["decomposer"]), "openvino-int8")
    assert plain.decomposer is not None and quantised.decomposer is not None
    batch = torch.from_numpy(np.stack(images(4, seed=1)))
    with torch.inference_mode():
        ours, theirs = plain.decomposer(batch), quantised.decomposer(batch)
    error = (ours - theirs).abs()
    assert 0 < error.mean() < 0.02, "it is quantised, and near"
    assert choose_runtime() in ("openvino", "onnxruntime", "torch") and "openvino-int8" in installed_runtimes()
