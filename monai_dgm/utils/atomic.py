"""Writing files so that a reader, or a run after a kill, never sees half of one."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
