"""One fine-tuning as files in a folder: what it was asked for, how far it is, and how it ended.

The server writes ``job.json``; the training's process writes ``progress.json`` and, once, ``result.json``. A job
without result whose process is gone was interrupted, and goes on from its checkpoint when it is started again.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.image_label import utc_now
from monai_dgm.labelling.training.fine_tuning import FineTuneOptions
from monai_dgm.utils.atomic import atomic_write

__all__ = ["JobFolder", "TrainingJob", "local_time", "progress_text"]

TIME_FORMAT = "%Y-%m-%d %H:%M:%S"  # of the platform's tasks


@dataclass(frozen=True)
class TrainingJob:
    """What is asked for. All paths are of this machine.

    Attributes:
        options: how to train.
        config_file: of the bundle's training.
        weights: to start from.
        decomposer: weights of the decomposer; empty where there are none.
        labels: folder of the label store.
        models: folder of the versions.
        record: file of the validation images.
        images: path of each labelled image by its id.
        groups: study of an image by its id, where it is known; images of one stay together.
        replay: folder of original data; empty for none.
        device: such as "cpu".
        seed: of the training.
        id: of the job.
        created: when, UTC.
    """

    options: FineTuneOptions
    config_file: str
    weights: str
    decomposer: str
    labels: str
    models: str
    record: str
    images: dict[str, str]
    groups: dict[str, str] = field(default_factory=dict)
    replay: str = ""
    device: str = "cpu"
    seed: int = 0
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    created: str = field(default_factory=utc_now)


class JobFolder:
    """The files of one job.

    Args:
        folder: of the job.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    @property
    def splits(self) -> Path:
        """What is trained and validated on, drawn once."""
        return self.folder / "datalists.json"

    @property
    def images(self) -> Path:
        """Copies of images that are no files of this machine, while they are trained on."""
        return self.folder / "images"

    @property
    def cache(self) -> Path:
        """Prepared radiographs, while they are trained on."""
        return self.folder / "cache"

    @property
    def output(self) -> Path:
        """What the bundle's training writes."""
        return self.folder / "output"

    @property
    def log(self) -> Path:
        """What the process says."""
        return self.folder / "log.txt"

    @property
    def lock(self) -> Path:
        """Held by the process as long as it lives."""
        return self.folder / ".lock"

    def job(self) -> TrainingJob | None:
        """What was asked for; None where nothing was, or it cannot be read."""
        values = self._read("job.json")
        try:
            return (
                None if values is None else TrainingJob(**{**values, "options": FineTuneOptions(**values["options"])})
            )
        except (KeyError, TypeError):
            return None

    def progress(self) -> dict[str, Any]:
        """How far it is; empty before it began."""
        return self._read("progress.json") or {}

    def result(self) -> dict[str, Any] | None:
        """How it ended: "status" DONE or ERROR and "reason", with "number" and "promoted" when DONE; None before."""
        return self._read("result.json")

    def write_job(self, job: TrainingJob) -> None:
        """Keep what is asked for."""
        self._write("job.json", asdict(job))

    def write_progress(self, values: Mapping[str, Any]) -> None:
        """Keep how far it is."""
        self._write("progress.json", {**values, "time": utc_now()})

    def write_result(self, values: Mapping[str, Any]) -> None:
        """Keep how it ended."""
        self._write("result.json", {**values, "time": utc_now()})

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            values = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return values if isinstance(values, dict) else None

    def _write(self, name: str, values: Mapping[str, Any]) -> None:
        try:
            with atomic_write(self.folder / name) as partial:
                partial.write_text(json.dumps(values), encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"{self.folder / name}: expected a folder with room to write it ({error.strerror})"
            ) from error


def progress_text(progress: Mapping[str, Any], options: FineTuneOptions) -> list[str]:
    """How far a training is, in lines for people."""
    phase = progress.get("phase", "starting")
    if phase != "training":
        return [str(phase)]
    steps = options.max_epochs * options.epoch_length
    words = f"epoch {progress['epoch']} of {options.max_epochs}, step {progress['iteration']} of {steps}"
    return [f"{words}, loss {progress['loss']:.3f}"]


def local_time(moment: str) -> str:
    """A UTC time of :func:`monai_dgm.labelling.labels.image_label.utc_now` in the form that MONAI Label's tasks use."""
    return datetime.fromisoformat(moment.replace("Z", "+00:00")).astimezone().strftime(TIME_FORMAT)
