"""Fingerprints: of the content, remembered, and forgotten when the file changes."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from monai_dgm.data import fingerprints as module
from monai_dgm.data.fingerprints import Fingerprints
from monai_dgm.errors import InputError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "Doe_Jane.png"
    path.write_bytes(b"content")
    os.utime(path, (time.time() - 100, time.time() - 100))
    return path


def test_remembered_until_the_file_changes(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Fingerprints(tmp_path)
    assert first(str(file)) == hashlib.sha256(b"content").hexdigest()
    first.save()
    assert "Doe" not in (tmp_path / "fingerprints.json").read_text()
    monkeypatch.setattr(module, "hash_file", lambda path: "hashed again")
    assert Fingerprints(tmp_path)(str(file)) == hashlib.sha256(b"content").hexdigest()
    file.write_bytes(b"CONTENT")
    assert Fingerprints(tmp_path)(str(file)) == "hashed again"


def test_a_file_written_just_now_is_not_remembered(tmp_path: Path, file: Path) -> None:
    file.write_bytes(b"new")
    memory = Fingerprints(tmp_path)
    memory(str(file))
    memory.save()
    assert not (tmp_path / "fingerprints.json").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', '{"a": [1]}', "null"])
def test_a_damaged_memory_is_forgotten(tmp_path: Path, file: Path, content: str) -> None:
    (tmp_path / "fingerprints.json").write_text(content)
    memory = Fingerprints(tmp_path)
    assert memory(str(file)) == hashlib.sha256(b"content").hexdigest()
    memory.save()
    assert len(Fingerprints(tmp_path)._known) == 1


def test_two_memories_add_up(tmp_path: Path, file: Path) -> None:
    other = tmp_path / "other.png"
    other.write_bytes(b"other")
    os.utime(other, (1, 1))
    one, two = Fingerprints(tmp_path), Fingerprints(tmp_path)
    one(str(file))
    two(str(other))
    one.save()
    two.save()
    assert len(Fingerprints(tmp_path)._known) == 2


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.png: expected a readable file"):
        Fingerprints(tmp_path)(str(tmp_path / "none.png"))
