"""What has been done with an archive, kept over restarts: results sent, reports read."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from monai_dgm.utils.sqlite import SqliteFile

__all__ = ["ArchiveState", "ReadReport"]

_FORMAT = 1  # raise it when the tables mean something else: a file of another one is refused, and needs a way over
_ADVICE = "restore it from a backup, or move it away: all reports are then read and all images looked at again"
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

    Raises:
        InputError: a file that is damaged or of another format, here and in every method. It stays as it is: which
            reports were read cannot be told from the archive, and one read again may replace a later label.
    """

    def __init__(self, path: str | os.PathLike[str], timeout: float = 60.0) -> None:
        self._file = SqliteFile(path, _TABLES, _FORMAT, "an archive's state", _ADVICE, timeout=timeout)
        self.path = self._file.path

    def pending(self, image_ids: Iterable[str], version: str) -> list[str]:
        """Those of ``image_ids`` that nothing is noted of for a version of the models, as given."""
        with self._file.reading() as connection:
            rows = connection.execute("SELECT image_id FROM results WHERE version = ?", (version,)).fetchall()
        done = {row[0] for row in rows}
        return [name for name in image_ids if name not in done]

    def note_result(self, image_id: str, version: str, outcome: str) -> None:
        """Note what became of an image's results."""
        with self._file.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?)", (image_id, version, outcome))

    def unread(self, uids: Iterable[str]) -> list[str]:
        """Those of ``uids`` that have not been read, as given."""
        with self._file.reading() as connection:
            known = {row[0] for row in connection.execute("SELECT uid FROM reports").fetchall()}
        return [uid for uid in uids if uid not in known]

    def note_report(self, report: ReadReport) -> None:
        """Note a report."""
        values = (report.uid, report.study, report.reader, report.written, report.outcome)
        with self._file.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO reports VALUES (?, ?, ?, ?, ?)", values)

    def newest(self, study: str, reader: str) -> str | None:
        """When the newest report was written that counted for a reader in a study; None where there was none."""
        query = "SELECT MAX(written) FROM reports WHERE study = ? AND reader = ? AND outcome = 'stored'"
        with self._file.reading() as connection:
            found = connection.execute(query, (study, reader)).fetchone()[0]
        return None if found is None else str(found)

    def counts(self) -> dict[str, dict[str, int]]:
        """How many results and reports ended in which way."""
        with self._file.reading() as connection:
            return {
                name: dict(Counter(row[0] for row in connection.execute(f"SELECT outcome FROM {name}").fetchall()))
                for name in _TABLES
            }
