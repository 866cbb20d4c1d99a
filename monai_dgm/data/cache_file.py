"""Files of the cache: arrays of one image after another as ``.npy``, for memory mapping, and a JSON file next to them.

The JSON file says what the images are and contains a CRC-32 of each image. It is written last, with a SHA-256 of its
own content, so that an incomplete or damaged pair of files is noticed and made again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from monai_dgm.errors import InputError
from monai_dgm.transforms.geometry import RadiographGeometry
from monai_dgm.utils.atomic import write_json

NUM_CHECKED = 16  # images whose bytes are compared with their checksums when a file is opened


@dataclass(frozen=True)
class Description:
    """What the N images of an array file are, in their order.

    Attributes:
        size: side S in pixels.
        fingerprints: SHA-256 of the radiograph's file, for each image.
        geometries: how each radiograph became a square.
        checksums: CRC-32 of the bytes of each image.
    """

    size: int
    fingerprints: list[str] = field(default_factory=list)
    geometries: list[RadiographGeometry] = field(default_factory=list)
    checksums: list[int] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Write the JSON file."""
        geometries = [geometry.as_dict() for geometry in self.geometries]
        values = {"size": self.size, "fingerprints": self.fingerprints, "checksums": self.checksums}
        text = json.dumps({**values, "geometries": geometries})
        write_json(path, {"sha256": _sha256(text), "images": text}, indent=None)

    @classmethod
    def read(cls, path: Path) -> Description | None:
        """Read a JSON file of :meth:`write`; None where there is none or its content changed."""
        try:
            outer = json.loads(path.read_text(encoding="utf-8"))
            if outer["sha256"] != _sha256(outer["images"]):
                return None
            values = json.loads(outer["images"])
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        geometries = [RadiographGeometry.from_dict(geometry) for geometry in values["geometries"]]
        return cls(values["size"], values["fingerprints"], geometries, values["checksums"])


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def checksum(image: NDArray[np.uint16]) -> int:
    """CRC-32 of the bytes of an image."""
    return zlib.crc32(image.astype("<u2", copy=False).tobytes())


def open_array(path: Path, shape: tuple[int, ...], dtype: str) -> NDArray[Any] | None:
    """Open an ``.npy`` file, memory-mapped and read-only; None where it is missing, damaged or another array."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    expected = np.dtype(dtype).itemsize * int(np.prod(shape))
    whole = isinstance(array, np.memmap) and path.stat().st_size == array.offset + expected
    return array if whole and array.shape == shape and array.dtype == dtype else None


def open_images(path: Path) -> tuple[NDArray[np.uint16], Description] | None:
    """Open images with their description; None where one of the two files is missing or cannot be trusted.

    Args:
        path: the ``.npy`` file; the description is the ``.json`` file of the same name.

    Returns:
        images uint16 (N, S, S), memory-mapped and read-only, and their description. The checksums of up to
        some 16 images, evenly spaced, have been compared.
    """
    description = Description.read(path.with_suffix(".json"))
    if description is None or not description.fingerprints:
        return None
    count = len(description.fingerprints)
    images = open_array(path, (count, description.size, description.size), "<u2")
    if images is None:
        return None
    checked = range(0, count, max(1, count // NUM_CHECKED))
    if any(checksum(images[index]) != description.checksums[index] for index in checked):
        return None
    return images, description


class ArrayWriter:
    """Writes an ``.npy`` file image by image under another name; :meth:`finish` renames it. For use under a lock.

    Args:
        target: the ``.npy`` file.
        dtype: of the array, little endian, such as "<u2".
        image_shape: shape of one image.
        num_images: N at most. So much space is reserved, so that a full disk is noticed before the work.

    Raises:
        InputError: no space, or a folder that cannot be written.
    """

    def __init__(self, target: Path, dtype: str, image_shape: tuple[int, ...], num_images: int) -> None:
        self.target, self.dtype, self.image_shape = target, dtype, image_shape
        self.partial = target.with_suffix(".partial")
        self.num_written = 0
        self._expected = num_images * np.dtype(dtype).itemsize * int(np.prod(image_shape))
        with no_space_as_input_error(target.parent, self._expected):
            target.parent.mkdir(parents=True, exist_ok=True)
            self._stream: IO[bytes] = open(self.partial, "wb")  # noqa: SIM115 - closed in close()
            try:
                self._write_header(num_images)
                self._reserve()
            except OSError:
                self.close()
                raise

    def _write_header(self, num_images: int) -> None:
        # NumPy leaves room for 21 digits of the first dimension, so the header can be written again with another one
        header = {"descr": self.dtype, "fortran_order": False, "shape": (num_images, *self.image_shape)}
        np.lib.format.write_array_header_2_0(self._stream, header)

    def _reserve(self) -> None:
        if not hasattr(os, "posix_fallocate"):
            return
        try:
            os.posix_fallocate(self._stream.fileno(), 0, self._stream.tell() + self._expected)
        except OSError as error:  # file systems without it notice a full disk when the images are written
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise

    def append(self, images: NDArray[Any]) -> None:
        """Add one image of ``image_shape``, or several along a first axis."""
        count = images.size // int(np.prod(self.image_shape))
        with no_space_as_input_error(self.target.parent, self._expected):
            # plain writes: on a full disk a write through a memory map would end the process
            self._stream.write(images.astype(self.dtype, copy=False).tobytes())
        self.num_written += count

    def finish(self) -> None:
        """Write the number of images, flush everything to the disk, and rename the file to ``target``."""
        with no_space_as_input_error(self.target.parent, self._expected):
            self._stream.truncate()  # space that was reserved for images that were left out
            self._stream.seek(0)
            self._write_header(self.num_written)
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()
            os.replace(self.partial, self.target)

    def close(self) -> None:
        """Remove the file if it was not finished."""
        if not self._stream.closed:
            with suppress(OSError):  # the disk may be full; the file is removed in any case
                self._stream.close()
        self.partial.unlink(missing_ok=True)


@contextmanager
def no_space_as_input_error(folder: Path, needed: int) -> Iterator[None]:
    """Turn errors of a full disk (or quota) or of a folder that is not writable into an InputError in one line.

    Args:
        folder: of the cache, for the message.
        needed: bytes to be written, for the message.
    """
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
