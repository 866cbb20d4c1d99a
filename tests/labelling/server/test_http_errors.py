"""What a client of the server is told of an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_dgm.errors import InputError, StorageError
from monai_dgm.labelling.server.http_errors import (
    ArchiveAwayError,
    UnavailableError,
    UnknownError,
    answer_to,
    status_of,
)
from monai_dgm.utils.sqlite import SqliteFile


def test_an_error_has_the_status_of_its_kind() -> None:
    kinds = {InputError: 400, UnknownError: 404, UnavailableError: 503, ArchiveAwayError: 503, StorageError: 500}
    assert {kind: status_of(kind("words")) for kind in kinds} == kinds


def test_answers_are_one_line() -> None:
    assert answer_to(InputError("expected a number,\n  got a word")) == "expected a number, got a word"


def test_a_damaged_file_of_the_servers_own_is_not_named_to_clients(tmp_path: Path) -> None:
    path = tmp_path / "scores.sqlite"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(StorageError, match=r"scores\.sqlite") as caught:
        SqliteFile(path, {"things": "name TEXT"}, 1, "things", "delete it")
    assert status_of(caught.value) == 500 and answer_to(caught.value)
    assert "scores" not in answer_to(caught.value) and str(tmp_path) not in answer_to(caught.value)
