"""Import torchvision also where its compiled operators do not load.

torchvision from PyPI is linked against CUDA. Beside a CPU build of torch its import fails with "operator
torchvision::nms does not exist", although nothing here needs that operator: MONAI has its own non-maximum suppression.
Declaring the schemas of the two missing operators is enough for the Python part of torchvision.
"""

from __future__ import annotations

import importlib
import sys

import torch

__all__ = ["ensure_torchvision"]

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_libraries: list[torch.library.Library] = []  # the schemas are gone once the library object is


def ensure_torchvision() -> None:
    """Import torchvision; declare its missing operators first if the plain import fails because of them.

    Call it before the first import of torchvision, or of a package that imports it (monai.apps.detection).

    Raises:
        ImportError: torchvision is not installed.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error) or _libraries:
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define(f"nms{_SCHEMA}")
        library.define(f"qnms{_SCHEMA}")
        _libraries.append(library)
        importlib.import_module("torchvision")
