"""Properties of monai_dgm.utils.sqlite: whole commits, and one line where a file cannot be used."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import threading
from pathlib import Path

import pytest

from monai_dgm.errors import InputError
from monai_dgm.utils.sqlite import SqliteFile

TABLES = {"things": "name TEXT PRIMARY KEY, value INTEGER", "others": "name TEXT"}


def open_file(path: Path, version: int = 1, renewable: bool = False, timeout: float = 60.0) -> SqliteFile:
    return SqliteFile(path, TABLES, version, "things", "ask somebody", renewable, timeout)


def put(file: SqliteFile, *names: str) -> None:
    with file.writing() as connection:
        connection.executemany("INSERT INTO things VALUES (?, 1)", [(name,) for name in names])


def names(file: SqliteFile) -> list[str]:
    with file.reading() as connection:
        return [row[0] for row in connection.execute("SELECT name FROM things ORDER BY name").fetchall()]


def test_what_is_written_is_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    file = open_file(tmp_path / "new" / "a.sqlite")
    put(file, "a", "b")
    assert names(open_file(file.path)) == ["a", "b"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_block_that_raises_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    file = open_file(tmp_path / "a.sqlite")
    with pytest.raises(error), file.writing() as connection:
        connection.execute("INSERT INTO things VALUES ('half', 1)")
        raise error
    put(file, "a")  # and no lock
    assert names(file) == ["a"]


@pytest.mark.parametrize("other", [1, 3])
def test_another_format_is_refused_and_left_as_it_is(tmp_path: Path, other: int) -> None:
    path = tmp_path / "a.sqlite"
    put(open_file(path, other), "a")
    before = path.read_bytes()
    with pytest.raises(
        InputError, match=rf"a\.sqlite: expected .*things of format 2, got format {other}; ask somebody"
    ):
        open_file(path, 2)
    assert path.read_bytes() == before
    assert names(open_file(path, other)) == ["a"]


def test_tables_of_another_program_are_refused_where_nothing_may_be_emptied(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE things (other TEXT)")
    connection.close()
    with pytest.raises(InputError, match="got format 0"):
        open_file(path)


@pytest.mark.parametrize("other", [1, 3])
def test_another_format_is_emptied_where_it_can_be_made_again(tmp_path: Path, other: int) -> None:
    path = tmp_path / "a.sqlite"
    put(open_file(path, other), "a")
    assert names(open_file(path, 2, renewable=True)) == []
    put(open_file(path, 2, renewable=True), "b")
    assert names(open_file(path, 2, renewable=True)) == ["b"]


@pytest.mark.parametrize("renewable", [False, True])
def test_a_damaged_file_is_one_line_and_stays(tmp_path: Path, renewable: bool) -> None:
    path = tmp_path / "a.sqlite"
    path.write_bytes(b"no database\n" * 100)
    with pytest.raises(InputError, match=r"a\.sqlite: expected a file of things .*; ask somebody") as error:
        open_file(path, renewable=renewable)
    assert "\n" not in str(error.value)
    assert path.read_bytes() == b"no database\n" * 100


def test_damage_under_way_is_the_same_line(tmp_path: Path) -> None:
    file = open_file(tmp_path / "a.sqlite")
    put(file, *(f"{i:0200d}" for i in range(200)))
    content = file.path.read_bytes()
    file.path.write_bytes(content[: len(content) // 2])
    for attempt in (names, put, lambda file: open_file(file.path)):
        with pytest.raises(InputError, match=r"a\.sqlite: expected a file of things .*; ask somebody"):
            attempt(file)


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a file of things"):
        open_file(tmp_path)


def test_a_locked_file_is_no_damage(tmp_path: Path) -> None:
    file = open_file(tmp_path / "a.sqlite", timeout=0.05)
    put(file, "a")
    with file.writing() as connection:
        connection.execute("DELETE FROM things")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            put(file, "b")
        assert names(file) == ["a"]  # readers see what was there before


def test_no_space_is_no_damage(tmp_path: Path) -> None:
    file = open_file(tmp_path / "a.sqlite")
    with pytest.raises(sqlite3.OperationalError, match="full"), file.writing() as connection:
        connection.execute("PRAGMA max_page_count = 1")
        connection.executemany("INSERT INTO things VALUES (?, 1)", [(f"{i:0999d}",) for i in range(99)])
    assert names(file) == []


def test_threads_do_not_lose_what_they_read_before_they_write(tmp_path: Path) -> None:
    file = open_file(tmp_path / "a.sqlite")
    put(file, "a")

    def count() -> None:
        for _ in range(10):
            with file.writing() as connection:
                value = connection.execute("SELECT value FROM things").fetchone()[0]
                connection.execute("UPDATE things SET value = ?", (value + 1,))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with file.reading() as connection:
        assert connection.execute("SELECT value FROM things").fetchone()[0] == 41


def _die_half_way(path: Path) -> None:
    with open_file(path).writing() as connection:
        connection.execute("INSERT INTO things VALUES ('half', 1)")
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_killed_writer_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    writer = multiprocessing.get_context("fork").Process(target=_die_half_way, args=(path,))
    writer.start()
    writer.join()
    assert writer.exitcode == -signal.SIGKILL
    assert names(open_file(path)) == []
