"""An exported graph, loaded: arrays in, arrays out."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from monai_dgm.engines.runtimes.installed import import_runtime, openvino_core
from monai_dgm.engines.weights import first_line
from monai_dgm.errors import InputError

__all__ = ["Session", "open_session"]

Array = NDArray[Any]


class Session(Protocol):
    """A loaded graph. May be called from several threads."""

    def __call__(self, *inputs: Array) -> list[Array]:
        """Arrays in the order of the graph's inputs -> new arrays in the order of its outputs."""


class _OpenVINOSession:
    def __init__(self, file: Path, threads: int, precision: str) -> None:
        core = openvino_core()
        # without the hint OpenVINO takes bfloat16 where the processor has it: off by up to 0.03 on the scale of images
        settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
        self._request = core.compile_model(core.read_model(file), "CPU", settings).create_infer_request()
        self._lock = threading.Lock()  # a request does one thing at a time

    def __call__(self, *inputs: Array) -> list[Array]:
        with self._lock:
            found = self._request.infer([np.ascontiguousarray(array) for array in inputs])
            return [np.array(value) for value in found.values()]


class _ONNXSession:
    def __init__(self, file: Path, threads: int) -> None:
        onnxruntime = import_runtime("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self._names = [one.name for one in self._session.get_inputs()]

    def __call__(self, *inputs: Array) -> list[Array]:
        return list(self._session.run(None, dict(zip(self._names, inputs, strict=True))))


def open_session(file: Path, threads: int | None = None, precision: str = "f32") -> Session:
    """Load an exported graph on the CPU.

    Args:
        file: ``.onnx`` for ONNX Runtime, ``.xml`` (with its ``.bin``) for OpenVINO.
        threads: of the runtime; None for as many as torch has.
        precision: of OpenVINO: "f32", or "bf16".

    Raises:
        InputError: a file that cannot be loaded, or a runtime that is not installed.
    """
    number = torch.get_num_threads() if threads is None else threads
    try:
        if file.suffix == ".onnx":
            return _ONNXSession(file, number)
        return _OpenVINOSession(file, number, precision)
    except InputError:
        raise
    except Exception as error:  # each runtime has its own exceptions, and neither shares a base class
        raise InputError(f"{file}: expected an exported network, got: {first_line(error)}") from error


def as_array(images: torch.Tensor) -> NDArray[np.float32]:
    """A tensor as what a session takes."""
    return images.detach().cpu().float().numpy()
