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
STREAMS = 4  # parts of a batch at a time: the radiographs that a run gives to the networks together


class Session(Protocol):
    """A loaded graph. May be called from several threads."""

    def __call__(self, *inputs: Array) -> list[Array]:
        """Arrays in the order of the graph's inputs -> new arrays in the order of its outputs."""


class _OpenVINOSession:
    """One image is computed by all threads. Of several, each thread takes its own part, and need not wait for others.

    Args:
        file, threads, precision, batched: as in :func:`open_session`.
    """

    def __init__(self, file: Path, threads: int, precision: str, batched: bool) -> None:
        self._core = openvino_core()
        self._model = self._core.read_model(file)
        # without the hint OpenVINO takes bfloat16 where the processor has it: off by up to 0.03 on the scale of images
        self._settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
        self._most = min(threads, STREAMS) if batched else 1
        self._requests: dict[int, list[Any]] = {}
        self._use(1)
        self._lock = threading.Lock()  # a request does one thing at a time

    def __call__(self, *inputs: Array) -> list[Array]:
        number = min(self._most, len(inputs[0])) if self._most > 1 else 1
        parts = zip(*(np.array_split(np.ascontiguousarray(array), number) for array in inputs), strict=True)
        with self._lock:
            used = list(zip(self._use(1 if number == 1 else self._most), parts, strict=False))
            for request, part in used:
                request.start_async(list(part))
            for request, _ in used:
                request.wait()
            found = [[np.array(value) for value in request.results.values()] for request, _ in used]
        return found[0] if number == 1 else [np.concatenate(one) for one in zip(*found, strict=True)]

    def _use(self, streams: int) -> list[Any]:
        """Requests that run side by side, compiled when they are first needed."""
        if streams not in self._requests:
            compiled = self._core.compile_model(self._model, "CPU", {**self._settings, "NUM_STREAMS": streams})
            self._requests[streams] = [compiled.create_infer_request() for _ in range(streams)]
        return self._requests[streams]


class _ONNXSession:
    def __init__(self, file: Path, threads: int) -> None:
        onnxruntime = import_runtime("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self._names = [one.name for one in self._session.get_inputs()]

    def __call__(self, *inputs: Array) -> list[Array]:
        return list(self._session.run(None, dict(zip(self._names, inputs, strict=True))))


def open_session(file: Path, threads: int | None = None, precision: str = "f32", batched: bool = False) -> Session:
    """Load an exported graph on the CPU.

    Args:
        file: ``.onnx`` for ONNX Runtime, ``.xml`` (with its ``.bin``) for OpenVINO.
        threads: of the runtime; None for as many as torch has.
        precision: of OpenVINO: "f32", or "bf16".
        batched: the first axis of all inputs and outputs is that of images.

    Raises:
        InputError: a file that cannot be loaded, or a runtime that is not installed.
    """
    number = torch.get_num_threads() if threads is None else threads
    try:
        if file.suffix == ".onnx":
            return _ONNXSession(file, number)
        return _OpenVINOSession(file, number, precision, batched)
    except InputError:
        raise
    except Exception as error:  # each runtime has its own exceptions, and neither shares a base class
        raise InputError(f"{file}: expected an exported network, got: {first_line(error)}") from error


def as_array(images: torch.Tensor) -> NDArray[np.float32]:
    """A tensor as what a session takes."""
    return images.detach().cpu().float().numpy()
