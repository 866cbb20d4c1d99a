"""Answers of readers: one file a reader, one JSON line an answer, on the disk before the next pair is shown."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from monai_dgm.errors import InputError
from monai_dgm.reader_study.study import reader_code

SIDES = ("left", "right")


@dataclass
class ReaderAnswers:
    """What one reader answered.

    Attributes:
        reader: code.
        choices: "left" or "right" of each trial, in the order of the answers.
        damaged: lines that cannot be read, such as one that was cut by a kill and never confirmed to the reader.
    """

    reader: str
    choices: dict[str, str] = field(default_factory=dict)
    damaged: int = 0


class AnswerLog:
    """The answers to one study. Several processes may append at once.

    Args:
        folder: of the readers' files; made when missing.
        study: random name of the study.
    """

    def __init__(self, folder: Path, study: str) -> None:
        self.folder = folder
        self.study = study

    def start(self, reader: str) -> ReaderAnswers:
        """What a reader answered so far. The first call notes that the reader began."""
        with self._opened(reader) as (stream, answers):
            if os.fstat(stream).st_size == 0:
                self._append(stream, reader, {})
        return answers

    def add(self, reader: str, trial: str, choice: str, seconds: float) -> ReaderAnswers:
        """Append an answer; a trial that has one keeps its first, so that a request may be sent again.

        Returns:
            All answers of the reader, this one included.
        """
        if choice not in SIDES:
            raise InputError(f"expected the choice left or right, got {choice!r}")
        with self._opened(reader) as (stream, answers):
            if trial not in answers.choices:
                self._append(stream, reader, {"trial": trial, "choice": choice, "seconds": round(seconds, 3)})
                answers.choices[trial] = choice
        return answers

    @contextmanager
    def _opened(self, reader: str) -> Iterator[tuple[int, ReaderAnswers]]:
        if reader != reader_code(reader):
            raise InputError("expected a reader's code in small letters")
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{reader}.jsonl"
        stream = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield stream, read_answers(path, self.study)
        finally:
            os.close(stream)

    def _append(self, stream: int, reader: str, values: dict[str, Any]) -> None:
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        line = json.dumps({"study": self.study, "reader": reader, "time": now} | values).encode() + b"\n"
        length = os.fstat(stream).st_size
        if length and os.pread(stream, 1, length - 1) != b"\n":
            line = b"\n" + line  # after a line that a kill cut
        if os.write(stream, line) != len(line):
            raise OSError("the answer could not be written whole")
        os.fsync(stream)


def read_answers(path: Path, study: str) -> ReaderAnswers:
    """Read one reader's file.

    Raises:
        InputError: the file holds answers to another study, or of another reader.
    """
    answers = ReaderAnswers(path.stem)
    for line in path.read_bytes().split(b"\n"):
        if not line:
            continue
        try:
            entry = json.loads(line)
            told = (entry["study"], entry["reader"])
            trial, choice = entry.get("trial"), entry.get("choice")
        except (ValueError, KeyError, TypeError, AttributeError):
            answers.damaged += 1
            continue
        if told != (study, path.stem):
            raise InputError(f"{path.name}: expected answers of its own reader to this study, got those of another")
        if trial is None:
            continue  # the note that the reader began
        if choice in SIDES:
            answers.choices.setdefault(trial, choice)
        else:
            answers.damaged += 1
    return answers


def read_all(folder: Path, study: str) -> list[ReaderAnswers]:
    """Answers of all readers who began, by their codes.

    Raises:
        InputError: there is no file of answers, or one is of another study.
    """
    paths = sorted(folder.glob("*.jsonl")) if folder.is_dir() else []
    if not paths:
        raise InputError(f"{folder}: expected files of answers (*.jsonl), got none")
    return [read_answers(path, study) for path in paths]
