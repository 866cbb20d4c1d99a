"""Runs the missing jobs one after the other, each as the bundle's own command in a separate process."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from monai_dgm import __version__
from monai_dgm.data.fingerprints import hash_file
from monai_dgm.errors import InputError
from monai_dgm.jobs.dataset_info import DatasetInfo
from monai_dgm.jobs.job import Job
from monai_dgm.jobs.job_record import SCORES, JobRecord, job_key, read_job_record, write_job_record

__all__ = ["LOG_FILE", "Outcome", "Runner", "all_decomposers", "changed_configs", "given_decomposer"]

logger = logging.getLogger(__name__)

LOG_FILE = "log.txt"
_KEY_DIGITS = 10
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_PATIENCE = 20.0  # seconds that a training gets to end after this program received SIGTERM


@dataclass
class Outcome:
    """State of the jobs, by name.

    Attributes:
        finished: records of the jobs that have run.
        failed: the reason, in one line.
        waiting: names of the jobs that have not run yet.
    """

    finished: dict[str, JobRecord] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)

    def print_failed(self) -> None:
        """Name the failed jobs with their reasons on the standard error output."""
        for name, reason in self.failed.items():
            print(f"failed: {name}: {reason}", file=sys.stderr)


class Runner:
    """Runs jobs into ``output_dir/jobs``.

    Args:
        output_dir: made when missing; a lock lets one program at a time run jobs in it.
        dataset_info: the data.
        bundles_dir: folder of the bundles.
        decomposers: path of weights with ``{fold}`` in it, used instead of training decomposers; None trains them.
        threads: of each training; None leaves it to torch.
    """

    def __init__(
        self,
        output_dir: Path,
        dataset_info: DatasetInfo,
        bundles_dir: Path,
        decomposers: str | None = None,
        threads: int | None = None,
    ) -> None:
        self.environment = {} if threads is None else dict.fromkeys(_THREADS, str(threads))
        self.root = output_dir.absolute()
        self.dataset_info = dataset_info
        self.bundles = bundles_dir.absolute()
        self.decomposers = os.path.abspath(decomposers) if decomposers else None
        if not (self.bundles / "dgm" / "configs").is_dir():
            raise InputError(f"{bundles_dir}: expected the folder of the bundles (dgm, ...), give --bundles_dir")

    def run(self, jobs: Sequence[Job], train: bool = True) -> Outcome:
        """Run the missing jobs. A failed job stops only the jobs that need it.

        Args:
            jobs: each after the one that it needs.
            train: False only reads the records of finished jobs.
        """
        outcome = Outcome()
        with self._alone(train) as lock:
            for number, job in enumerate(jobs, 1):
                needed = outcome.finished.get(job.needs) if job.needs else None
                if job.needs and needed is None:
                    if job.needs in outcome.failed:
                        outcome.failed[job.name] = f"needs {job.needs}, which failed"
                    else:
                        outcome.waiting.append(job.name)
                    continue
                self._run_one(job, needed, outcome, f"[{number}/{len(jobs)}]", lock if train else None)
        return outcome

    def _run_one(self, job: Job, needed: JobRecord | None, outcome: Outcome, progress: str, lock: int | None) -> None:
        try:
            record = self.given(job) if job.kind == "decomposer" and self.decomposers else self._find(job, needed)
            if record is None and lock is None:
                outcome.waiting.append(job.name)
                return
            if record is None:
                print(f"{progress} {job.title}", flush=True)
                record = self._train(job, needed, lock)
                print(f"{progress} {job.title}: done in {record.seconds / 60:.1f} min", flush=True)
            outcome.finished[job.name] = record
        except InputError as error:
            outcome.failed[job.name] = str(error)
            print(f"{progress} {job.title}: failed: {error}", file=sys.stderr, flush=True)

    def folder(self, job: Job, needed: JobRecord | None) -> Path:
        """Folder of a job; it depends on the command, the data and the decomposer."""
        return self.root / "jobs" / f"{job.name}-{self._key(job, needed)[:_KEY_DIGITS]}"

    def _key(self, job: Job, needed: JobRecord | None) -> str:
        return job_key(job, self.dataset_info.sha256, needed.sha256 if needed else None)

    def _find(self, job: Job, needed: JobRecord | None) -> JobRecord | None:
        return read_job_record(self.folder(job, needed), self._key(job, needed), self.root)

    def arguments(self, job: Job, needed: JobRecord | None) -> list[str]:
        """Arguments of ``python`` on the command line of a job."""
        folder, configs = self.folder(job, needed), self.bundles / job.bundle / "configs"
        files = [str(configs / name) for name in job.configs]
        settings: dict[str, Any] = {**job.overrides, "fold": job.fold}
        settings |= {"output_dir": folder, "cache_dir": self.root / "cache", "sample_dir": self.dataset_info.sample_dir}
        if job.run_id == "training":
            settings["ckpt_dir"] = folder / "models"
        if self.dataset_info.dataset_dir is not None:
            settings["dataset_dir"] = self.dataset_info.dataset_dir
        if "cross_fitted" in settings:  # the plan has a fingerprint in place of the path
            settings["cross_fitted"] = self.decomposers
        if needed is not None:
            settings["decomposer_path"] = self.root / needed.weights
        pairs = [text for key, value in settings.items() for text in (f"--{key}", str(value))]
        config_file = files[0] if len(files) == 1 else str(files)
        return ["-m", "monai.bundle", "run", job.run_id, "--config_file", config_file, *pairs]

    def _train(self, job: Job, needed: JobRecord | None, lock: int | None) -> JobRecord:
        folder, arguments = self.folder(job, needed), self.arguments(job, needed)
        folder.mkdir(parents=True, exist_ok=True)
        start = time.monotonic()
        with open(folder / LOG_FILE, "ab") as log:
            code = _call([sys.executable, *arguments], self.bundles.parent, log.fileno(), lock, self.environment)
        if code != 0:
            raise InputError(f"{_last_line(folder / LOG_FILE)} (see {self._relative(folder / LOG_FILE)})")
        record = self._describe(job, needed, folder, arguments, time.monotonic() - start)
        write_job_record(folder, record)
        (folder / "checkpoint.pt").unlink(missing_ok=True)  # four times the weights, and no longer needed
        return record

    def _describe(
        self, job: Job, needed: JobRecord | None, folder: Path, arguments: Sequence[str], seconds: float
    ) -> JobRecord:
        weights = self.root / needed.weights if job.kind == "head" and needed else folder / "models" / "model.pt"
        scores = [folder / name for name in SCORES.get(job.kind, ())]
        for file in (weights, *scores):
            if not file.is_file():
                raise InputError(f"{self._relative(file)}: expected this file from {job.title}, there is none")
        configs = {name: hash_file(self.bundles / job.bundle / "configs" / name) for name in job.configs}
        return JobRecord(
            name=job.name,
            key=self._key(job, needed),
            command=self._words(arguments),
            weights=self._relative(weights),
            sha256=hash_file(weights),
            decomposer_sha256=needed.sha256 if needed else None,
            data_sha256=self.dataset_info.sha256,
            scores=tuple(self._relative(file) for file in scores),
            configs=configs,
            seconds=round(seconds, 1),
            version=__version__,
        )

    def given(self, job: Job) -> JobRecord:
        """The record of a decomposer that the user gave, trained without this fold of the data."""
        weights = given_decomposer(str(self.decomposers), job.fold)
        settings = _check_fold(weights, job.fold)
        sha256 = hash_file(weights)
        command = f"given: {weights.name}, trained on {settings.get('trained_on')}"
        return JobRecord(
            job.name, sha256, command, str(weights), sha256, None, self.dataset_info.sha256, (), {}, 0.0, ""
        )

    def _words(self, arguments: Sequence[str]) -> str:
        """The command, with the paths of the output folder, the bundles and the data replaced by names."""
        text = shlex.join(["python", *arguments])
        for path, name in ((self.root, "OUTPUT"), (self.bundles, "bundles"), (self.dataset_info.dataset_dir, "DATA")):
            text = text.replace(str(path), name) if path is not None else text
        return text

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)

    @contextmanager
    def _alone(self, train: bool) -> Iterator[int | None]:
        """Lock the output folder. A training inherits the lock, so that it is waited for if this program is killed."""
        if not train:
            yield None
            return
        self.root.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"waiting for a run in {self.root} that has not ended", flush=True)
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield handle
        finally:
            os.close(handle)


def given_decomposer(paths: str, fold: int) -> Path:
    """The decomposer of a fold, absolute; ``paths`` has ``{fold}`` in it."""
    return Path(paths.replace("{fold}", str(fold))).absolute()


def all_decomposers(paths: str, folds: Sequence[int]) -> str:
    """Fingerprint of the decomposers of all folds.

    Raises:
        InputError: one is missing, or was trained on what it is to be tested on.
    """
    digest = hashlib.sha256()
    for fold in folds:
        weights = given_decomposer(paths, fold)
        _check_fold(weights, fold)
        digest.update(bytes.fromhex(hash_file(weights)))
    return digest.hexdigest()


def _check_fold(weights: Path, fold: int) -> dict[str, Any]:
    settings = _settings(weights)
    if settings.get("fold") != fold:
        raise InputError(
            f"{weights}: expected a decomposer trained without fold {fold}, "
            f"the JSON file beside it names fold {settings.get('fold')}"
        )
    return settings


def _settings(weights: Path) -> dict[str, Any]:
    try:
        settings: dict[str, Any] = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))
        if not weights.is_file():
            raise OSError(2, "No such file")
        return settings
    except (OSError, ValueError) as error:
        raise InputError(f"{weights}: expected a decomposer's weights and, beside them, its JSON file") from error


def _call(command: list[str], folder: Path, log: int, lock: int | None, environment: Mapping[str, str]) -> int:
    """Exit status of a command; the command is ended with this program."""
    inherited = () if lock is None else (lock,)
    settings: dict[str, Any] = {"cwd": folder, "env": {**os.environ, **environment}, "pass_fds": inherited}
    with subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, **settings) as p:
        before = signal.signal(signal.SIGTERM, _stop)
        try:
            return p.wait()
        except BaseException:
            p.terminate()
            try:
                p.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                p.kill()
            raise
        finally:
            signal.signal(signal.SIGTERM, before)


def _stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _last_line(log: Path) -> str:
    """The reason in a log: the last line that says error, else the last one."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    return (errors or lines or ["it ended without output"])[-1].removeprefix("error: ")[:300]


def changed_configs(outcome: Outcome, jobs: Sequence[Job], bundles_dir: Path) -> list[str]:
    """Names of finished jobs whose configuration files have changed since."""
    found = []
    for job in jobs:
        record = outcome.finished.get(job.name)
        files = {name: bundles_dir / job.bundle / "configs" / name for name in (record.configs if record else {})}
        if record and any(not f.is_file() or hash_file(f) != record.configs[name] for name, f in files.items()):
            found.append(job.name)
    return found
