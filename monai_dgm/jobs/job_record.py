"""The record of a finished job, ``done.json``, and the check whether it is still valid."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from monai_dgm.data.fingerprints import hash_file
from monai_dgm.jobs.job import Job
from monai_dgm.utils.atomic import write_json

__all__ = ["RECORD_FILE", "SCORES", "JobRecord", "job_key", "read_job_record", "write_job_record"]

RECORD_FILE = "done.json"
SCORES = {
    "head": ("report/scores_validation.csv", "report/scores_test.csv"),
    "classifier": ("report/scores_validation.csv", "report/scores_test.csv"),
    "detector": ("report/detections_validation.json", "report/detections_test.json"),
}
"""What each kind of job leaves below its folder: scores of the validation and of the test images."""


@dataclass(frozen=True)
class JobRecord:
    """A finished job.

    Attributes:
        name: of the job.
        key: SHA-256 of the command, the data and the decomposer's weights.
        command: as a user would type it, paths below the output folder relative to it.
        weights: file, relative to the output folder where it is below it.
        sha256: of the weights.
        decomposer_sha256: of the weights whose residues it saw, or that it is the head of; None for neither.
        data_sha256: of the manifest.
        scores: files of the validation and of the test images, relative to the output folder; empty for a decomposer.
        configs: SHA-256 of the configuration files, by name.
        seconds: of the last run; a training that was interrupted took more in all.
        version: of this package.
    """

    name: str
    key: str
    command: str
    weights: str
    sha256: str
    decomposer_sha256: str | None
    data_sha256: str
    scores: tuple[str, ...]
    configs: Mapping[str, str]
    seconds: float
    version: str


def job_key(job: Job, data_sha256: str, decomposer_sha256: str | None) -> str:
    """SHA-256 of everything that determines what a job computes, without the code and without paths."""
    named: dict[str, Any] = {
        "bundle": job.bundle,
        "run_id": job.run_id,
        "configs": list(job.configs),
        "overrides": dict(job.overrides),
        "fold": job.fold,
        "data": data_sha256,
        "decomposer": decomposer_sha256,
    }
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()


def write_job_record(folder: Path, record: JobRecord) -> None:
    """Write ``done.json`` into the job's folder, atomically."""
    write_json(folder / RECORD_FILE, asdict(record))


def read_job_record(folder: Path, key: str, root: Path) -> JobRecord | None:
    """The record of a folder's job; None if it has not finished, has another key, or lacks its files.

    Args:
        folder: of the job.
        key: of the job as it is planned now.
        root: folder that paths are relative to.
    """
    try:
        values = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
        record = JobRecord(**{**values, "scores": tuple(values["scores"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    weights = root / record.weights
    if record.key != key or not all((root / name).is_file() for name in (record.weights, *record.scores)):
        return None
    return record if hash_file(weights) == record.sha256 else None
