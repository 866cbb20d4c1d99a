"""The one manifest that every system is trained and tested on: the chosen sources of a folder."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from monai_dgm.errors import InputError
from monai_dgm.report.table_files import write_rows

__all__ = ["choose_sources"]

_FILES = ("image", "lung_mask", "normal", "opacity_mask")


def choose_sources(
    dataset_dir: str | os.PathLike[str] | None, sources: Sequence[str] | None, folder: Path
) -> Path | None:
    """A folder with the images of some sources only.

    Args:
        dataset_dir: with a ``manifest.csv``; None for the embedded sample, which has one source.
        sources: to keep; None keeps all.
        folder: gets the shorter manifest, and links to the folders of the images.

    Returns:
        ``folder``; ``dataset_dir`` where nothing is to be chosen.

    Raises:
        InputError: no image of these sources, or one that lies outside ``dataset_dir``.
    """
    origin = None if dataset_dir is None else Path(dataset_dir).absolute()
    if origin is None or sources is None or not (origin / "manifest.csv").is_file():
        return origin
    with open(origin / "manifest.csv", encoding="utf-8-sig", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row.get("source") in sources]
    if not rows:
        raise InputError(f"{origin / 'manifest.csv'}: expected images of {', '.join(sources)}, there are none")
    paths = {Path(row[name]) for row in rows for name in _FILES if row.get(name)}
    outside = [path for path in paths if path.is_absolute() or ".." in path.parts]
    if outside:
        raise InputError(f"{origin / 'manifest.csv'}: expected images in this folder, got {outside[0]}")
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted({path.parts[0] for path in paths}):
        link = folder / name
        if not link.is_symlink():
            link.symlink_to(origin / name)
    write_rows(folder / "manifest.csv", rows)
    return folder
