"""The packages of the extra ``archive``, imported when they are first needed."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

from monai_dgm.utils import optional_package

__all__ = ["check_installed", "import_package", "import_ray"]


def check_installed() -> None:
    """Whether the extra is installed, without importing it.

    Raises:
        InputError: it is not.
    """
    for name in ("ray", "pyarrow", "fsspec"):
        if importlib.util.find_spec(name) is None:
            raise optional_package.not_installed(name, "archive", "archive")


def import_package(name: str) -> Any:
    """A module by its name, such as "pyarrow.parquet"; errors as the function of utils has them."""
    return optional_package.import_package(name, "archive", "archive")


def import_ray() -> Any:
    """Ray, which tells nobody of its use; errors as :func:`import_package`."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    return import_package("ray")
