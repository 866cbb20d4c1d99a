"""Which radiographs a source has: a folder, an fsspec address, a DICOMweb archive, or a list in a text file.

Nothing is decoded. A radiograph is told from others by its name, and from its own earlier content by its stamp.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from monai_dgm.archive.packages import import_package
from monai_dgm.data.listing import list_folder
from monai_dgm.errors import InputError, UsageError

__all__ = ["ArchiveImage", "is_dicomweb", "list_images"]

LIST_SUFFIXES = (".txt", ".list")
_CHANGING = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "updated", "created")


@dataclass(frozen=True, repr=False)  # nobody writes a patient into a log
class ArchiveImage:
    """One radiograph of a source.

    Attributes:
        identifier: its row's name: the path relative to the source, the line of a list, or the SOP Instance UID.
        address: where it is read: a path, an address of fsspec, or a WADO-RS path (``studies/.../instances/...``).
        stamp: changes with the content, such as size and time; empty where the source says nothing of it.
    """

    identifier: str
    address: str
    stamp: str = ""


def is_dicomweb(source: str) -> bool:
    """Whether a source is the address of a DICOMweb service."""
    return source.startswith(("http://", "https://"))


def list_images(source: str, archive: Any = None) -> list[ArchiveImage]:
    """The radiographs of a source, in the order of their identifiers.

    Args:
        source: folder or file, address of fsspec such as ``s3://bucket/folder``, text file of paths and such
            addresses, one a line, or address of a DICOMweb service.
        archive: :class:`monai_dgm.labelling.archive.instance_index.ArchiveIndex` of the latter.

    Raises:
        UsageError: nothing there, or an address that fsspec does not know.
        InputError: an archive that does not answer.
    """
    if archive is not None:
        archive.refresh()
        found: Iterable[ArchiveImage] = (_of_archive(item) for item in archive.instances.values())
    elif "://" in source:
        found = _of_address(source)
    elif Path(source).suffix.lower() in LIST_SUFFIXES and Path(source).is_file():
        found = _of_list(Path(source))
    else:
        found = _of_folder(Path(source))
    images = sorted({image.identifier: image for image in found}.values(), key=lambda image: image.identifier)
    if not images:
        raise UsageError(f"{source}: expected radiographs, found none")
    return images


def _of_archive(item: Any) -> ArchiveImage:
    return ArchiveImage(item.uids.instance, item.uids.path, "uid")


def _of_folder(root: Path) -> Iterator[ArchiveImage]:
    """All files but hidden ones: what is no radiograph becomes a row with the reason."""
    listing = list_folder(root)
    paths = [item["image"] for item in listing.datalist] + [path for path, _ in listing.left_out]
    folder = root.absolute() if root.is_dir() else root.absolute().parent
    for path in paths:
        yield _local(PurePosixPath(os.path.relpath(path, folder)).as_posix(), path)


def _local(identifier: str, path: str) -> ArchiveImage:
    try:
        state = os.stat(path)
    except OSError:
        return ArchiveImage(identifier, path)
    return ArchiveImage(identifier, path, f"{state.st_size}:{state.st_mtime_ns}")


def _of_address(source: str) -> Iterator[ArchiveImage]:
    fsspec = import_package("fsspec")
    try:
        files, path = fsspec.core.url_to_fs(source)
        found: dict[str, dict[str, Any]] = files.find(path, detail=True)
    except (ImportError, ValueError, OSError) as error:
        # messages of other software may quote what is in an address
        reason = f"it failed ({type(error).__name__})"
        raise UsageError(f"source: expected an address that fsspec can list, {reason}") from error
    root = path.rstrip("/")
    for name, info in found.items():
        relative = name[len(root) :].lstrip("/") if name.startswith(root) else name
        if not any(part.startswith(".") for part in relative.split("/")):
            changing = next((str(info[key]) for key in _CHANGING if info.get(key) is not None), "")
            stamp = f"{info.get('size')}:{changing}" if changing else ""
            yield ArchiveImage(relative or PurePosixPath(name).name, files.unstrip_protocol(name), stamp)


def _of_list(path: Path) -> Iterator[ArchiveImage]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a text file with one path a line ({type(error).__name__})") from error
    for line in (line.strip() for line in lines):
        if not line or line.startswith("#"):
            continue
        if is_dicomweb(line):
            raise InputError(f"{path}: expected paths and addresses of fsspec, got one of http")
        yield ArchiveImage(line, line) if "://" in line else _local(line, str(path.parent.absolute() / line))
