"""Helpers of the commands that read radiographs and write a JSON file of results."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from monai_dgm.data.fingerprints import hash_file
from monai_dgm.data.listing import list_folder, unique_ids
from monai_dgm.errors import InputError, UsageError
from monai_dgm.utils.atomic import write_text

__all__ = [
    "all_failed",
    "describe_model",
    "input_items",
    "relative_names",
    "weights_sha256",
    "without_folders",
    "write_results",
    "writing",
]

logger = logging.getLogger(__name__)


def input_items(
    datalist: str | os.PathLike[str] | Sequence[Mapping[str, Any]] | None,
    target: str | os.PathLike[str],
    output_files: Collection[str],
    results_file: str,
) -> tuple[list[Mapping[str, Any]], list[tuple[str, str]]]:
    """The radiographs of a file, a folder or a datalist, checked, and the other files of a folder with the reason.

    Args:
        datalist: a file, a folder (searched with its subfolders), or dicts with "image" and "image_id".
        target: folder of the outputs; what an earlier run wrote into ``target/<image_id>/`` is no input.
        output_files: names of the files that are written per image.
        results_file: name of the JSON in ``target``, which no image_id may have.

    Raises:
        InputError: an empty datalist, no such path, equal image_ids, or one that is no name for a folder.
        UsageError: None, as the inference bundles have it where no dataset_dir is given.
    """
    if datalist is None:
        raise UsageError("dataset_dir: expected a radiograph or a folder of them (DICOM, PNG, JPEG, NIfTI), got none")
    left_out: list[tuple[str, str]] = []
    items: list[Mapping[str, Any]]
    if isinstance(datalist, str | os.PathLike):
        items, left_out = _list_inputs(Path(datalist), Path(target), output_files)
    else:
        items = list(datalist)
        if not items:
            raise InputError("expected at least one radiograph, got none")
    seen: set[str] = set()
    for item in items:
        name = str(item["image_id"])
        if not name or name != Path(name).name or name.startswith(".") or name.casefold() == results_file:
            raise InputError(f"image_id {name!r}: expected a name that a folder can have")
        if name.casefold() in seen:
            raise InputError(f"image_id {name!r}: expected different ones, it comes twice")
        seen.add(name.casefold())
    return items, left_out


def _list_inputs(
    path: Path, target: Path, output_files: Collection[str]
) -> tuple[list[Mapping[str, Any]], list[tuple[str, str]]]:
    """A listing without what an earlier run wrote, when ``target`` lies within the folder."""
    listing, outputs = list_folder(path), target.absolute()
    listed = listing.datalist
    left_out = [(file, reason) for file, reason in listing.left_out if not Path(file).is_relative_to(outputs)]
    files = [Path(item["image"]) for item in listed]
    files = [f for f in files if not (f.name in output_files and f.absolute().parent.parent == outputs)]
    if len(files) == len(listed):
        return list(listed), left_out
    logger.info("%d files that an earlier run wrote into %s are left out", len(listed) - len(files), target)
    names = unique_ids([file.relative_to(path.absolute()) for file in files])
    return [{"image": str(file), "image_id": name} for file, name in zip(files, names, strict=True)], left_out


def relative_names(paths: Sequence[str]) -> list[str]:
    """Paths relative to the deepest folder that holds them all, so that no folder above it is named."""
    if not paths:
        return []
    folder = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    return [Path(os.path.relpath(os.path.abspath(path), folder)).as_posix() for path in paths]


def without_folders(reason: str, item: Mapping[str, Any]) -> str:
    """A reason in one line, in which paths are replaced by names: results give the file's name separately."""
    path, mask = str(item["image"]), item.get("lung_mask")
    line = " ".join(reason.split()).replace(f"{path}: ", "").replace(path, Path(path).name)
    return line if mask is None else line.replace(str(mask), Path(mask).name)


def describe_model(path: str | os.PathLike[str]) -> dict[str, str]:
    """Name and SHA-256 of a file of weights.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        return {"file": Path(path).name, "sha256": hash_file(path)}
    except OSError as error:
        raise InputError(f"{path}: expected the file of the model ({error.strerror})") from error


def weights_sha256(path: str | os.PathLike[str] | None) -> str | None:
    """SHA-256 of weights that a training starts from or looks at, for the settings of what it trains; None for none.

    Settings name no path: it says nothing on another machine.

    Raises:
        InputError: no such file.
    """
    return None if path is None else describe_model(path)["sha256"]


def write_results(path: Path, results: Mapping[str, Any]) -> None:
    """Write results as JSON, a box on one line.

    Raises:
        InputError: the folder cannot be written, or a full disk.
    """
    text = json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    # strings hold no line breaks, so none of them is touched
    text = re.sub(r"\[\n([-+\d.e,\s]+)\]", lambda numbers: f"[{' '.join(numbers[1].split())}]", text)
    with writing(path.parent):
        write_text(path, text)


def all_failed(failed: Sequence[Mapping[str, str]], done: str) -> str:
    """Words for the case that no file could be ``done`` ("decomposed")."""
    first = f"{failed[0]['file']}: {failed[0]['reason']}"
    return first if len(failed) == 1 else f"none of {len(failed)} files could be {done}; the first: {first}"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tell what stops every further file, such as a full disk, in one line."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(f"{path}: no space left, expected up to 20 MB for the outputs of an image") from error
        raise InputError(f"{path}: expected a folder that can be written ({error.strerror or error})") from error
