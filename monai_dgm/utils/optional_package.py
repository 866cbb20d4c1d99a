"""Packages of the extras, imported when they are first needed."""

from __future__ import annotations

import importlib
from typing import Any

from monai_dgm.errors import InputError

__all__ = ["import_package", "not_installed"]


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
        raise not_installed(name, purpose, extra) from error


def not_installed(name: str, purpose: str, extra: str) -> InputError:
    """The error of a package that is missing; arguments as of :func:`import_package`."""
    return InputError(f"{purpose}: {name.partition('.')[0]} is not installed; pip install 'monai-dgm[{extra}]'")
