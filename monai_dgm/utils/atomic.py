"""Writing files so that a reader, or a run after a kill, never sees half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path in the target's folder and rename it onto ``path`` when the block succeeds.

    The temporary name keeps the target's suffixes, since writers such as nibabel choose the format by them.
    When the block raises, the temporary file is removed and ``path`` is left as it was.

    Args:
        path: file to write; its folder is made when missing.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".partial-", suffix="".join(target.suffixes[-2:]), dir=target.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        with open(partial, "rb") as written:
            os.fsync(written.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(partial, 0o666 & ~umask)  # mkstemp makes 0600 files; outputs follow the user's umask as any other
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
