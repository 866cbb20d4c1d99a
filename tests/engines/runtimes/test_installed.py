"""Which runtime a run takes, and that it is said."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import Any

import pytest

from monai_dgm.engines.pipeline_loading import load_pipeline
from monai_dgm.engines.runtimes import installed
from monai_dgm.engines.runtimes.installed import FEW_RADIOGRAPHS, choose_runtime
from monai_dgm.engines.runtimes.use import use_runtime
from monai_dgm.errors import InputError


@pytest.fixture
def having(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretend that only these packages are installed."""

    def only(*packages: str) -> None:
        found = importlib.util.find_spec("json")
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: found if name in packages else None)

    monkeypatch.delenv(installed.VARIABLE, raising=False)
    return only


@pytest.mark.parametrize(
    ("packages", "expected"),
    [
        (("torch",), "torch"),
        (("torch", "onnxruntime", "openvino"), "torch"),  # the package that exports for them is missing
        (("torch", "onnxruntime", "onnx"), "onnxruntime"),
        (("torch", "onnxruntime", "onnx", "openvino"), "openvino"),
    ],
)
def test_the_fastest_that_is_installed(
    having: Any, packages: tuple[str, ...], expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    having(*packages)
    with caplog.at_level(logging.INFO):
        assert choose_runtime() == choose_runtime(None, num_radiographs=FEW_RADIOGRAPHS) == expected
        assert choose_runtime(num_radiographs=FEW_RADIOGRAPHS - 1) == "torch"
        assert choose_runtime(device="cuda:0") == "torch"
    assert len(caplog.messages) == 4 and all("runtime of the networks" in line for line in caplog.messages)


def test_the_environment_decides_where_nothing_is_set(having: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    having("torch", "openvino", "onnx")
    monkeypatch.setenv(installed.VARIABLE, "torch")
    assert choose_runtime("auto") == "torch"
    assert choose_runtime("openvino") == "openvino"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("tensorrt",),
            "expected one of auto, openvino, onnxruntime, torch, openvino-bf16, openvino-int8, got 'tensorrt'",
        ),
        (("onnxruntime",), r"runtime: onnxruntime is not installed; pip install 'monai-dgm\[onnx\]'"),
        (("openvino", "cuda"), "runtime: expected torch on the device cuda, got openvino"),
    ],
)
def test_what_cannot_be_used_is_refused(having: Any, arguments: tuple[str, ...], message: str) -> None:
    having("torch", "openvino", "onnx")
    with pytest.raises(InputError, match=message):
        choose_runtime(*arguments)


def test_a_pipeline_goes_on_with_pytorch_where_no_export_can_be_written(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MONAI_DGM_CACHE", str(tmp_path / "file"))
    monkeypatch.delenv(installed.VARIABLE, raising=False)
    if choose_runtime() == "torch":
        pytest.skip("no other runtime is installed")
    with caplog.at_level(logging.INFO):
        pipeline = use_runtime(load_pipeline(models["decomposer"]))
    assert list(pipeline.parameters()) and "runtime of the networks: torch, since" in caplog.text
    with pytest.raises(InputError, match="expected a network that"):
        use_runtime(pipeline, installed.installed_runtimes()[0])
