"""The file of prepared radiographs: images first, for memory mapping, then a checksummed description.

Layout: N x S x S uint16 little endian; a JSON footer (fingerprints, geometries, a CRC-32 an image); a trailer of magic
word, length and SHA-256 of the footer. A file that is cut short, or whose footer changed, is not trusted.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from monai_dgm.errors import InputError
from monai_dgm.transforms.geometry import RadiographGeometry

_TRAILER = struct.Struct("<8sQ32s")
_MAGIC = b"DGMRADS1"
_NUM_CHECKED = 16  # images whose bytes are compared with their checksum when a file is opened


@dataclass(frozen=True)
class Description:
    """The footer: what the images of a cache file are, in their order."""

    size: int
    fingerprints: list[str] = field(default_factory=list)
    geometries: list[RadiographGeometry] = field(default_factory=list)
    checksums: list[int] = field(default_factory=list)

    def to_bytes(self) -> bytes:
        """As JSON."""
        geometries = [geometry.as_dict() for geometry in self.geometries]
        values = {"size": self.size, "fingerprints": self.fingerprints, "checksums": self.checksums}
        return json.dumps({**values, "geometries": geometries}).encode()

    @classmethod
    def from_bytes(cls, text: bytes) -> Description:
        """From JSON."""
        values = json.loads(text)
        geometries = [RadiographGeometry.from_dict(geometry) for geometry in values["geometries"]]
        return cls(values["size"], values["fingerprints"], geometries, values["checksums"])


def open_images(path: Path, description: Description) -> NDArray[np.uint16]:
    """The images of a cache file, uint16 (N, S, S), memory-mapped and read-only."""
    shape = (len(description.fingerprints), description.size, description.size)
    return np.memmap(path, dtype="<u2", mode="r", shape=shape)


def read_description(path: Path) -> Description | None:
    """The footer of a cache file, or None when there is no file or it cannot be trusted."""
    try:
        with open(path, "rb") as stream:
            end = stream.seek(0, os.SEEK_END)
            if end < _TRAILER.size:
                return None
            stream.seek(end - _TRAILER.size)
            magic, length, digest = _TRAILER.unpack(stream.read(_TRAILER.size))
            if magic != _MAGIC or length > end - _TRAILER.size:
                return None
            stream.seek(end - _TRAILER.size - length)
            text = stream.read(length)
    except OSError:
        return None
    if hashlib.sha256(text).digest() != digest:
        return None
    description = Description.from_bytes(text)
    num_images = len(description.fingerprints)
    if num_images == 0 or end != num_images * 2 * description.size**2 + length + _TRAILER.size:
        return None
    images = open_images(path, description)
    step = max(1, num_images // _NUM_CHECKED)
    if any(checksum(images[row]) != description.checksums[row] for row in range(0, num_images, step)):
        return None
    return description


def checksum(image: NDArray[np.uint16]) -> int:
    """CRC-32 of an image's bytes."""
    return zlib.crc32(image.astype("<u2", copy=False).tobytes())


class CacheWriter:
    """Writes a cache file image by image, aside; :meth:`finish` renames it. For use under a lock."""

    def __init__(self, partial: Path, size: int, num_images: int) -> None:
        self.partial = partial
        self.description = Description(size)
        self._expected = num_images * 2 * size**2
        with no_space_as_input_error(partial.parent, self._expected):
            partial.parent.mkdir(parents=True, exist_ok=True)
            self._stream: IO[bytes] = open(partial, "wb")  # noqa: SIM115 - closed in close()
            if hasattr(os, "posix_fallocate"):
                # a full disk is told before the work, not after; filesystems without it tell when written
                try:
                    os.posix_fallocate(self._stream.fileno(), 0, self._expected)
                except OSError as error:
                    if error.errno in (errno.ENOSPC, errno.EDQUOT):
                        self.close()
                        raise

    def append(self, image: NDArray[np.uint16], geometry: RadiographGeometry, fingerprint: str) -> None:
        """Add one image (S, S)."""
        data = image.astype("<u2", copy=False).tobytes()
        with no_space_as_input_error(self.partial.parent, self._expected):
            self._stream.write(data)
        self.description.fingerprints.append(fingerprint)
        self.description.geometries.append(geometry)
        self.description.checksums.append(zlib.crc32(data))

    def finish(self, target: Path) -> None:
        """Write the footer, make sure all is on the disk, and rename to ``target``."""
        text = self.description.to_bytes()
        with no_space_as_input_error(self.partial.parent, self._expected):
            self._stream.truncate()  # what was reserved for images that were left out
            self._stream.write(text)
            self._stream.write(_TRAILER.pack(_MAGIC, len(text), hashlib.sha256(text).digest()))
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()
            os.replace(self.partial, target)

    def close(self) -> None:
        """Remove what was not finished."""
        if not self._stream.closed:
            with suppress(OSError):  # the disk may be full, and the file is given up anyway
                self._stream.close()
        self.partial.unlink(missing_ok=True)


@contextmanager
def no_space_as_input_error(folder: Path, needed: int) -> Iterator[None]:
    """Tell a full disk (or quota) in one line that names the folder and the bytes needed."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            try:
                free = shutil.disk_usage(folder).free
            except OSError:
                free = 0
            raise InputError(f"{folder}: no space for the cache: expected {needed} bytes, {free} are free") from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EPERM):
            raise InputError(f"{folder}: expected a writable folder for the cache ({error.strerror})") from error
        raise
