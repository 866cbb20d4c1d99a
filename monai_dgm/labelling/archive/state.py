"""What has been done with an archive, kept over restarts: results sent, reports read.

An SQLite file: a commit is whole or not there, whoever is killed.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ArchiveState", "ReadReport"]

_FORMAT = 1  # raise it when the tables mean something else: an older file is then emptied
_TABLES = {
    "results": "image_id TEXT, version TEXT, outcome TEXT NOT NULL, PRIMARY KEY (image_id, version)",
    "reports": "uid TEXT PRIMARY KEY, study TEXT NOT NULL, reader TEXT, written TEXT NOT NULL, outcome TEXT NOT NULL",
}


@dataclass(frozen=True)
class ReadReport:
    """A report that was read.

    Args:
        uid: SOP Instance UID.
        study: its study.
        reader: who answers for it; None where that did not matter.
        written: local time in ISO 8601, empty where it does not say.
        outcome: what became of it: "stored", "superseded", or why it is no label.
    """

    uid: str
    study: str
    reader: str | None
    written: str
    outcome: str


class ArchiveState:
    """One archive's.

    Args:
        path: the file; made when missing, with its folder.
        timeout: seconds to wait for another process that writes.
    """

    def __init__(self, path: str | os.PathLike[str], timeout: float = 60.0) -> None:
        self.path = Path(path)
        self.timeout = timeout
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            current = connection.execute("PRAGMA user_version").fetchone()[0] == _FORMAT
            for name, columns in _TABLES.items():
                if not current:
                    connection.execute(f"DROP TABLE IF EXISTS {name}")
                connection.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns})")
            connection.execute(f"PRAGMA user_version = {_FORMAT}")

    def pending(self, image_ids: Iterable[str], version: str) -> list[str]:
        """Those of ``image_ids`` that nothing is noted of for a version of the models, as given."""
        with self._connection() as connection:
            rows = connection.execute("SELECT image_id FROM results WHERE version = ?", (version,)).fetchall()
        done = {row[0] for row in rows}
        return [name for name in image_ids if name not in done]

    def note_result(self, image_id: str, version: str, outcome: str) -> None:
        """Note what became of an image's results."""
        with self._connection() as connection:
            connection.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?)", (image_id, version, outcome))

    def unread(self, uids: Iterable[str]) -> list[str]:
        """Those of ``uids`` that have not been read, as given."""
        with self._connection() as connection:
            known = {row[0] for row in connection.execute("SELECT uid FROM reports").fetchall()}
        return [uid for uid in uids if uid not in known]

    def note_report(self, report: ReadReport) -> None:
        """Note a report."""
        values = (report.uid, report.study, report.reader, report.written, report.outcome)
        with self._connection() as connection:
            connection.execute("INSERT OR REPLACE INTO reports VALUES (?, ?, ?, ?, ?)", values)

    def newest(self, study: str, reader: str) -> str | None:
        """When the newest report was written that counted for a reader in a study; None where there was none."""
        query = "SELECT MAX(written) FROM reports WHERE study = ? AND reader = ? AND outcome = 'stored'"
        with self._connection() as connection:
            found = connection.execute(query, (study, reader)).fetchone()[0]
        return None if found is None else str(found)

    def counts(self) -> dict[str, dict[str, int]]:
        """How many results and reports ended in which way."""
        with self._connection() as connection:
            return {
                name: dict(Counter(row[0] for row in connection.execute(f"SELECT outcome FROM {name}").fetchall()))
                for name in _TABLES
            }

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.path, timeout=self.timeout, isolation_level="IMMEDIATE")
        try:
            with connection:
                yield connection
        finally:
            connection.close()
