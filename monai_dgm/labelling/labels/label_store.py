"""A folder of labels: one file a submission, none ever written over.

``<hash of the image id>/<hash of the reader>/000001.json``, 000002.json, ...: a reader's latest number counts, the
others are its history. Ids and names from outside become paths only as SHA-256, so that no text from a request reaches
the file system, and nothing there tells a patient.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.image_label import MAX_IMAGE_ID, ImageLabel, checked_reader, checked_text
from monai_dgm.labelling.labels.json_input import read_json
from monai_dgm.utils.atomic import atomic_write

MAX_LABEL_BYTES = 1_000_000  # 400 boxes with long names take a tenth of it
LOCK_SECONDS = 60.0
_HASH = re.compile(r"[0-9a-f]{64}")
_FILE = re.compile(r"([0-9]{6,9})\.json")

Labels = list[ImageLabel]  # within the class, `list` is its method
Messages = list[str]


def read_label(path: str | os.PathLike[str]) -> ImageLabel:
    """One label file.

    Raises:
        InputError: naming the file: it cannot be read, or does not hold a label.
    """
    return ImageLabel.from_dict(read_json(path, MAX_LABEL_BYTES), str(path))


class LabelStore:
    """Labels of many readers in a folder; safe with several processes, and when one is killed at any moment.

    A submission is written aside and renamed under a lock, then it is there for good: a second reader has a folder
    of its own, and a reader's next submission the next number. A submission that says what the latest one says adds
    nothing, so that a client may repeat a request.

    Args:
        folder: made when missing.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def put(self, label: ImageLabel) -> int:
        """Keep a label; returns its number among the submissions of its reader for its image, from 1."""
        folder = self._folder_of(label.image_id, label.reader)
        with FileLock(self.folder / ".lock").acquire(timeout=LOCK_SECONDS, poll_interval=0.01):
            for partial in folder.glob(".partial-*"):  # of a process that was killed: nobody else holds the lock
                partial.unlink(missing_ok=True)
            numbers = _numbers(folder)
            if numbers and _says_the_same(folder / _file_name(numbers[-1]), label):
                return numbers[-1]
            number = numbers[-1] + 1 if numbers else 1
            with atomic_write(folder / _file_name(number)) as partial:
                partial.write_text(json.dumps(label.as_dict(), ensure_ascii=False, indent=1), encoding="utf-8")
        return number

    def get(self, image_id: str, reader: str) -> ImageLabel | None:
        """A reader's current label of an image, None where there is none.

        Raises:
            InputError: an id or a reader that cannot be one, or a damaged file.
        """
        folder = self._folder_of(image_id, reader)
        numbers = _numbers(folder)
        return _read_checked(folder / _file_name(numbers[-1])) if numbers else None

    def history(self, image_id: str, reader: str) -> Labels:
        """Everything a reader submitted for an image, oldest first; the last is the current label.

        Raises:
            InputError: as :meth:`get`.
        """
        folder = self._folder_of(image_id, reader)
        return [_read_checked(folder / _file_name(number)) for number in _numbers(folder)]

    def list(self, image_id: str | None = None, bad: Messages | None = None) -> Labels:
        """The current label of every reader, of one image or of all, sorted by image and reader.

        Args:
            image_id: one image; None for all.
            bad: takes the messages of damaged files, which are then left out instead of raising.

        Raises:
            InputError: an id that cannot be one, or a damaged file.
        """
        found: Labels = []
        for path in self._current(image_id):
            try:
                found.append(_read_checked(path))
            except InputError as error:
                if bad is None:
                    raise
                bad.append(str(error))
        return sorted(found, key=lambda label: (label.image_id, label.reader))

    def image_ids(self, bad: Messages | None = None) -> set[str]:
        """The images that have a label; ``bad`` as in :meth:`list`."""
        return {label.image_id for label in self.list(bad=bad)}

    def _folder_of(self, image_id: str, reader: str) -> Path:
        name = checked_reader(reader)
        return self._image_folder(image_id) / _hash(name)

    def _image_folder(self, image_id: str) -> Path:
        return self.folder / _hash(checked_text(image_id, "an image id", MAX_IMAGE_ID))

    def _current(self, image_id: str | None) -> Iterator[Path]:
        images = _folders(self.folder) if image_id is None else [self._image_folder(image_id)]
        for image in images:
            for reader in _folders(image):
                numbers = _numbers(reader)
                if numbers:
                    yield reader / _file_name(numbers[-1])


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _file_name(number: int) -> str:
    return f"{number:06d}.json"


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _folders(folder: Path) -> list[Path]:
    return [folder / name for name in _names(folder) if _HASH.fullmatch(name)]


def _numbers(folder: Path) -> list[int]:
    return sorted(int(match[1]) for name in _names(folder) if (match := _FILE.fullmatch(name)))


def _read_checked(path: Path) -> ImageLabel:
    label = read_label(path)
    if (path.parent.parent.name, path.parent.name) != (_hash(label.image_id), _hash(label.reader)):
        raise InputError(f"{path}: expected the label of the image and reader that the folders stand for, got another")
    return label


def _says_the_same(path: Path, label: ImageLabel) -> bool:
    try:
        return replace(_read_checked(path), time=label.time) == label
    except InputError:  # damaged by hand: it stays, and must not keep the next submission out
        return False
