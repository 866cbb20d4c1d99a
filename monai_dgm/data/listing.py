"""The radiographs of a file or a folder, for inference, and identifiers for them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from monai_dgm.errors import InputError

SUFFIXES = (".dcm", ".dicom", ".png", ".jpg", ".jpeg", ".nii", ".nii.gz")


def list_radiographs(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """A datalist of one file, or of every radiograph in a folder and its subfolders, sorted by path.

    In a folder, files are taken by suffix (.dcm .png .jpg .jpeg .nii .nii.gz), and files without a suffix when they
    carry DICOM's magic word. Hidden files and folders are left out. Nothing is decoded.

    Args:
        path: file or folder.

    Returns:
        dicts with "image" (absolute path) and "image_id" (unique, usable as a file name).

    Raises:
        InputError: no such path, or a folder without radiographs.
    """
    root = Path(path).absolute()
    if root.is_file():
        return [{"image": str(root), "image_id": unique_ids([root.name])[0]}]
    if not root.is_dir():
        raise InputError(f"{path}: no such file or folder, expected radiographs ({' '.join(SUFFIXES)})")
    found: list[Path] = []
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith("."))
        found += [Path(folder, name) for name in sorted(files) if _is_radiograph(Path(folder, name))]
    if not found:
        raise InputError(f"{path}: expected a folder with radiographs ({' '.join(SUFFIXES)}), found none")
    identifiers = unique_ids([file.relative_to(root) for file in found])
    return [{"image": str(file), "image_id": name} for file, name in zip(found, identifiers, strict=True)]


def unique_ids(paths: Sequence[str | PurePath]) -> list[str]:
    """One identifier a path, unique whatever the case, usable as a file name: the plainest form that is unique.

    Tried in turn for the whole list: file name without suffix, the relative path without suffix, with suffix, and at
    last that with its place in the list.
    """
    relative = [PurePath(path) for path in paths]
    stems = [file.name[: -len(_suffix(file.name))] if _suffix(file.name) else file.name for file in relative]
    folders = ["_".join(file.parent.parts) for file in relative]
    forms = [
        stems,
        [f"{folder}_{stem}" if folder else stem for folder, stem in zip(folders, stems, strict=True)],
        [f"{folder}_{file.name}" if folder else file.name for folder, file in zip(folders, relative, strict=True)],
    ]
    forms.append([f"{name}_{place}" for place, name in enumerate(forms[-1])])
    for names in forms:
        if all(names) and len({name.casefold() for name in names}) == len(names):
            return names
    return [f"image_{place}" for place in range(len(relative))]


def _suffix(name: str) -> str:
    lower = name.lower()
    known = next((suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if lower.endswith(suffix)), "")
    return name[len(name) - len(known) :]


def _is_radiograph(path: Path) -> bool:
    if path.name.startswith(".") or not path.is_file():
        return False
    if _suffix(path.name):
        return True
    if path.suffix and not path.suffix[1:].isdigit():  # 1.2.840.113619 is a DICOM UID, not a suffix
        return False
    try:
        with open(path, "rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False
