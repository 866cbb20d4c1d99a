"""State of the work with an archive, kept over restarts: results that were sent, reports that were read."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from monai_dgm.utils.sqlite import SqliteFile

__all__ = ["ArchiveState", "ReadReport"]

_FORMAT = 1  # change it with the meaning of the tables, and add a conversion: files of another format are refused
_ADVICE = "restore it from a backup, or move it away: then all reports are read and all images analysed again"
_TABLES = {
    "results": "image_id TEXT, version TEXT, outcome TEXT NOT NULL, PRIMARY KEY (image_id, version)",
    "reports": "uid TEXT PRIMARY KEY, study TEXT NOT NULL, reader TEXT, written TEXT NOT NULL, outcome TEXT NOT NULL",
}


@dataclass(frozen=True)
class ReadReport:
    """A report that was read.

    Attributes:
        uid: SOP Instance UID.
        study: Study Instance UID.
        reader: the author; None if the report is not a reader's label.
        written: local time in ISO 8601; empty if the report has none.
        outcome: "stored", "superseded", or why it is not a label.
    """

    uid: str
    study: str
    reader: str | None
    written: str
    outcome: str


class ArchiveState:
    """The state of one archive, in an SQLite file.

    Args:
        path: of the file; made if missing, with its folder.
        timeout: seconds to wait while another process writes.

    Raises:
        InputError: a file that is damaged or of another format, here and in every method. It is not made anew: the
            archive does not know which reports were read, and one that is read again may replace a later label.
    """

    def __init__(self, path: str | os.PathLike[str], timeout: float = 60.0) -> None:
        self._file = SqliteFile(path, _TABLES, _FORMAT, "an archive's state", _ADVICE, timeout=timeout)
        self.path = self._file.path

    def pending(self, image_ids: Iterable[str], version: str) -> list[str]:
        """Those of ``image_ids`` without a stored outcome for this version of the models, in the given order."""
        with self._file.reading() as connection:
            rows = connection.execute("SELECT image_id FROM results WHERE version = ?", (version,)).fetchall()
        done = {row[0] for row in rows}
        return [name for name in image_ids if name not in done]

    def store_result(self, image_id: str, version: str, outcome: str) -> None:
        """Store the outcome for an image: "sent", "left out" or "failed"."""
        with self._file.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?)", (image_id, version, outcome))

    def unread(self, uids: Iterable[str]) -> list[str]:
        """Those of ``uids`` that have not been read, in the given order."""
        with self._file.reading() as connection:
            known = {row[0] for row in connection.execute("SELECT uid FROM reports").fetchall()}
        return [uid for uid in uids if uid not in known]

    def store_report(self, report: ReadReport) -> None:
        """Store that a report was read."""
        values = (report.uid, report.study, report.reader, report.written, report.outcome)
        with self._file.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO reports VALUES (?, ?, ?, ?, ?)", values)

    def newest(self, study: str, reader: str) -> str | None:
        """Time of the newest stored report of a reader in a study; None if there is none."""
        query = "SELECT MAX(written) FROM reports WHERE study = ? AND reader = ? AND outcome = 'stored'"
        with self._file.reading() as connection:
            found = connection.execute(query, (study, reader)).fetchone()[0]
        return None if found is None else str(found)

    def counts(self) -> dict[str, dict[str, int]]:
        """Number of results and of reports for each outcome."""
        with self._file.reading() as connection:
            return {
                name: dict(Counter(row[0] for row in connection.execute(f"SELECT outcome FROM {name}").fetchall()))
                for name in _TABLES
            }
