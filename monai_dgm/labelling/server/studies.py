"""Radiographs of a folder by id. No path comes from a request, and files that are too large are not decoded."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from monai_dgm.data.listing import SUFFIXES, list_radiographs, without_suffix
from monai_dgm.errors import InputError, StorageError, in_one_line
from monai_dgm.labelling.dicom_objects.digital_xray import digital_xray_uids
from monai_dgm.labelling.labels.image_label import MAX_IMAGE_ID
from monai_dgm.labelling.server.http_errors import ConflictError, TooLargeError, UnknownError
from monai_dgm.labelling.server.request_options import checked_image_id, checked_new_id
from monai_dgm.readers.radiograph import MAX_PIXELS, Radiograph
from monai_dgm.readers.read import read_radiograph
from monai_dgm.transforms.placement import Placement

__all__ = ["MAX_FILE_BYTES", "Rescan", "Studies", "StudyFolder", "StudyImage", "image_id_of", "read_checked"]

MAX_FILE_BYTES = 200_000_000  # the largest radiographs, 60 megapixels of 16 bits, take 120 MB
SEPARATOR = "__"
RESCAN_SECONDS = 5.0


class Rescan:
    """When to list a folder or an archive again, since others may have changed it. Not safe with several threads."""

    def __init__(self) -> None:
        self._last: float | None = None

    @property
    def due(self) -> bool:
        """Whether the last listing is older than :data:`RESCAN_SECONDS`, or there was none yet."""
        return self._last is None or time.monotonic() - self._last >= RESCAN_SECONDS

    def done(self) -> None:
        """A listing has just ended."""
        self._last = time.monotonic()


@dataclass(frozen=True)
class StudyImage:
    """One radiograph.

    Attributes:
        image_id: see :func:`image_id_of`; the SOP Instance UID in an archive.
        stamp: size in bytes and time of change in ns, which change with the image; in an archive the number of its last
            change, and 0.
        path: of the file in the folder; None in an archive.
        study, series: UIDs in an archive, or those that :class:`FolderDicomWeb` shows a file under.
    """

    image_id: str
    stamp: tuple[int, int]
    path: Path | None = None
    study: str = ""
    series: str = ""


class Studies(Protocol):
    """Radiographs by id: what :class:`StudyFolder` and an archive have in common."""

    max_bytes: int
    max_pixels: float
    left_out: int

    def ids(self) -> list[str]:
        """The ids of all radiographs, sorted."""

    def asked_for(self) -> list[str]:
        """The ids of the radiographs that are analysed without a request for each."""

    def refresh(self) -> None:
        """Update the list now."""

    def find(self, image_id: str) -> StudyImage:
        """A radiograph by its id."""

    def file(self, image_id: str) -> AbstractContextManager[Path]:
        """The file of a radiograph, which is there while the block runs; an archive may take long to send it."""

    def read(self, image_id: str) -> tuple[Radiograph, Placement]:
        """A radiograph, and the position of its plane in the patient.

        Raises:
            InputError: as :meth:`file` and :func:`read_checked`.
        """
        with self.file(image_id) as path:
            return read_checked(path, self.max_bytes, self.max_pixels)

    def add(self, image_id: str, content: bytes, suffix: str) -> None:
        """Add a radiograph."""

    def remove(self, image_id: str) -> None:
        """Delete a radiograph."""


def read_checked(path: Path, max_bytes: int, max_pixels: float) -> tuple[Radiograph, Placement]:
    """Read a radiograph, and the position of its plane. Messages of errors say "image" instead of the path.

    Raises:
        TooLargeError: a file of more than ``max_bytes``.
        InputError: not a radiograph, more than ``max_pixels`` pixels, or a damaged file.
    """
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise TooLargeError(f"image: expected a file of at most {max_bytes} bytes, got {size}")
        radiograph = read_radiograph(path, max_pixels)
    except TooLargeError:
        raise
    except InputError as error:
        raise InputError(in_one_line(error).replace(str(path), "image")) from None
    except OSError as error:
        raise InputError(f"image: cannot be read ({error.strerror})") from None
    return radiograph, Placement.of(radiograph)


def image_id_of(relative: str | os.PathLike[str]) -> str:
    """Id of a file from its path in the folder, which does not depend on other files: ``a/b.png`` is ``a__b``."""
    return without_suffix(Path(relative).as_posix()).replace("/", SEPARATOR)


class StudyFolder(Studies):
    """Radiographs (DICOM, PNG, JPEG, NIfTI) of a folder and its subfolders. Safe with several threads.

    Hidden files and folders are left out, and so are links that lead out of the folder, and all files with the same
    id (``x.png`` and ``x.dcm``), since it is not known to which of them a label belongs.

    Args:
        root: the folder.
        max_bytes: size limit of a file, checked before it is opened.
        max_pixels: size limit of an image, checked before it is decoded.

    Raises:
        InputError: there is no such folder.
    """

    def __init__(
        self, root: str | os.PathLike[str], max_bytes: int = MAX_FILE_BYTES, max_pixels: float = MAX_PIXELS
    ) -> None:
        self.root = Path(root).resolve()
        if not self.root.is_dir():
            raise InputError(f"studies: expected a folder of radiographs, or the address of an archive, got {root}")
        self.max_bytes = max_bytes
        self.max_pixels = max_pixels
        self.left_out = 0
        self._lock = threading.Lock()
        self._index: dict[str, Path] = {}
        self._rescan = Rescan()

    def ids(self) -> list[str]:
        """The ids of all radiographs, sorted; new files are found after a few seconds."""
        with self._lock:
            if self._rescan.due:
                self._scan()
            return sorted(self._index)

    def asked_for(self) -> list[str]:
        """All: :meth:`ids`."""
        return self.ids()

    def refresh(self) -> None:
        """List the folder now."""
        with self._lock:
            self._scan()

    def find(self, image_id: str) -> StudyImage:
        """A radiograph by its id.

        Raises:
            InputError: not an id.
            UnknownError: there is no such radiograph, or it was removed.
        """
        name = checked_image_id(image_id)
        with self._lock:
            if name not in self._index and self._rescan.due:
                self._scan()
            path = self._index.get(name)
        try:
            if path is None or not path.resolve().is_relative_to(self.root):  # it may have become a link
                raise FileNotFoundError
            state = path.stat()
        except OSError:
            raise UnknownError("image: there is none of that id") from None
        study, series, _ = digital_xray_uids(name)
        return StudyImage(name, (state.st_size, state.st_mtime_ns), path, study, series)

    @contextmanager
    def file(self, image_id: str) -> Iterator[Path]:
        """The file of a radiograph; errors as :meth:`find`."""
        path = self.find(image_id).path
        assert path is not None
        yield path

    def add(self, image_id: str, content: bytes, suffix: str) -> None:
        """Add a radiograph, if it can be read.

        Args:
            image_id: letters, digits, ``.``, ``_`` and ``-``.
            content: of the file.
            suffix: of the file, one of :data:`monai_dgm.data.listing.SUFFIXES`.

        Raises:
            ConflictError: there is a radiograph of this id.
            InputError: an id or a suffix that is not allowed, or content that is not a radiograph.
        """
        name = checked_new_id(image_id)
        ending = suffix.lower()
        if ending not in SUFFIXES:
            raise InputError(f"file: expected a name that ends in {' '.join(SUFFIXES)}, got another")
        if len(content) > self.max_bytes:
            raise TooLargeError(f"file: expected at most {self.max_bytes} bytes, got {len(content)}")
        handle, partial = tempfile.mkstemp(prefix=".partial-", suffix=ending, dir=self.root)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            read_checked(Path(partial), self.max_bytes, self.max_pixels)
            with self._lock:
                self._scan()
                if name in self._index:
                    raise ConflictError("image: there is one of that id")
                os.chmod(partial, 0o644)
                os.link(partial, self.root / f"{name}{ending}")  # fails if the file exists, unlike a rename
                self._scan()
        except FileExistsError:
            raise ConflictError("image: there is one of that id") from None
        finally:
            os.unlink(partial)

    def remove(self, image_id: str) -> None:
        """Delete the file of a radiograph.

        Raises:
            UnknownError: as :meth:`find`.
            StorageError: the file cannot be deleted.
        """
        path = self.find(image_id).path
        assert path is not None
        try:
            path.unlink()
        except OSError as error:
            raise StorageError(f"{path}: cannot be deleted ({error.strerror})") from None
        self.refresh()

    def _scan(self) -> None:
        try:
            paths = [Path(item["image"]) for item in list_radiographs(self.root)]
        except InputError:  # no radiograph yet
            paths = []
        inside = [path for path in paths if path.resolve().is_relative_to(self.root)]
        names = [image_id_of(path.relative_to(self.root)) for path in inside]
        counts = Counter(names)
        usable = {
            name: path
            for name, path in zip(names, inside, strict=True)
            if counts[name] == 1 and 0 < len(name) <= MAX_IMAGE_ID and name.isprintable()
        }
        self._index = usable
        self.left_out = len(paths) - len(usable)
        self._rescan.done()
