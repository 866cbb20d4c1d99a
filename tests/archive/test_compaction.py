"""Small Parquet files become few, with the same rows, also where the process is killed in between."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from monai_dgm.archive import compaction
from monai_dgm.archive.compaction import compact
from monai_dgm.archive.parts import KEPT, ResultParts
from tests.programs import Programs

pytest.importorskip("pyarrow", reason="pyarrow is not installed (pip install -e '.[archive]')")

# ends the process, as a kill does, at the N-th time that a file is renamed or deleted
KILLED = """
import os, sys
from pathlib import Path
from monai_dgm.archive.compaction import compact
from monai_dgm.archive.parts import ResultParts
parts, left = ResultParts(sys.argv[1]), int(sys.argv[2])
def dying(call):
    def wrapped(*args, **options):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        return call(*args, **options)
    return wrapped
with parts.writer():
    os.replace, Path.unlink = dying(os.replace), dying(Path.unlink)
    compact(parts)
"""


def row(i: int) -> dict[str, Any]:
    content = hashlib.sha256(b"%d" % i).hexdigest()
    status = "failed" if i % 10 == 0 else "done"
    boxes = [{"box": [0.0, 1.0, 2.0, float(i)], "score": i / 100}]
    values = {"status": status, "opacity_boxes": boxes, "settings_sha256": "key"}
    return {"identifier": f"{i}.dcm", "source_stamp": f"s{i}", "content_sha256": content, **values}


@pytest.fixture
def parts(tmp_path: Path) -> ResultParts:
    """Some 26 small files with 1 to 3 rows each."""
    made = ResultParts(tmp_path)
    with made.writer():
        for i in range(0, 60, 3):
            made.store([row(j) for j in range(i, i + 3)])
    return made


def rows_of(parts: ResultParts) -> list[dict[str, Any]]:
    rows = [one for kind in KEPT.values() for path in parts.paths(kind) for one in parts._rows(path)]
    return sorted(rows, key=lambda one: one["identifier"])


def test_the_same_rows_in_fewer_files(parts: ResultParts, monkeypatch: pytest.MonkeyPatch) -> None:
    before, files = rows_of(parts), len(parts.paths())
    monkeypatch.setattr(compaction, "ROWS", 20)
    monkeypatch.setattr(compaction, "FEW", 3)
    with parts.writer():
        assert compact(parts) > 20
        assert rows_of(parts) == before and len(before) == 60
        assert len(parts.paths()) < files / 3
        done = parts.done("key")
        assert all(done.has_stamp(f"{i}.dcm", f"s{i}") for i in range(60))
        assert compact(parts) == 0  # what is large enough is left alone


def test_few_files_stay(tmp_path: Path) -> None:
    parts = ResultParts(tmp_path)
    with parts.writer():
        parts.store([row(1)])
        parts.store([row(2)])
        names = parts.paths()
        assert compact(parts) == 0 and parts.paths() == names


@pytest.mark.parametrize("step", [2, 3, 8])
def test_a_kill_loses_and_doubles_nothing(
    step: int, parts: ResultParts, programs: Programs, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Before and after the rename of the merged file, and among the deletions."""
    before = rows_of(parts)
    program = tmp_path_factory.mktemp("program") / "killed.py"
    program.write_text(KILLED)
    assert programs.run([program, parts.folder, step]).returncode == 9
    names = {one["identifier"] for one in rows_of(parts)}
    assert names == {one["identifier"] for one in before}  # nothing is lost at once
    with parts.writer():
        compact(parts)
    assert rows_of(parts) == before
    assert not os.path.exists(parts.folder / compaction.JOURNAL)
