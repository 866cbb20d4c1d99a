from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from monai_dgm.errors import InputError
from monai_dgm.labelling.archive.archive_state import ArchiveState, ReadReport


def test_what_is_done_is_kept(tmp_path: Path) -> None:
    ArchiveState(tmp_path / "a.sqlite").store_result("b", "v1", "sent")
    state = ArchiveState(tmp_path / "a.sqlite")
    assert state.pending(["c", "b", "a"], "v1") == ["c", "a"]
    assert state.pending(["b"], "v2") == ["b"]
    state.store_result("b", "v1", "failed")
    assert state.counts() == {"results": {"failed": 1}, "reports": {}}


def test_the_newest_report_that_counted(tmp_path: Path) -> None:
    state = ArchiveState(tmp_path / "a.sqlite")
    assert state.newest("study", "one") is None
    for uid, reader, written, outcome in (
        ("1", "one", "2026-01-02T00:00:00", "stored"),
        ("2", "one", "2026-01-03T00:00:00", "superseded"),
        ("3", "two", "2026-01-04T00:00:00", "stored"),
        ("4", None, "", "ours"),
    ):
        state.store_report(ReadReport(uid, "study", reader, written, outcome))
    assert state.newest("study", "one") == "2026-01-02T00:00:00"
    assert state.unread(["5", "4", "1"]) == ["5"]
    assert state.counts()["reports"] == {"stored": 2, "superseded": 1, "ours": 1}


def test_a_damaged_file_is_one_line_that_says_what_to_do_and_it_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    state = ArchiveState(path)
    state.store_result("a", "v1", "sent")
    path.write_bytes(path.read_bytes()[:5000])
    before = path.read_bytes()
    for attempt in (lambda: ArchiveState(path), state.counts, lambda: state.store_result("b", "v1", "sent")):
        with pytest.raises(
            InputError, match=r"a\.sqlite: expected a file of an archive's state .*move it away"
        ) as error:
            attempt()
        assert "\n" not in str(error.value)
    assert path.read_bytes() == before


def test_another_format_is_not_emptied(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    ArchiveState(path).store_result("b", "v1", "sent")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(InputError, match="got format 7"):
        ArchiveState(path)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT outcome FROM results").fetchall() == [("sent",)]
    connection.close()
