"""Lists the radiographs of a file or a folder and gives each an identifier."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from monai_dgm.errors import InputError, UsageError
from monai_dgm.readers.read import EXPECTED, sniff_format

SUFFIXES = (".dcm", ".dicom", ".png", ".jpg", ".jpeg", ".nii", ".nii.gz")
_HEAD_BYTES = 1024
_DIRECTORY = b"1.2.840.10008.1.3.10"  # Media Storage Directory Storage
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")


@dataclass(frozen=True)
class Listing:
    """What a file or folder holds.

    Args:
        datalist: a dict for each radiograph, see :func:`list_radiographs`.
        left_out: (path, reason) of each other file, hidden ones excepted.
    """

    datalist: list[dict[str, Any]]
    left_out: list[tuple[str, str]]


def list_folder(path: str | os.PathLike[str]) -> Listing:
    """The radiographs of a file, or of a folder and its subfolders, sorted by path, and what else lies there.

    In a folder, files with a suffix of ``SUFFIXES`` are taken for what they say, and of all others those that are DICOM
    (with and without preamble), PNG, JPEG or NIfTI by their first bytes. A DICOMDIR and archives are left out with a
    reason, as is everything else. Hidden files and folders are not looked at. Nothing is decoded.

    Args:
        path: file or folder.

    Raises:
        UsageError: no such path.
    """
    root = Path(path).absolute()
    if root.is_file():
        return Listing([{"image": str(root), "image_id": unique_ids([root.name])[0]}], [])
    if not root.is_dir():
        raise UsageError(f"{path}: no such file or folder, expected radiographs ({' '.join(SUFFIXES)})")
    found: list[Path] = []
    left_out: list[tuple[str, str]] = []
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for file in (Path(folder, name) for name in sorted(files) if not name.startswith(".")):
            reason = _why_left_out(file)
            if reason is None:
                found.append(file)
            else:
                left_out.append((str(file), reason))
    identifiers = unique_ids([file.relative_to(root) for file in found])
    datalist = [{"image": str(file), "image_id": name} for file, name in zip(found, identifiers, strict=True)]
    return Listing(datalist, left_out)


def list_radiographs(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """A datalist of one file, or of every radiograph in a folder and its subfolders, sorted by path.

    Args:
        path: file or folder, see :func:`list_folder`.

    Returns:
        dicts with "image" (absolute path) and "image_id" (unique, usable as a file name).

    Raises:
        InputError: no such path, or a folder without radiographs.
    """
    datalist = list_folder(path).datalist
    if not datalist:
        raise InputError(none_found(path))
    return datalist


def none_found(path: str | os.PathLike[str]) -> str:
    """Words for a folder without radiographs."""
    return f"{path}: expected a folder with radiographs ({' '.join(SUFFIXES)}), found none"


def unique_ids(paths: Sequence[str | PurePath]) -> list[str]:
    """One identifier for each path, usable as a file name and unique even where case is ignored.

    The first of these forms that is unique over the whole list is taken: file name without suffix, relative path
    without suffix, relative path with suffix, relative path with its index in the list.
    """
    relative = [PurePath(path) for path in paths]
    stems = [without_suffix(file.name) for file in relative]
    folders = ["_".join(file.parent.parts) for file in relative]
    forms = [
        stems,
        [f"{folder}_{stem}" if folder else stem for folder, stem in zip(folders, stems, strict=True)],
        [f"{folder}_{file.name}" if folder else file.name for folder, file in zip(folders, relative, strict=True)],
    ]
    forms.append([f"{name}_{index}" for index, name in enumerate(forms[-1])])
    for names in forms:
        if all(names) and len({name.casefold() for name in names}) == len(names):
            return names
    return [f"image_{index}" for index in range(len(relative))]


def without_suffix(name: str) -> str:
    """A file's name or path without the longest of ``SUFFIXES`` that it ends with, whatever their case."""
    known = max((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), key=len, default="")
    return name[: len(name) - len(known)]


def _why_left_out(path: Path) -> str | None:
    """Why a file of a folder is not taken for a radiograph; None where it is."""
    if not path.is_file():
        return "no regular file"
    if path.name.lower().endswith(SUFFIXES):
        return None
    try:
        with open(path, "rb") as stream:
            head = stream.read(_HEAD_BYTES)
        if head[128:132] == b"DICM" and _DIRECTORY in head:
            return "a directory of other files (DICOMDIR), not an image"
        if head.startswith(_ZIP):
            return "a zip archive, expected its files unpacked"
        sniff_format(path)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    except InputError:
        return f"its first bytes are none of {EXPECTED}"
    return None
