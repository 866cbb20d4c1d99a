"""Which runtimes there are, which are installed, and which one a run takes. Importing it does not import torch."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import os
from functools import cache
from typing import TYPE_CHECKING, Any

from monai_dgm.errors import InputError
from monai_dgm.utils.optional_package import import_package, not_installed

if TYPE_CHECKING:
    import torch

__all__ = [
    "AUTO",
    "FEW_RADIOGRAPHS",
    "RUNTIMES",
    "choose_runtime",
    "import_runtime",
    "installed_runtimes",
    "openvino_core",
    "runtime_version",
]

logger = logging.getLogger(__name__)

AUTO = "auto"
INT8 = "openvino-int8"
BF16 = "openvino-bf16"
RUNTIMES: dict[str, tuple[str, ...]] = {
    "openvino": ("openvino", "onnx"),
    "onnxruntime": ("onnxruntime", "onnx"),
    "torch": ("torch",),
    BF16: ("openvino", "onnx"),
    INT8: ("openvino", "onnx"),
}
"""Names of the runtimes, fastest first (docs/performance.md), and the packages that each needs. The last two are taken
only where they are asked for: their results differ."""
EXACT = ("openvino", "onnxruntime", "torch")
FEW_RADIOGRAPHS = 16
"""Fewer radiographs than these take PyTorch: loading or making the exported graphs takes longer than it saves."""
VARIABLE = "MONAI_DGM_RUNTIME"


def installed_runtimes() -> list[str]:
    """Names of the runtimes whose packages are installed, fastest first."""
    return [name for name, needed in RUNTIMES.items() if all(map(importlib.util.find_spec, needed))]


def import_runtime(name: str) -> Any:
    """The module of OpenVINO or ONNX Runtime, imported when it is first needed.

    Raises:
        InputError: it is not installed.
    """
    return import_package(name, "runtime", _extra(name))


@cache
def openvino_core() -> Any:
    """OpenVINO's ``Core``: one for the whole process, and never deleted.

    Each core that compiles for the CPU gives its thread a stack for signals and takes it away when it is deleted. Two
    that are deleted in the order in which they were made leave the address of a stack that is gone: the next signal
    with a handler, such as the end of a loader's worker process, then ends the process with a segmentation fault (seen
    with OpenVINO 2026.4 on processors with AMX).

    Raises:
        InputError: OpenVINO is not installed.
    """
    return import_runtime("openvino").Core()


def _extra(runtime: str) -> str:
    return "onnx" if runtime == "onnxruntime" else "openvino"


def runtime_version(runtime: str) -> str:
    """Versions of the packages of a runtime and of PyTorch, which exports for it, such as "openvino 2026.4.1, ..."."""
    packages = dict.fromkeys((*RUNTIMES[runtime], "torch"))
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)


def choose_runtime(
    runtime: str | None = AUTO, device: torch.device | str = "cpu", num_radiographs: int | None = None
) -> str:
    """The runtime of a run; it is said in the log in one line.

    Args:
        runtime: a name of :data:`RUNTIMES`, or "auto" (or None) for the value of the environment variable
            MONAI_DGM_RUNTIME, else for the fastest that is installed: PyTorch on another device than the CPU and for
            fewer than :data:`FEW_RADIOGRAPHS` radiographs.
        device: where the networks run.
        num_radiographs: of the run, where known; None for many, as on a server.

    Raises:
        InputError: an unknown runtime, one that is not installed, or one that does not run on this device.
    """
    import torch

    asked = runtime or AUTO
    if asked == AUTO:
        asked = os.environ.get(VARIABLE) or AUTO
    on_cpu, there = torch.device(device).type == "cpu", installed_runtimes()
    if asked == AUTO:
        chosen, why = _automatic(there, on_cpu, num_radiographs)
    elif asked not in RUNTIMES:
        raise InputError(f"runtime: expected one of {', '.join((AUTO, *RUNTIMES))}, got {asked!r}")
    elif asked not in there:
        raise not_installed(asked, "runtime", _extra(asked))
    elif asked != "torch" and not on_cpu:
        raise InputError(f"runtime: expected torch on the device {device}, got {asked}, which runs on the CPU")
    else:
        chosen, why = asked, "as set"
    logger.info("runtime of the networks: %s (%s)", chosen, why)
    return chosen


def _automatic(there: list[str], on_cpu: bool, num_radiographs: int | None) -> tuple[str, str]:
    if not on_cpu:
        return "torch", "the others run on the CPU"
    if num_radiographs is not None and num_radiographs < FEW_RADIOGRAPHS:
        return "torch", f"fewer than {FEW_RADIOGRAPHS} radiographs"
    return there[0], f"the fastest of those installed: {', '.join(name for name in there if name in EXACT)}"
