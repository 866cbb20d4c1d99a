"""Cache of an archive's instances on disk with a size limit; the least recently used files are removed first.

The files hold patient data. So only this user can read the folder, file names are hashes, and it can be emptied.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from monai_dgm.utils.atomic import write_bytes

__all__ = ["DicomCache"]

SUFFIX = ".dcm"


class _InUse:
    """A file that threads use or wait for: their number, and the lock of the one that has it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.threads = 0


class DicomCache:
    """The cache. Safe with several threads of one process.

    Args:
        folder: made if missing; used for nothing else.
        max_bytes: of all files together. A larger file is kept while it is read.
    """

    def __init__(self, folder: str | os.PathLike[str], max_bytes: int) -> None:
        self.folder = Path(folder)
        self.max_bytes = max_bytes
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder.chmod(0o700)
        self._lock = threading.Lock()  # of the three below, never while a file is fetched or read
        self._in_use: dict[Path, _InUse] = {}
        self._bytes = 0  # of all files: they are listed only when they are too many
        for partial in self.folder.glob(".partial-*"):  # left by a process that was killed
            partial.unlink(missing_ok=True)
        self._shrink()

    @contextmanager
    def file(self, key: str, fetch: Callable[[], bytes]) -> Iterator[Path]:
        """The file of an instance, which is kept while the block runs; other instances do not wait for it.

        Args:
            key: name of the instance.
            fetch: returns its bytes; called if they are not in the cache.
        """
        path = self._path(key)
        try:
            with self._held(path):
                if path.is_file():
                    os.utime(path)
                else:
                    content = fetch()
                    write_bytes(path, content)
                    with self._lock:
                        self._bytes += len(content)
                yield path
        finally:
            with self._lock:
                if self._bytes > self.max_bytes:
                    self._shrink()

    def drop(self, key: str) -> None:
        """Remove the file of an instance, if there is one: it was replaced or deleted."""
        self._remove(self._path(key))

    def keep_only(self, keys: Iterable[str]) -> None:
        """Remove the files of all other instances."""
        kept = {self._path(key) for key in keys}
        for path in self._listed() - kept:
            self._remove(path)

    def size(self) -> tuple[int, int]:
        """Number of files, and of their bytes together."""
        with self._lock:
            sizes = [state.st_size for _, state in self._files()]
        return len(sizes), sum(sizes)

    def purge(self) -> int:
        """Remove all files, also those that are being fetched now; returns their number."""
        return sum(self._remove(path) for path in self._listed())

    @contextmanager
    def _held(self, path: Path) -> Iterator[None]:
        """A file for one thread; it stays in the cache until then."""
        with self._lock:
            own = self._in_use.setdefault(path, _InUse())
            own.threads += 1
        try:
            with own.lock:
                yield
        finally:
            with self._lock:
                own.threads -= 1
                if not own.threads:
                    del self._in_use[path]

    def _remove(self, path: Path) -> bool:
        """Remove a file once nobody uses it; whether there was one."""
        with self._held(path), self._lock:
            if not path.is_file():
                return False
            self._bytes -= path.stat().st_size
            path.unlink()
            return True

    def _listed(self) -> set[Path]:
        """Files that are there, or are being fetched."""
        with self._lock:
            return {path for path, _ in self._files()} | self._in_use.keys()

    def _path(self, key: str) -> Path:
        return self.folder / (hashlib.sha256(key.encode("utf-8")).hexdigest() + SUFFIX)

    def _files(self) -> list[tuple[Path, os.stat_result]]:
        return [(path, path.stat()) for path in self.folder.glob(f"[0-9a-f]*{SUFFIX}")]  # not those half written

    def _shrink(self) -> None:
        files = sorted(self._files(), key=lambda item: item[1].st_mtime_ns)
        total = sum(state.st_size for _, state in files)
        for path, state in files:
            if total <= self.max_bytes:
                break
            if path in self._in_use:
                continue
            path.unlink(missing_ok=True)
            total -= state.st_size
        self._bytes = total
