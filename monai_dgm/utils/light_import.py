"""Import MONAI as it is where only the packages that it requires are installed, in a tenth of the time.

``import monai`` imports every package that MONAI can use and finds: MLflow, Ignite, Matplotlib, scipy.stats and more.
That is 90 % of its time, and a command that only runs networks uses none of them. MONAI allows each of them to be
missing, so for the duration of its import they are hidden.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any

__all__ = ["hidden_packages", "import_monai_lightly"]

_REQUIRED = {"monai", "numpy", "torch"}


class _Hider(MetaPathFinder):
    """Finds nothing, and ends the search for modules whose top-level package is hidden."""

    def __init__(self, shown: set[str]) -> None:
        self.shown = shown

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        """None for what may be imported.

        Raises:
            ModuleNotFoundError: a hidden package.
        """
        top = fullname.partition(".")[0]
        own = top in sys.stdlib_module_names or top.startswith("_")  # of Python; some are not in its list
        if top not in self.shown and not own:
            raise ModuleNotFoundError(f"No module named {fullname!r} (hidden while MONAI is imported)", name=fullname)


@contextmanager
def hidden_packages(shown: set[str]) -> Iterator[None]:
    """While the block runs, a package that is neither in ``shown``, nor imported, nor Python's own cannot be found."""
    imported = {name.partition(".")[0] for name in sys.modules}
    hider = _Hider(shown | imported)
    sys.meta_path.insert(0, hider)
    try:
        yield
    finally:
        sys.meta_path.remove(hider)


def import_monai_lightly() -> None:
    """Import torch, and MONAI without its optional packages; nothing where MONAI is imported already.

    It is for the start of a process that infers: what needs those packages (MONAI's handlers, mostly) cannot be used
    in it. Our own modules find every package as usual afterwards. Modules stay until the process ends, so the garbage
    collector is told to skip their objects, now and at the end.
    """
    if "monai" in sys.modules:
        return
    gc.disable()
    try:
        importlib.import_module("torch")
        with hidden_packages(_REQUIRED):
            importlib.import_module("monai")
    finally:
        gc.freeze()
        gc.enable()
