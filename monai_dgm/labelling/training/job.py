"""The folder of one fine-tuning: its order, its progress and its result, each a JSON file.

The server writes ``job.json``. The training process writes ``progress.json`` and, once, ``result.json``. A job without
a result whose process has ended was interrupted; when it is started again, it continues from its checkpoint.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.image_label import utc_now
from monai_dgm.labelling.server.background import TIME_FORMAT
from monai_dgm.labelling.training.fine_tuning import FineTuneOptions
from monai_dgm.utils.atomic import write_json

__all__ = ["JobFolder", "TrainingJob", "local_time", "progress_share", "progress_text"]


class TrainingJob(BaseModel):
    """The order of a fine-tuning. All paths are of this machine.

    Attributes:
        options: see :class:`FineTuneOptions`.
        config_file: configuration of the bundle's training.
        weights: to start from.
        decomposer: weights of the decomposer; empty if the detector needs none.
        labels: folder of the label store.
        models: folder of the versions.
        validation_file: JSON file with the ids of the validation images; "record" in jobs of earlier versions.
        images: path of each labelled image by its id.
        groups: study of an image by its id, where known; images of one study stay together.
        replay: folder of original data; empty for none.
        device: as torch names it, such as "cpu".
        seed: of the training.
        id: of the job.
        created: time, UTC.
    """

    model_config = ConfigDict(frozen=True)

    options: FineTuneOptions
    config_file: str
    weights: str
    decomposer: str
    labels: str
    models: str
    validation_file: str = Field(validation_alias=AliasChoices("validation_file", "record"))
    images: dict[str, str]
    groups: dict[str, str] = {}
    replay: str = ""
    device: str = "cpu"
    seed: int = 0
    id: str = Field(default_factory=lambda: str(uuid.uuid4()))
    created: str = Field(default_factory=utc_now)


class JobFolder:
    """The files of one job.

    Args:
        folder: of the job.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    @property
    def splits(self) -> Path:
        """Datalists of training and validation images; they are drawn once."""
        return self.folder / "datalists.json"

    @property
    def images(self) -> Path:
        """Copies of an archive's images, kept during the training."""
        return self.folder / "images"

    @property
    def cache(self) -> Path:
        """Prepared radiographs, kept during the training."""
        return self.folder / "cache"

    @property
    def output(self) -> Path:
        """Output of the bundle's training."""
        return self.folder / "output"

    @property
    def log(self) -> Path:
        """Log of the process."""
        return self.folder / "log.txt"

    @property
    def lock(self) -> Path:
        """Lock file that the process holds while it runs."""
        return self.folder / ".lock"

    def job(self) -> TrainingJob | None:
        """The order; None where there is none, or it cannot be read."""
        try:
            return TrainingJob.model_validate(self._read("job.json"))
        except ValidationError:
            return None

    def progress(self) -> dict[str, Any]:
        """Progress of the process; empty before it began."""
        return self._read("progress.json") or {}

    def result(self) -> dict[str, Any] | None:
        """Result: "status" (DONE or ERROR) and "reason"; if DONE also "number" and "promoted". None before the end."""
        return self._read("result.json")

    def write_job(self, job: TrainingJob) -> None:
        """Write the order."""
        self._write("job.json", job.model_dump())

    def write_progress(self, values: Mapping[str, Any]) -> None:
        """Write the progress."""
        self._write("progress.json", {**values, "time": utc_now()})

    def write_result(self, values: Mapping[str, Any]) -> None:
        """Write the result."""
        self._write("result.json", {**values, "time": utc_now()})

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            values = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return values if isinstance(values, dict) else None

    def _write(self, name: str, values: Mapping[str, Any]) -> None:
        try:
            write_json(self.folder / name, values)
        except OSError as error:
            raise InputError(
                f"{self.folder / name}: expected a folder with room to write it ({error.strerror})"
            ) from error


def progress_text(progress: Mapping[str, Any], options: FineTuneOptions) -> list[str]:
    """Progress of a training as lines for readers."""
    phase = progress.get("phase", "starting")
    if phase != "training":
        return [str(phase)]
    steps = options.max_epochs * options.epoch_length
    words = f"epoch {progress['epoch']} of {options.max_epochs}, step {progress['iteration']} of {steps}"
    return [f"{words}, loss {progress['loss']:.3f}"]


def progress_share(progress: Mapping[str, Any], options: FineTuneOptions) -> float | None:
    """Share of the training's steps that are done, in [0, 1]; None before the first one."""
    if "iteration" not in progress:
        return None
    return min(1.0, float(progress["iteration"]) / (options.max_epochs * options.epoch_length))


def local_time(moment: str) -> str:
    """A UTC time of :func:`monai_dgm.labelling.labels.image_label.utc_now` as MONAI Label's tasks write local time."""
    return datetime.fromisoformat(moment.replace("Z", "+00:00")).astimezone().strftime(TIME_FORMAT)
