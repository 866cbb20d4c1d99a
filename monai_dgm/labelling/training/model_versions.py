"""Versions of a model that a server trains. Each has its own folder, is never overwritten, and can be restored.

``<folder>/000001/`` holds ``model.safetensors`` and ``model.json``, then come ``000002/`` and so on. ``current.json``
names the version that is served. Weights that the server was started with are copied without a change, so that their
SHA-256 stays the same.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from torch import Tensor

from monai_dgm.data.fingerprints import hash_file
from monai_dgm.engines.weights import read_model_settings, save_weights
from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.image_label import utc_now
from monai_dgm.labelling.server.http_errors import ConflictError, UnknownError
from monai_dgm.utils.atomic import write_json

__all__ = ["GIVEN", "KEPT_ASIDE", "PROMOTED", "ModelVersion", "ModelVersions"]

logger = logging.getLogger(__name__)

GIVEN, PROMOTED, KEPT_ASIDE = "given", "promoted", "kept_aside"  # result of the training that made a version
KEY = "version"  # in model.json: description of the version; the other keys are settings of the network
CURRENT_FILE = "current.json"
LOCK_SECONDS = 60.0
_FOLDER = re.compile(r"[0-9]{6,9}")


@dataclass(frozen=True)
class ModelVersion:
    """One version.

    Attributes:
        number: 1 for the first version.
        weights: file of the weights.
        info: plain values: "status", "reason", "created", "sha256", "parent" (number or None) and results of the
            training. They contain no path.
    """

    number: int
    weights: Path
    info: Mapping[str, Any]


class ModelVersions:
    """Versions of one model in a folder. Safe with several processes, and if one is killed at any moment.

    Args:
        folder: made with the first version.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def all(self) -> list[ModelVersion]:
        """All versions, oldest first; a damaged version is left out and logged."""
        found = []
        for name in sorted(os.listdir(self.folder)) if self.folder.is_dir() else []:
            if _FOLDER.fullmatch(name):
                try:
                    found.append(_read(self.folder / name))
                except InputError as error:
                    logger.warning("a version is left out: %s", error)
        return found

    def get(self, number: int) -> ModelVersion:
        """One version.

        Raises:
            UnknownError: there is no version with this number.
        """
        for version in self.all():
            if version.number == number:
                return version
        raise UnknownError("expected the number of a version of the model, there is no such version")

    def current(self) -> ModelVersion | None:
        """The version that is served; None where none was chosen yet, or its files are missing."""
        path = self.folder / CURRENT_FILE
        if not path.is_file():
            return None
        try:
            return self.get(int(json.loads(path.read_text(encoding="utf-8"))["number"]))
        except (OSError, ValueError, KeyError, TypeError, UnknownError) as error:
            logger.warning("%s does not name a version (%s)", path, type(error).__name__)
            return None

    def restore(self, number: int, reason: str) -> ModelVersion:
        """Make a version the current one.

        Raises:
            UnknownError: there is no version with this number.
            ConflictError: its file of weights has changed.
        """
        version = self.get(number)
        if hash_file(version.weights) != version.info["sha256"]:
            raise ConflictError(f"version {number}: expected the weights that were stored, the file has changed")
        with self._locked():
            write_json(self.folder / CURRENT_FILE, {"number": number, "time": utc_now(), "reason": reason})
        return version

    def add(
        self, state_dict: Mapping[str, Tensor], settings: Mapping[str, Any], info: Mapping[str, Any]
    ) -> ModelVersion:
        """Store trained weights as the next version, without making it the current one.

        Args:
            state_dict: of the network.
            settings: of the network, stored in ``model.json``.
            info: see :class:`ModelVersion`; "sha256" and "created" are added.

        Raises:
            InputError: no room on the disk; no version is made then.
        """
        with self._next() as (number, folder):
            weights = folder / "model.safetensors"
            save_weights(state_dict, weights)
            _describe(weights, settings, info)
        return self.get(number)

    def adopt(self, weights: str | os.PathLike[str], reason: str) -> ModelVersion:
        """The version with these weights; if there is none, they are copied as the next version.

        Raises:
            InputError: no such file.
        """
        source = Path(weights)
        if not source.is_file():
            raise InputError(f"{source}: expected a file of weights, there is none")
        digest = hash_file(source)
        for version in self.all():
            if version.info["sha256"] == digest:
                return version
        with self._next() as (number, folder):
            copy = folder / f"model{source.suffix}"
            shutil.copyfile(source, copy)
            _describe(copy, read_model_settings(source), {"status": GIVEN, "reason": reason, "parent": None})
        return self.get(number)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock for writing, and remove incomplete files of processes that were killed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".lock").acquire(timeout=LOCK_SECONDS, poll_interval=0.01):
            for leftover in self.folder.glob(".partial-*"):
                if leftover.is_dir():
                    shutil.rmtree(leftover, ignore_errors=True)
                else:
                    leftover.unlink(missing_ok=True)
            yield

    @contextmanager
    def _next(self) -> Iterator[tuple[int, Path]]:
        """The next number and a temporary folder, which gets its name when the block succeeds."""
        with self._locked():
            numbers = [int(name) for name in os.listdir(self.folder) if _FOLDER.fullmatch(name)]
            number = max(numbers, default=0) + 1
            partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=self.folder))
            try:
                yield number, partial
                partial.chmod(0o755)
                partial.rename(self.folder / f"{number:06d}")
            finally:
                shutil.rmtree(partial, ignore_errors=True)


def _describe(weights: Path, settings: Mapping[str, Any], info: Mapping[str, Any]) -> None:
    known = {**info, "created": utc_now(), "sha256": hash_file(weights)}
    write_json(weights.with_suffix(".json"), {**settings, KEY: known})


def _read(folder: Path) -> ModelVersion:
    kinds = [folder / f"model{suffix}" for suffix in (".safetensors", ".pt")]
    weights = next((path for path in kinds if path.is_file()), kinds[0])
    info = read_model_settings(weights).get(KEY)
    if not weights.is_file() or not isinstance(info, dict) or not {"sha256", "status"} <= info.keys():
        raise InputError(f"{folder}: expected weights, and a JSON file with their description")
    return ModelVersion(int(folder.name), weights, info)
