"""SHA-256 of the bytes of files, stored so that unchanged files are not read again."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

from monai_dgm.errors import InputError
from monai_dgm.utils.atomic import write_json

SETTLED_SECONDS = 2.0  # a file this new may change again without a new time stamp, so it is not stored


def hash_file(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()


class Fingerprints:
    """Fingerprints of files, stored by path, size and modification time in ``folder/fingerprints.json``.

    Paths are stored as hashes only, because a file's name can identify a patient. A damaged file is ignored.

    Args:
        folder: of ``fingerprints.json``.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "fingerprints.json"
        self._known = self._load()
        self._changed = False

    def __call__(self, path: str) -> str:
        """The fingerprint of a file: the SHA-256 of its bytes, in hexadecimal.

        Raises:
            InputError: the file cannot be read.
        """
        try:
            status = os.stat(path)
            key = hashlib.sha256(os.path.abspath(path).encode("utf-8", "surrogateescape")).hexdigest()[:32]
            state = f"{status.st_size}:{status.st_mtime_ns}"
            known = self._known.get(key)
            if known is not None and known[0] == state:
                return known[1]
            digest = hash_file(path)
        except OSError as error:
            raise InputError(f"{path}: expected a readable file ({error.strerror})") from error
        if time.time() - status.st_mtime > SETTLED_SECONDS:
            self._known[key] = (state, digest)
            self._changed = True
        return digest

    def save(self) -> None:
        """Write new fingerprints, together with those that other processes wrote in the meantime."""
        if not self._changed:
            return
        merged = {**self._load(), **self._known}
        write_json(self.path, merged, indent=None)
        self._changed = False

    def _load(self) -> dict[str, tuple[str, str]]:
        try:
            values = json.loads(self.path.read_text(encoding="utf-8"))
            return {key: (str(state), str(digest)) for key, (state, digest) in values.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}
