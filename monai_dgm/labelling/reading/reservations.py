"""Reservations: a case that a reader has open is not offered to others, until it is submitted, skipped or closed, or
time runs out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable

from monai_dgm.utils.sqlite import SqliteFile

__all__ = ["Reservations"]

_FORMAT = 1
_COLUMNS = "image_id TEXT NOT NULL, reader TEXT NOT NULL, until REAL NOT NULL, PRIMARY KEY (image_id, reader)"


class Reservations:
    """Reservations in an SQLite file. Safe with several threads and processes.

    Args:
        path: the file; made if missing.
        minutes: how long a reservation holds after the reader opened the case, or did something on it.
        now: time in seconds, for tests.
    """

    def __init__(
        self, path: str | os.PathLike[str], minutes: float = 30.0, now: Callable[[], float] = time.time
    ) -> None:
        advice = "delete it, and cases are reserved anew"
        self._file = SqliteFile(path, {"reserved": _COLUMNS}, _FORMAT, "reservations", advice, renewable=True)
        self.minutes = minutes
        self.now = now

    def reserve(self, image_id: str, reader: str, places: int = 1) -> bool:
        """Reserve a case for a reader, or prolong it; false where others have reserved it ``places`` times.

        Args:
            image_id: of the case.
            reader: name.
            places: how many readers may have it open at once.
        """
        now = self.now()
        with self._file.writing() as connection:
            connection.execute("DELETE FROM reserved WHERE until <= ?", (now,))
            query = "SELECT COUNT(*) FROM reserved WHERE image_id = ? AND reader != ?"
            if connection.execute(query, (image_id, reader)).fetchone()[0] >= places:
                return False
            row = (image_id, reader, now + 60 * self.minutes)
            connection.execute("INSERT OR REPLACE INTO reserved VALUES (?, ?, ?)", row)
        return True

    def release(self, image_ids: Iterable[str], reader: str) -> None:
        """End a reader's reservations of some cases; the others stay, and so do those of other readers."""
        rows = [(image_id, reader) for image_id in image_ids]
        if rows:
            with self._file.writing() as connection:
                connection.executemany("DELETE FROM reserved WHERE image_id = ? AND reader = ?", rows)

    def all(self) -> dict[str, set[str]]:
        """The readers who have each case open, by image id."""
        with self._file.reading() as connection:
            query = "SELECT image_id, reader FROM reserved WHERE until > ?"
            rows = connection.execute(query, (self.now(),)).fetchall()
        found: dict[str, set[str]] = {}
        for image_id, reader in rows:
            found.setdefault(image_id, set()).add(reader)
        return found
