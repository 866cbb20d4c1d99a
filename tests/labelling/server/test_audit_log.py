from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from monai_dgm.errors import StorageError
from monai_dgm.labelling.server import audit_log
from monai_dgm.labelling.server.audit_log import AuditLog, main


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path / "audit")


def fill(log: AuditLog, count: int = 5) -> None:
    for number in range(count):
        about = log.code_of("image", f"Doe_Jane_{number}")
        done = log.add("label", "rita", about, route="PUT /dgm/boxes")
        log.add("outcome", "rita", of=done, status=200)


def test_lines_are_found_by_image_and_user_and_hold_no_identifier(log: AuditLog) -> None:
    fill(log)
    log.add("delete", "adam", log.code_of("study", "1.2.3"), route="DELETE /dgm/studies")
    assert [line["event"] for line in log.lines(image="Doe_Jane_3")] == ["label", "outcome"]
    assert [line["user"] for line in log.lines(study="1.2.3")] == ["adam"]
    assert len(log.lines(user="rita")) == 10 and len(log.lines()) == 11 and log.lines(image="other") == []
    text = log.path.read_text()
    assert "Doe" not in text and "1.2.3" not in text
    other = AuditLog(log.folder.with_name("other"))
    assert other.code_of("image", "x") != log.code_of("image", "x")  # without the key nothing can be looked up


def test_a_line_that_was_removed_changed_or_moved_is_noticed(log: AuditLog) -> None:
    fill(log)
    whole = log.path.read_bytes().splitlines(keepends=True)
    forged = json.loads(whole[4]) | {"user": "rolf"}
    wrong = {
        "the first": whole[1:],
        "one": whole[:4] + whole[5:],
        "the last": whole[:-1],
        "all": [],
        "changed": [*whole[:4], json.dumps(forged, separators=(",", ":")).encode() + b"\n", *whole[5:]],
        "moved": [*whole[:4], whole[5], whole[4], *whole[6:]],
        "twice": [*whole, whole[-1]],
        "blanked": [*whole[:4], b"\n", *whole[5:]],
    }
    for name, lines in wrong.items():
        log.path.write_bytes(b"".join(lines))
        with pytest.raises(StorageError, match="audit.jsonl"):
            log.lines()
        assert main([str(log.folder)]) == 1, name
    log.path.write_bytes(b"".join(whole))
    assert len(log.lines()) == 10


def test_lines_that_were_removed_at_the_end_are_missed_after_a_restart(log: AuditLog) -> None:
    fill(log)
    whole = log.path.read_bytes().splitlines(keepends=True)
    for kept in (whole[:-2], []):
        log.path.write_bytes(b"".join(kept))
        again = AuditLog(log.folder)
        again.add("view", "rita")
        with pytest.raises(StorageError, match="missing"):
            again.lines()
    log.head.unlink()
    with pytest.raises(StorageError):
        AuditLog(log.folder).lines()


def test_a_server_that_is_killed_within_a_line_goes_on(log: AuditLog) -> None:
    fill(log, 2)
    with open(log.path, "ab") as stream:
        stream.write(b'{"n":5,"time":"2026-')
    again = AuditLog(log.folder)
    again.add("view", "rita")
    assert [line["n"] for line in again.lines()] == [1, 2, 3, 4, 5]


def test_lines_of_many_threads_are_one_chain(log: AuditLog) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: log.add("view", f"user {number}"), range(100)))
    assert [line["n"] for line in log.lines()] == list(range(1, 101))


def test_it_is_written_before_it_is_told(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bool] = []
    opened: list[int] = []
    real_open, real_sync = os.open, os.fsync
    monkeypatch.setattr(os, "open", lambda path, flags, *mode: (opened.append(flags), real_open(path, flags, *mode))[1])
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(True), real_sync(handle))[1])
    log.add("view", "rita")
    assert log.path.exists() and opened[0] & os.O_APPEND and not opened[0] & os.O_TRUNC and len(synced) == 2


def test_a_full_disk_is_an_error_and_leaves_the_chain_whole(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(log, 1)
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(
            os,
            "write",
            lambda handle, content: real(handle, content[:20]) if len(content) > 20 else real(handle, content),
        )
        with pytest.raises(OSError, match="No space"):
            log.add("label", "rita")
    log.add("label", "rita")
    assert [line["n"] for line in log.lines()] == [1, 2, 3]


def test_the_same_view_is_written_once_in_a_while(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        for user in ("rita", "rolf"):
            log.add_once("view", user, "GET /dgm/boxes", log.code_of("image", "a"))
    assert [line["user"] for line in log.lines()] == ["rita", "rolf"]
    monkeypatch.setattr(audit_log, "SAME_SECONDS", 0.0)
    log.add_once("view", "rita", "GET /dgm/boxes", log.code_of("image", "a"))
    assert len(log.lines()) == 3


def test_the_key_is_its_owners_alone(log: AuditLog) -> None:
    key = log.folder / "audit.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600 and stat.S_IMODE(log.path.parent.stat().st_mode) == 0o700
    key.chmod(0o644)
    with pytest.raises(StorageError, match="chmod 600"):
        AuditLog(log.folder)


def test_the_command_prints_it(log: AuditLog) -> None:
    fill(log)
    words = [sys.executable, "-m", audit_log.__name__, str(log.folder), "--image", "Doe_Jane_2"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()] == ["label", "outcome"]
    assert main([str(log.folder.parent)]) == 1
