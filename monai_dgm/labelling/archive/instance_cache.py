"""Instances of an archive on disk, for a while: as many bytes as are allowed, the least used go first.

They hold patient data. So the folder is this user's alone, a file's name is a hash, and the folder can be emptied.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from monai_dgm.utils.atomic import atomic_write

__all__ = ["DicomCache"]

SUFFIX = ".dcm"


class DicomCache:
    """A folder of instances. Safe with several threads; one process uses it.

    Args:
        folder: made when missing; nothing else is kept in it.
        max_bytes: of all files together. One that is larger is there while it is read.
    """

    def __init__(self, folder: str | os.PathLike[str], max_bytes: int) -> None:
        self.folder = Path(folder)
        self.max_bytes = max_bytes
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder.chmod(0o700)
        self._lock = threading.RLock()
        for partial in self.folder.glob(".partial-*"):  # of a process that was killed
            partial.unlink(missing_ok=True)
        self._shrink()

    @contextmanager
    def file(self, key: str, fetch: Callable[[], bytes]) -> Iterator[Path]:
        """The file of an instance, which stays while the block runs.

        Args:
            key: of the instance.
            fetch: gives its bytes where they are not kept.
        """
        with self._lock:
            path = self.folder / (hashlib.sha256(key.encode("utf-8")).hexdigest() + SUFFIX)
            if path.is_file():
                os.utime(path)
            else:
                content = fetch()
                with atomic_write(path) as partial:
                    partial.write_bytes(content)
            try:
                yield path
            finally:
                self._shrink()

    def size(self) -> tuple[int, int]:
        """(files, bytes) that are kept."""
        with self._lock:
            sizes = [state.st_size for _, state in self._files()]
        return len(sizes), sum(sizes)

    def purge(self) -> int:
        """Remove all files; returns how many there were."""
        with self._lock:
            files = self._files()
            for path, _ in files:
                path.unlink(missing_ok=True)
        return len(files)

    def _files(self) -> list[tuple[Path, os.stat_result]]:
        return [(path, path.stat()) for path in self.folder.glob(f"*{SUFFIX}")]

    def _shrink(self) -> None:
        files = sorted(self._files(), key=lambda item: item[1].st_mtime_ns)
        total = sum(state.st_size for _, state in files)
        for path, state in files:
            if total <= self.max_bytes:
                break
            path.unlink(missing_ok=True)
            total -= state.st_size
