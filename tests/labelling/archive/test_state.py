from __future__ import annotations

from pathlib import Path

from monai_dgm.labelling.archive.state import ArchiveState, ReadReport


def test_what_is_done_is_kept(tmp_path: Path) -> None:
    ArchiveState(tmp_path / "a.sqlite").note_result("b", "v1", "sent")
    state = ArchiveState(tmp_path / "a.sqlite")
    assert state.pending(["c", "b", "a"], "v1") == ["c", "a"]
    assert state.pending(["b"], "v2") == ["b"]
    state.note_result("b", "v1", "failed")
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
        state.note_report(ReadReport(uid, "study", reader, written, outcome))
    assert state.newest("study", "one") == "2026-01-02T00:00:00"
    assert state.unread(["5", "4", "1"]) == ["5"]
    assert state.counts()["reports"] == {"stored": 2, "superseded": 1, "ours": 1}
