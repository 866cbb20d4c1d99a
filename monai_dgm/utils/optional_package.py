"""Packages of the extras, imported when they are first needed."""

from __future__ import annotations

import importlib
from typing import Any

from monai_dgm.errors import InputError

__all__ = ["import_package"]


def import_package(name: str, purpose: str, extra: str) -> Any:
    """A module by its name, such as "pyarrow.parquet".

    Args:
        name: of the module.
        purpose: what needs it, the first word of the error.
        extra: of this package that brings it.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise InputError(f"{purpose}: {package} is not installed; pip install 'monai-dgm[{extra}]'") from error
