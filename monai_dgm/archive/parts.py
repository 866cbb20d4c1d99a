"""The Parquet files of a run's folder, and what they say is done.

``images/done-HASH.parquet`` and ``failed-HASH.parquet`` hold rows that stay, ``again-HASH.parquet`` those of images
that could not be fetched or sent, which the next run tries again. The name is computed from the rows' keys, and a file
is written aside and renamed: a task that runs twice writes the same file twice. The file ``run`` names the run that
may write: tasks that outlive the driver that started them write nothing once another run has begun.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from monai_dgm.archive.packages import import_package
from monai_dgm.archive.rows import DONE, FAILED, schema
from monai_dgm.engines.files import writing
from monai_dgm.errors import InputError
from monai_dgm.utils.atomic import atomic_write, write_text

__all__ = ["DoneImages", "ResultParts", "opened"]

KEPT = {DONE: "done", FAILED: "failed"}
AGAIN = "again"
_KEYS = ["identifier", "source_stamp", "content_sha256", "settings_sha256"]

Digests = NDArray[np.bytes_]


def digest(*parts: str) -> bytes:
    """16 bytes for some texts."""
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogateescape"), digest_size=16).digest()


def _without_null(one: bytes) -> bytes:
    """The digest with its last bit set: numpy drops zero bytes at the end, and one in 256 would not be found again."""
    whole = one.ljust(16, b"\0")
    return whole[:15] + bytes([whole[15] | 1])


def _sorted(digests: Sequence[bytes]) -> Digests:
    return np.sort(np.array([_without_null(one) for one in digests], dtype="S16"))


def _has(digests: Digests, one: bytes) -> bool:
    wanted = np.bytes_(_without_null(one))
    place = int(np.searchsorted(digests, wanted))
    return place < len(digests) and bool(digests[place] == wanted)


@dataclass(frozen=True)
class DoneImages:
    """The images that have a row by some settings: 48 bytes each. Safe to share.

    Attributes:
        stamps: of identifier and stamp; not to be read again.
        names: of identifier and content; not to be stored again.
        contents: of the content; not to be computed again.
    """

    stamps: Digests
    names: Digests
    contents: Digests

    def has_stamp(self, identifier: str, stamp: str) -> bool:
        """Whether an image of this name and stamp has a row; an empty stamp says nothing."""
        return bool(stamp) and _has(self.stamps, digest(identifier, stamp))

    def has_image(self, identifier: str, content: str) -> bool:
        """Whether an image of this name and content has a row."""
        return _has(self.names, digest(identifier, content))

    def has_content(self, content: str) -> bool:
        """Whether some image of this content has a row."""
        return _has(self.contents, bytes.fromhex(content)[:16])

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.names)


class ResultParts:
    """The folder of the results; it pickles.

    Args:
        folder: that all machines of a run see.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).absolute()
        self.run = ""

    @property
    def images(self) -> Path:
        """Folder of the Parquet files."""
        return self.folder / "images"

    @contextmanager
    def writer(self) -> Iterator[None]:
        """Be the one run that writes, while the block runs.

        Raises:
            InputError: another run writes, or the folder cannot be written.
        """
        with writing(self.folder):
            self.images.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.folder / ".lock", timeout=0):
                self.run = secrets.token_hex(16)
                with writing(self.folder):
                    write_text(self.folder / "run", self.run)
                yield
        except Timeout:
            raise InputError(f"{self.folder}: expected a folder that no other run writes into, one does now") from None

    def store(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Write the rows of a task, those of each kind into one file; returns the bytes.

        Raises:
            InputError: another run has begun, or the disk is full.
        """
        kinds: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows:
            kinds.setdefault(KEPT.get(row["status"], AGAIN), []).append(row)
        return sum(self._write(kind, some) for kind, some in kinds.items())

    def _write(self, kind: str, rows: Sequence[Mapping[str, Any]]) -> int:
        ordered = sorted(rows, key=_key)
        name = hashlib.sha256("\n".join("\0".join(_key(row)) for row in ordered).encode("utf-8", "surrogateescape"))
        path = self.images / f"{kind}-{name.hexdigest()[:32]}.parquet"
        self._write_file(path, [dict(row) for row in ordered])
        return path.stat().st_size

    def _write_file(self, path: Path, rows: list[dict[str, Any]]) -> None:
        pa, pq = import_package("pyarrow"), import_package("pyarrow.parquet")
        with writing(self.images), atomic_write(path) as partial:
            pq.write_table(pa.Table.from_pylist(rows, schema=schema()), partial, compression="zstd")
            self._check_run()

    def _check_run(self) -> None:
        try:
            current = (self.folder / "run").read_text(encoding="ascii")
        except OSError:
            current = ""
        if current != self.run:
            raise InputError("archive: another run has begun in this folder, this one ends")

    def paths(self, kind: str = "*") -> list[Path]:
        """The Parquet files of a kind: "done", "failed", "again"."""
        return sorted(self.images.glob(f"{kind}-*.parquet"))

    def done(self, settings_key: str) -> DoneImages:
        """What the files say of some settings.

        Raises:
            InputError: a file that is damaged.
        """
        stamps: list[bytes] = []
        names: list[bytes] = []
        contents: list[bytes] = []
        for path in (*self.paths("done"), *self.paths("failed")):
            for row in self._rows(path, _KEYS):
                if row["settings_sha256"] == settings_key:
                    stamps.append(digest(row["identifier"], row["source_stamp"]))
                    names.append(digest(row["identifier"], row["content_sha256"]))
                    contents.append(bytes.fromhex(row["content_sha256"])[:16])
        return DoneImages(*map(_sorted, (stamps, names, contents)))

    def rows_of(self, contents: Iterable[str], settings_key: str) -> dict[str, dict[str, Any]]:
        """A whole row for each content that has one, by its SHA-256."""
        wanted, found = set(contents), dict[str, dict[str, Any]]()
        for path in (*self.paths("done"), *self.paths("failed")) if wanted else ():
            keys = self._rows(path, ["content_sha256", "settings_sha256"])
            here = [row["content_sha256"] for row in keys if row["settings_sha256"] == settings_key]
            if wanted.intersection(here):
                rows = self._rows(path)
                found |= {r["content_sha256"]: r for r in rows if r["settings_sha256"] == settings_key}
            if wanted <= found.keys():
                break
        return found

    def drop(self, kinds: Sequence[str], identifiers: set[str], settings_key: str) -> int:
        """Take the rows of images out of files, since they are tried again; returns their number.

        A file is replaced by one of the same name without them: whoever is killed in between loses nothing, for an
        image without a row is tried again as well.
        """
        dropped = 0
        for path in (path for kind in kinds for path in self.paths(kind)):
            rows = self._rows(path)
            kept = [r for r in rows if r["settings_sha256"] != settings_key or r["identifier"] not in identifiers]
            dropped += len(rows) - len(kept)
            if not kept:
                path.unlink()
            elif len(kept) < len(rows):
                self._write_file(path, kept)
        return dropped

    def _rows(self, path: Path, columns: list[str] | None = None) -> list[dict[str, Any]]:
        with opened(path) as file:
            rows: list[dict[str, Any]] = file.read(columns).to_pylist()
        return rows


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A Parquet file of this command.

    Raises:
        InputError: a damaged file, also where it is read within.
    """
    pa, pq = import_package("pyarrow"), import_package("pyarrow.parquet")
    try:
        yield pq.ParquetFile(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{path}: expected a Parquet file of this command ({type(error).__name__})") from error


def _key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return str(row["identifier"]), str(row["content_sha256"]), str(row["settings_sha256"])
