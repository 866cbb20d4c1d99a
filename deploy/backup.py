"""Copy the label app's state folder while the server runs, into a tar file that only its owner can read.

python deploy/backup.py /var/lib/monai-dgm /backup/monai-dgm-2026-11-27.tar

To restore it: stop the server, and `tar -xpf FILE -C /var/lib/monai-dgm`.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path

LEFT_OUT = {"cache", "job"}  # instances of the archive, which it has itself, and the files of a running training


def main(state: Path, target: Path) -> None:
    """Write the backup.

    Raises:
        SystemExit: there is no such folder, or the file exists.
    """
    if not state.is_dir():
        sys.exit(f"backup: expected the state folder, got {state}")
    if target.exists():
        sys.exit(f"backup: expected the name of a new file, got {target}")
    partial = target.with_name(f"{target.name}.partial")
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as stream, tarfile.open(fileobj=stream, mode="w") as tar:
        for path in sorted(state.rglob("*"), key=_order):
            name = path.relative_to(state)
            if LEFT_OUT & set(name.parts) or path.name.startswith((".partial", ".lock")) or not path.is_file():
                continue
            if path.suffix == ".sqlite":
                _add_database(tar, path, str(name))
            elif not path.name.endswith((".sqlite-wal", ".sqlite-shm", ".sqlite-journal")):
                tar.add(path, str(name))
        stream.flush()
        os.fsync(stream.fileno())
    partial.rename(target)


def _order(path: Path) -> tuple[bool, str]:
    """The audit log after the number of its last line: a line that is written meanwhile is more, not less."""
    return path.name == "audit.jsonl", str(path)


def _add_database(tar: tarfile.TarFile, path: Path, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.sqlite"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as source, closing(sqlite3.connect(copy)) as to:
            source.backup(to)
        copy.chmod(path.stat().st_mode & 0o777)
        tar.add(copy, name)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: backup.py STATE_FOLDER NEW_FILE.tar")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
