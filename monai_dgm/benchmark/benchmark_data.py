"""The one manifest that every system is trained and tested on: the chosen sources of a folder."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from monai_dgm.errors import InputError
from monai_dgm.report.table_files import write_rows

__all__ = ["choose_sources"]

_FILES = ("image", "lung_mask", "normal", "opacity_mask")


def choose_sources(
    dataset_dir: str | os.PathLike[str] | None,
    sources: Sequence[str] | None,
    folder: Path,
    fold: int = 0,
    train_images: int | None = None,
) -> Path | None:
    """A folder with the images of some sources only.

    Args:
        dataset_dir: with a ``manifest.csv``; None for the embedded sample, which has one source.
        sources: to keep; None keeps all.
        folder: gets the shorter manifest, and links to the folders of the images.
        fold: the test fold, of which all images are kept.
        train_images: at most that many images of each label of each source in the other folds, with and without boxes;
            which ones does not depend on their order. None for all.

    Returns:
        ``folder``; ``dataset_dir`` where nothing is to be chosen.

    Raises:
        InputError: no image of these sources, or one that lies outside ``dataset_dir``.
    """
    origin = None if dataset_dir is None else Path(dataset_dir).absolute()
    whole = sources is None and train_images is None
    if origin is None or whole or not (origin / "manifest.csv").is_file():
        return origin
    with open(origin / "manifest.csv", encoding="utf-8-sig", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if sources is None or row.get("source") in sources]
    if not rows:
        raise InputError(f"{origin / 'manifest.csv'}: expected images of {', '.join(sources or ())}, there are none")
    rows = _fewer(rows, str(fold), train_images)
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


def _fewer(rows: list[dict[str, str]], fold: str, count: int | None) -> list[dict[str, str]]:
    """All rows of the test fold, and at most ``count`` of each kind of the others."""
    if count is None:
        return rows
    kinds: dict[tuple[str, ...], list[tuple[str, int]]] = {}
    for number, row in enumerate(rows):
        if row.get("fold") != fold:
            kind = (row.get("source", ""), row.get("label", ""), str(row.get("opacity_boxes") not in (None, "", "[]")))
            order = hashlib.sha256(row["image"].encode()).hexdigest()
            kinds.setdefault(kind, []).append((order, number))
    kept = {number for members in kinds.values() for _, number in sorted(members)[:count]}
    return [row for number, row in enumerate(rows) if row.get("fold") == fold or number in kept]
