"""A folder of labels: one file per submission, and no file is ever overwritten.

``<hash of the image id>/<hash of the reader>/000001.json``, 000002.json, ...: the file with a reader's highest number
is the current label, the others are its history. Ids and names from outside become paths only as SHA-256, so that no
text from a request reaches the file system and no path identifies a patient.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.image_label import MAX_IMAGE_ID, ImageLabel, checked_reader, checked_text
from monai_dgm.labelling.labels.json_input import read_json
from monai_dgm.utils.atomic import write_json

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
    """Labels of many readers in a folder. Several processes may use it, and each may be killed at any moment.

    A submission is written to a partial file and renamed, under a lock. After that it is never changed: each reader has
    a folder, and each submission of a reader the next number. A submission that equals the reader's current label
    (apart from its time) adds no file, so a client may repeat a request.

    Args:
        folder: of the labels; it is made if it is missing.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def put(self, label: ImageLabel) -> int:
        """Store a label. Returns its number among its reader's submissions for the image, from 1."""
        folder = self._folder_of(label.image_id, label.reader)
        with FileLock(self.folder / ".lock").acquire(timeout=LOCK_SECONDS, poll_interval=0.01):
            for partial in folder.glob(".partial-*"):  # of a process that was killed: no other process has the lock
                partial.unlink(missing_ok=True)
            numbers = _numbers(folder)
            if numbers and _equals_stored(folder / _file_name(numbers[-1]), label):
                return numbers[-1]
            number = numbers[-1] + 1 if numbers else 1
            write_json(folder / _file_name(number), label.as_dict(), ensure_ascii=False)
        return number

    def remove(self, image_id: str, reader: str | None = None) -> int:
        """Delete the labels of a reader for an image, or of all its readers, with their history.

        Returns:
            The number of files.

        Raises:
            InputError: an invalid image id or reader.
        """
        image = self._image_folder(image_id)
        readers = _folders(image) if reader is None else [self._folder_of(image_id, reader)]
        removed = 0
        with FileLock(self.folder / ".lock").acquire(timeout=LOCK_SECONDS, poll_interval=0.01):
            for folder in readers:
                for number in _numbers(folder):  # the newest last: after a kill, no older one is the current label
                    (folder / _file_name(number)).unlink()
                    removed += 1
                shutil.rmtree(folder, ignore_errors=True)
            if image.is_dir() and not _folders(image):
                shutil.rmtree(image, ignore_errors=True)
        return removed

    def get(self, image_id: str, reader: str) -> ImageLabel | None:
        """A reader's current label of an image; None if there is none.

        Raises:
            InputError: an invalid image id or reader, or a damaged file.
        """
        folder = self._folder_of(image_id, reader)
        numbers = _numbers(folder)
        return _read_checked(folder / _file_name(numbers[-1])) if numbers else None

    def history(self, image_id: str, reader: str) -> Labels:
        """All labels that a reader submitted for an image, oldest first; the last is the current one.

        Raises:
            InputError: as :meth:`get`.
        """
        folder = self._folder_of(image_id, reader)
        return [_read_checked(folder / _file_name(number)) for number in _numbers(folder)]

    def list(self, image_id: str | None = None, bad: Messages | None = None) -> Labels:
        """The current label of every reader, for one image or for all, sorted by image and reader.

        Args:
            image_id: one image; None for all.
            bad: list to which the messages of damaged files are added; without it, a damaged file raises.

        Raises:
            InputError: an invalid image id, or a damaged file.
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
        raise InputError(
            f"{path}: expected the label of the image and reader that its folders are named after, got another"
        )
    return label


def _equals_stored(path: Path, label: ImageLabel) -> bool:
    try:
        return replace(_read_checked(path), time=label.time) == label
    except InputError:  # damaged by hand: it stays there, and the next submission is stored
        return False
