"""Tables in an SQLite file: a commit is whole or not there, whoever is killed, and several processes may write."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from monai_dgm.errors import StorageError, in_one_line

__all__ = ["SqliteFile"]


class SqliteFile:
    """One file. Safe with several threads and with forked processes: every block has a connection of its own.

    A file of another format, older or newer, is refused and left as it is. Only where what it keeps can be made again,
    ``renewable``, are its tables emptied instead. A file without any table is a new one.

    Args:
        path: the file; made when missing, with its folder.
        tables: the columns of each table, as CREATE TABLE takes them.
        version: of the format, kept as PRAGMA user_version; raise it when the tables mean something else.
        content: what is kept, in the words of a message.
        advice: what to do with a file that cannot be used, in the words of a message.
        renewable: whether another format is emptied.
        timeout: seconds to wait for another process that writes.

    Raises:
        StorageError: a file that is damaged, cannot be opened, or has another format.
        sqlite3.OperationalError: locked for longer, or no space: the file itself is well.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        tables: Mapping[str, str],
        version: int,
        content: str,
        advice: str,
        renewable: bool = False,
        timeout: float = 60.0,
    ) -> None:
        self.path = Path(path)
        self.tables = dict(tables)
        self.version = version
        self.content = content
        self.advice = advice
        self.renewable = renewable
        self.timeout = timeout
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.writing() as connection:
            self._prepare(connection)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for queries; errors as those of the class, in the block too."""
        try:
            connection = sqlite3.connect(self.path, timeout=self.timeout, isolation_level=None)
        except sqlite3.Error as error:
            raise StorageError(f"{self.path}: expected a file of {self.content} ({error})") from error
        try:
            yield connection
        except sqlite3.DatabaseError as error:
            if type(error) is not sqlite3.DatabaseError:
                raise  # its subclasses: locked, no space; the file itself is well
            reason = in_one_line(error)
            raise StorageError(f"{self.path}: expected a file of {self.content} ({reason}); {self.advice}") from error
        finally:
            connection.close()  # rolls back what was not committed

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A connection with a transaction that nobody else writes in: kept when the block ends, undone when it raises;
        errors as those of the class."""
        with self.reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    def _prepare(self, connection: sqlite3.Connection) -> None:
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found != self.version:
            if not self.renewable and connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
                kind = f"{self.content} of format {self.version}, got format {found}"
                raise StorageError(f"{self.path}: expected a file of {kind}; {self.advice}")
            for name in self.tables:
                connection.execute(f"DROP TABLE IF EXISTS {name}")
            connection.execute(f"PRAGMA user_version = {self.version}")
        for name, columns in self.tables.items():
            connection.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns})")
