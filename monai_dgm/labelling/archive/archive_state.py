"""State of the work with an archive, kept over restarts: results that were sent, reports that were read, changes of
the archive that were dealt with."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from monai_dgm.labelling.labels.image_label import utc_now
from monai_dgm.utils.sqlite import SqliteFile

__all__ = ["FAILED", "ArchiveState", "Failure", "ReadReport"]

FAILED = "failed"  # outcome
_FORMAT = 1  # change it with the meaning of the tables, and add a conversion: files of another format are refused
_ADVICE = "restore it from a backup, or move it away: then all reports are read and all images analysed again"
_COUNTED = {
    "results": "image_id TEXT, version TEXT, outcome TEXT NOT NULL, PRIMARY KEY (image_id, version)",
    "reports": "uid TEXT PRIMARY KEY, study TEXT NOT NULL, reader TEXT, written TEXT NOT NULL, outcome TEXT NOT NULL",
}
_TABLES = {
    **_COUNTED,
    "failures": "image_id TEXT PRIMARY KEY, reason TEXT NOT NULL, time TEXT NOT NULL",
    "senders": "uid TEXT PRIMARY KEY, user TEXT NOT NULL",  # of objects that came through this server
    "replaced": "image_id TEXT PRIMARY KEY, number INTEGER NOT NULL",  # how often the instance was replaced
    "orthanc_files": "id TEXT PRIMARY KEY, file TEXT NOT NULL",  # also of instances that were deleted
    "orthanc_log": "entry TEXT NOT NULL",  # at most one row
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


@dataclass(frozen=True)
class Failure:
    """An image without results.

    Attributes:
        image_id: SOP Instance UID.
        reason: one line without patient data.
        time: UTC.
    """

    image_id: str
    reason: str
    time: str


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
        self.revision = 0  # grows when an image is to be analysed again

    def pending(self, image_ids: Iterable[str], version: str) -> list[str]:
        """Those of ``image_ids`` without a stored outcome for this version of the models, in the given order.

        An instance that was replaced is a new one.
        """
        number = "SELECT number FROM replaced WHERE image_id = ?"
        done = "SELECT 1 FROM results WHERE image_id = ? AND version = ?"
        left: list[str] = []
        with self._file.reading() as connection:
            for name in image_ids:
                key = _key(version, (connection.execute(number, (name,)).fetchone() or (0,))[0])
                if connection.execute(done, (name, key)).fetchone() is None:
                    left.append(name)
        return left

    def key(self, image_id: str, version: str) -> str:
        """What the results of an image are stored under: the version, and the number of times it was replaced."""
        with self._file.reading() as connection:
            row = connection.execute("SELECT number FROM replaced WHERE image_id = ?", (image_id,)).fetchone()
        return _key(version, 0 if row is None else int(row[0]))

    def store_result(self, image_id: str, version: str, outcome: str, reason: str = "") -> None:
        """Store the outcome for an image: "sent", "left out", "deleted" or "failed", the latter with its reason."""
        key = self.key(image_id, version)
        with self._file.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?)", (image_id, key, outcome))
            connection.execute("DELETE FROM failures WHERE image_id = ?", (image_id,))
            if outcome == FAILED:
                connection.execute("INSERT INTO failures VALUES (?, ?, ?)", (image_id, reason, utc_now()))

    def mark_replaced(self, image_ids: Iterable[str]) -> None:
        """Store that instances were replaced: results of the earlier ones do not count any more."""
        insert = "INSERT INTO replaced VALUES (?, 1) ON CONFLICT (image_id) DO UPDATE SET number = number + 1"
        with self._file.writing() as connection:
            connection.executemany(insert, [(name,) for name in image_ids])

    def failures(self) -> list[Failure]:
        """The images that could not be analysed, the latest first."""
        query = "SELECT image_id, reason, time FROM failures ORDER BY time DESC, image_id"
        with self._file.reading() as connection:
            return [Failure(*map(str, row)) for row in connection.execute(query).fetchall()]

    def retry(self, image_id: str | None = None) -> int:
        """Forget the failure of an image, or of all images, so that it is tried again; returns their number."""
        where, values = ("", ()) if image_id is None else (" AND image_id = ?", (image_id,))
        self.revision += 1
        with self._file.writing() as connection:
            connection.execute(f"DELETE FROM results WHERE outcome = '{FAILED}'{where}", values)
            return int(connection.execute(f"DELETE FROM failures WHERE 1{where}", values).rowcount)

    def sent(self, image_ids: Iterable[str]) -> dict[str, list[str]]:
        """:meth:`key` of all results that were sent, for each of some images."""
        names = list(image_ids)
        found: dict[str, list[str]] = {name: [] for name in names}
        query = "SELECT version FROM results WHERE image_id = ? AND outcome = 'sent'"
        with self._file.reading() as connection:
            for name in names:
                found[name] = [str(row[0]) for row in connection.execute(query, (name,)).fetchall()]
        return found

    def mark_deleted(self, image_id: str) -> None:
        """Store that an image's results were deleted."""
        with self._file.writing() as connection:
            connection.execute("UPDATE results SET outcome = 'deleted' WHERE image_id = ?", (image_id,))

    def store_sender(self, uid: str, user: str) -> str:
        """Store which user sends an object; returns the user who sent it first."""
        with self._file.writing() as connection:
            connection.execute("INSERT OR IGNORE INTO senders VALUES (?, ?)", (uid, user))
            return str(connection.execute("SELECT user FROM senders WHERE uid = ?", (uid,)).fetchone()[0])

    def sender(self, uid: str) -> str | None:
        """The user who sent an object through this server; None for one that came into the archive another way."""
        with self._file.reading() as connection:
            found = connection.execute("SELECT user FROM senders WHERE uid = ?", (uid,)).fetchone()
        return None if found is None else str(found[0])

    def unread(self, uids: Iterable[str]) -> list[str]:
        """Those of ``uids`` that have not been read, in the given order."""
        query = "SELECT 1 FROM reports WHERE uid = ?"
        with self._file.reading() as connection:
            return [uid for uid in uids if connection.execute(query, (uid,)).fetchone() is None]

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

    def last_entry(self) -> dict[str, Any] | None:
        """The last entry of Orthanc's log of changes that was dealt with; None without one."""
        with self._file.reading() as connection:
            found = connection.execute("SELECT entry FROM orthanc_log").fetchone()
        return None if found is None else dict(json.loads(found[0]))

    def files(self, identifiers: Iterable[str]) -> dict[str, str]:
        """Orthanc's name of the file that an instance had last, by Orthanc's identifiers; known ones alone."""
        found: dict[str, str] = {}
        with self._file.reading() as connection:
            for name in identifiers:
                row = connection.execute("SELECT file FROM orthanc_files WHERE id = ?", (name,)).fetchone()
                found |= {} if row is None else {name: str(row[0])}
        return found

    def store_log(self, entry: Mapping[str, Any] | None, files: Mapping[str, str]) -> None:
        """Store the last entry of Orthanc's log, and files that have changed."""
        with self._file.writing() as connection:
            connection.executemany("INSERT OR REPLACE INTO orthanc_files VALUES (?, ?)", files.items())
            connection.execute("DELETE FROM orthanc_log")
            if entry is not None:
                connection.execute("INSERT INTO orthanc_log VALUES (?)", (json.dumps(entry),))

    def counts(self) -> dict[str, dict[str, int]]:
        """Number of results and of reports for each outcome."""
        with self._file.reading() as connection:
            return {
                name: dict(Counter(row[0] for row in connection.execute(f"SELECT outcome FROM {name}").fetchall()))
                for name in _COUNTED
            }


def _key(version: str, replaced: int) -> str:
    return f"{version}@{replaced}" if replaced else version
