"""Many small Parquet files of a run become few: those of an archive of a million images would be thirty thousand.

A merged file is written aside and renamed, then the files whose rows it has are deleted. Before that,
``compaction.json`` names them all: who comes after a kill in between deletes what is left of them, so that no row is
lost or doubled.
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

from monai_dgm.archive.packages import import_package
from monai_dgm.archive.parts import KEPT, ResultParts, opened
from monai_dgm.engines.files import writing
from monai_dgm.utils.atomic import atomic_write, write_json

__all__ = ["compact"]

ROWS = 20_000  # of a merged file; of an image with its boxes and burden, some kilobytes in memory
FEW = 8  # files that are not worth merging
JOURNAL = "compaction.json"


def compact(parts: ResultParts) -> int:
    """Merge the small files of rows that stay; within :meth:`ResultParts.writer`, while no task of the run writes.

    Returns:
        number of files that were merged.

    Raises:
        InputError: a damaged file, or a full disk.
    """
    with writing(parts.images):
        _finish(parts)
        merged = 0
        for kind in KEPT.values():
            for group in _groups(parts.paths(kind)):
                _merge(parts, kind, group)
                merged += len(group)
    return merged


def _groups(paths: list[Path]) -> list[list[Path]]:
    """Small files that together have at least the rows of a merged file, and the last ones if they are not few."""
    groups: list[list[Path]] = [[]]
    rows = 0
    for path in paths:
        with opened(path) as file:
            own = file.metadata.num_rows
        if own < ROWS / 2:
            groups[-1].append(path)
            rows += own
            if rows >= ROWS:
                groups.append([])
                rows = 0
    return groups[:-1] + ([groups[-1]] if len(groups[-1]) >= FEW else [])


def _merge(parts: ResultParts, kind: str, group: list[Path]) -> None:
    pa, pq = import_package("pyarrow"), import_package("pyarrow.parquet")
    table = pa.concat_tables(map(_table, group))
    target = parts.images / f"{kind}-{secrets.token_hex(16)}.parquet"
    write_json(parts.folder / JOURNAL, {"merged": target.name, "parts": [path.name for path in group]})
    with atomic_write(target) as partial:
        pq.write_table(table, partial, compression="zstd")
    _finish(parts)


def _finish(parts: ResultParts) -> None:
    """Delete the files that a merged file replaces, also after a kill."""
    journal = parts.folder / JOURNAL
    if not journal.exists():
        return
    values = json.loads(journal.read_text())
    if (parts.images / values["merged"]).exists():
        for name in values["parts"]:
            (parts.images / name).unlink(missing_ok=True)
    journal.unlink()


def _table(path: Path) -> Any:
    with opened(path) as file:
        return file.read()
