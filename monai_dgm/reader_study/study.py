"""What a study consists of: the trials that are served, and the key that is not."""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_dgm.errors import InputError

FORMAT = 1
SERVED = "served"
KEY = "key.json"
ANSWERS = "answers"
_READER = re.compile(r"[a-z0-9_-]{1,40}")


def reader_code(text: str) -> str:
    """The code of a reader in small letters, as a file name may hold it.

    Raises:
        InputError: other signs than letters without accents, digits, "-" and "_", or none, or more than 40.
    """
    code = text.strip().lower()
    if not _READER.fullmatch(code):
        raise InputError("expected a code of 1 to 40 letters a to z, digits, - or _ without spaces")
    return code


@dataclass(frozen=True)
class ServedStudy:
    """What readers may be shown.

    Attributes:
        study: random name of the study.
        question: that readers answer.
        blocks: trials; each is {"trial", "left", "right"}, the latter two being names of images.
        images: folder of the images.
    """

    study: str
    question: str
    blocks: list[list[dict[str, str]]]
    images: Path

    def order(self, reader: str) -> list[dict[str, str]]:
        """All trials in this reader's own order, the same at each call; catch trials are in the second block."""
        draw = random.Random(f"{self.study}/{reader}")
        return [one for block in self.blocks for one in draw.sample(block, len(block))]


def load_served(folder: Path) -> ServedStudy:
    """Read ``served/study.json`` of a study.

    Raises:
        InputError: there is none, or it is not what ``make`` writes.
    """
    path = folder / SERVED / "study.json"
    content = _read_json(path)
    try:
        return ServedStudy(content["study"], content["question"], content["blocks"], path.parent / "images")
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: expected a study made by this command, {error} is missing") from error


@dataclass(frozen=True)
class Shown:
    """What a trial shows: the radiograph, the systems of both sides, and the trial that it repeats, or ""."""

    image: str
    left: str
    right: str
    repeats: str


@dataclass(frozen=True)
class Key:
    """Which image is whose.

    Attributes:
        study: random name of the study.
        systems: names, in the order they were given.
        trials: by their names.
    """

    study: str
    systems: list[str]
    trials: dict[str, Shown]


def load_key(folder: Path) -> Key:
    """Read ``key.json`` of a study.

    Raises:
        InputError: there is none, or it is not what ``make`` writes.
    """
    path = folder / KEY
    content = _read_json(path)
    try:
        trials = {
            name: Shown(one["image"], one["left"], one["right"], one["repeats"] or "")
            for name, one in content["trials"].items()
        }
        return Key(content["study"], list(content["systems"]), trials)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: expected the key of a study made by this command, {error} is missing") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: expected a file of a study, it cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{path}: expected JSON, it cannot be read ({type(error).__name__})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path}: expected a study of format {FORMAT}")
    return content
