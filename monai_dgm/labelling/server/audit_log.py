"""The audit log: who viewed, labelled, changed, exported or deleted what, and when. One JSON object a line.

Lines are only added. Each line has a code (HMAC-SHA-256) of itself and of the code before it, so a line that is
changed, removed or moved is noticed; a second file has the number and the code of the last line, so that missing ones
at the end are, too. Image ids and study UIDs are there as a code alone. Whoever has the key can look for a known id,
and check the log:

python -m monai_dgm.labelling.server.audit_log FOLDER [--image ID] [--study UID] [--user NAME]
"""

from __future__ import annotations

import argparse
import hmac
import json
import os
import secrets
import stat
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from monai_dgm.errors import InputError, StorageError, in_one_line
from monai_dgm.labelling.labels.image_label import utc_now

__all__ = ["AuditLog", "main"]

SAME_SECONDS = 600.0
KEPT_LATELY = 10_000
CODE = "code"
_FIRST = "0" * 64
_HEAD = "{:>12} {}\n"


class AuditLog:
    """The log in a folder. Safe with several threads of one process.

    Args:
        folder: of ``audit.jsonl``, ``audit.key`` and ``audit.head``; made if missing.

    Raises:
        StorageError: the key can be read by others, or is damaged.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = self.folder / "audit.jsonl"
        self.head = self.folder / "audit.head"
        self._key = _read_key(self.folder / "audit.key")
        self._lock = threading.Lock()
        self._lately: dict[tuple[str | None, ...], float] = {}
        if not self.path.exists() or (not self.head.exists() and not self.path.stat().st_size):
            _overwrite(self.head, _HEAD.format(0, _FIRST).encode())
            _append(self.path, b"")
        self._number, self._last = self._end()
        told = _read_head(self.head)
        if told is not None and told[0] > self._number:  # the last lines were removed: it goes on from what they were
            self._number, self._last = told

    def code_of(self, kind: str, name: str) -> str:
        """What stands in the log for an image id ("image") or a study UID ("study")."""
        return f"{kind}:{self._code(f'{kind}:{name}')[:32]}"

    def add(self, event: str, user: str | None, about: str | None = None, **values: Any) -> int:
        """Write a line to the disk; returns its number.

        Args:
            event: "view", "label", "change", "export", "delete", "outcome" or "denied".
            user: name of the login; None where users do not log in.
            about: of :meth:`code_of`.
            values: more, such as the route or the status of the answer; no identifiers.

        Raises:
            OSError: it cannot be written, as on a full disk; then nothing may be done that should be in the log.
        """
        with self._lock:
            number = self._number + 1
            line = {"n": number, "time": utc_now(), "event": event, "user": user, "about": about, **values}
            code = self._code(self._last + _text(line))
            content = (_text({**line, CODE: code}) + "\n").encode("utf-8")
            _append(self.path, content)
            self._number, self._last = number, code
            _overwrite(self.head, _HEAD.format(number, code).encode())
            return number

    def add_once(self, event: str, user: str | None, route: str, about: str | None) -> None:
        """Write a line, unless an equal one was written in the last ten minutes: a viewer asks for one radiograph in
        many requests. Errors as :meth:`add`."""
        key, now = (event, user, route, about), time.monotonic()
        with self._lock:
            if now - self._lately.get(key, float("-inf")) < SAME_SECONDS:
                return
        self.add(event, user, about, route=route)
        with self._lock:
            if len(self._lately) >= KEPT_LATELY:
                self._lately = {one: at for one, at in self._lately.items() if now - at < SAME_SECONDS}
            self._lately[key] = now

    def lines(
        self, image: str | None = None, study: str | None = None, user: str | None = None
    ) -> list[dict[str, Any]]:
        """The lines, oldest first: all, or those about an image or a study, or of a user, with their outcomes.

        Raises:
            StorageError: the log was changed; the message says where.
        """
        found = list(self._checked())
        abouts = {self.code_of("image", image)} if image else set()
        abouts |= {self.code_of("study", study)} if study else set()
        chosen = {
            line["n"]
            for line in found
            if (not abouts or line["about"] in abouts) and (user is None or line["user"] == user)
        }
        return [line for line in found if line["n"] in chosen or line.get("of") in chosen]

    def _checked(self) -> Iterator[dict[str, Any]]:
        last, number = _FIRST, 0
        with self._lock:  # a line is being written, or none
            content = self.path.read_bytes() if self.path.is_file() else b""
            head = _read_head(self.head)
        for line in content.split(b"\n"):
            values = _parsed(line)
            if values is None:  # half a line of a process that was killed: the next one goes on from the line before
                continue
            code = values.pop(CODE, None)
            if values.get("n") != number + 1 or code != self._code(last + _text(values)):
                raise StorageError(f"{self.path}: a line after line {number} is missing or was changed")
            number, last = number + 1, code
            if head is not None and number == head[0] and last != head[1]:
                raise StorageError(f"{self.path}: line {number} is not the one that was written")
            yield {**values, CODE: code}
        if head is None:
            raise StorageError(f"{self.head}: expected the number and the code of the last line")
        if number < head[0]:
            raise StorageError(f"{self.path}: expected {head[0]} lines, got {number}: the last ones are missing")

    def _end(self) -> tuple[int, str]:
        if not self.path.is_file():
            return 0, _FIRST
        content = self.path.read_bytes()
        if content and not content.endswith(b"\n"):
            _append(self.path, b"\n")
        for line in reversed(content.split(b"\n")):
            values = _parsed(line)
            if values is not None and isinstance(values.get("n"), int) and isinstance(values.get(CODE), str):
                return values["n"], values[CODE]
        return 0, _FIRST

    def _code(self, text: str) -> str:
        return hmac.new(self._key, text.encode("utf-8"), "sha256").hexdigest()


def _read_key(path: Path) -> bytes:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write(secrets.token_hex(32))
            stream.flush()
            os.fsync(stream.fileno())
    except FileExistsError:
        pass
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise StorageError(f"{path}: expected a key that its owner alone can read (chmod 600)")
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except ValueError:
        key = b""
    if len(key) != 32:
        raise StorageError(f"{path}: expected a key of 64 hexadecimal digits; restore it from a backup")
    return key


def _append(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        if os.write(handle, content) != len(content):  # the rest does not fit: the line counts as never written
            os.write(handle, b"\n")
            raise OSError(28, os.strerror(28))
        os.fsync(handle)
    finally:
        os.close(handle)


def _overwrite(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.pwrite(handle, content, 0)
        os.fsync(handle)
    finally:
        os.close(handle)


def _read_head(path: Path) -> tuple[int, str] | None:
    try:
        number, code = path.read_text(encoding="ascii").split()
        return int(number), code
    except (OSError, ValueError):
        return None


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        values = json.loads(line)
    except ValueError:
        return None
    return values if isinstance(values, dict) else None


def _text(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def main(arguments: list[str] | None = None) -> int:
    """Print the log as JSON lines; returns 1 if it was changed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="`audit` in the server's state folder")
    for name in ("image", "study", "user"):
        parser.add_argument(f"--{name}")
    given = parser.parse_args(arguments)
    try:
        if not (given.folder / "audit.key").is_file():
            raise InputError(f"{given.folder}: expected a folder with audit.key")
        for line in AuditLog(given.folder).lines(given.image, given.study, given.user):
            print(_text({name: value for name, value in line.items() if name != CODE}))
    except InputError as error:
        print(in_one_line(error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
