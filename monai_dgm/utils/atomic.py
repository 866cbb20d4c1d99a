"""Writing files so that a reader, or a run after a kill, never sees half of one."""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path in the target's folder and rename it onto ``path`` when the block succeeds.

    The temporary name keeps the target's suffixes, since writers such as nibabel choose the format by them. The file
    has the permissions of the user's umask. Several threads may write at once.
    When the block raises, the temporary file is removed and ``path`` is left as it was.

    Args:
        path: file to write; its folder is made when missing.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".partial-{secrets.token_hex(8)}{''.join(target.suffixes[-2:])}")
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # the kernel takes the umask off
    mode = stat.S_IMODE(os.stat(partial).st_mode)
    try:
        yield partial
        with open(partial, "rb") as written:
            os.fsync(written.fileno())
        os.chmod(partial, mode)  # a writer may have replaced the file by one of other permissions
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write a file by :func:`atomic_write`; returns its path."""
    with atomic_write(path) as partial:
        partial.write_bytes(content)
    return Path(path)


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write a text file in UTF-8 by :func:`atomic_write`; returns its path."""
    return write_bytes(path, text.encode("utf-8"))


def write_json(path: str | os.PathLike[str], values: Any, indent: int | None = 1, **options: Any) -> Path:
    """Write a JSON file by :func:`atomic_write`; returns its path.

    Args:
        path: of the file.
        values: what :func:`json.dumps` takes.
        indent: of nested values; None writes one line.
        options: of :func:`json.dumps`.
    """
    return write_text(path, json.dumps(values, indent=indent, **options) + "\n")
