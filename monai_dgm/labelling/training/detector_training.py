"""Training of the detector while the server keeps serving: start it, watch it, end it, continue it.

There is one training at a time, in its own process. Its state is in files, so a server that was killed finds it again.
The training ends with the server; the next request to train continues from the last checkpoint.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from monai_dgm.data.fingerprints import hash_file
from monai_dgm.engines.residues.frozen_decomposer import needs_decomposer
from monai_dgm.engines.weights import model_channels, read_model_settings
from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.image_label import utc_now
from monai_dgm.labelling.server.background import errors_in_one_line
from monai_dgm.labelling.server.http_errors import ConflictError, UnavailableError, UnknownError
from monai_dgm.labelling.server.models import LabellingModels
from monai_dgm.labelling.server.studies import Studies
from monai_dgm.labelling.server.submissions import Submissions
from monai_dgm.labelling.training.fine_tuning import FineTuneOptions
from monai_dgm.labelling.training.job import JobFolder, TrainingJob, local_time, progress_share, progress_text
from monai_dgm.labelling.training.model_versions import ModelVersion, ModelVersions
from monai_dgm.labelling.training.training_data import write_copy
from monai_dgm.labelling.training.validation_set import MIN_LABELLED

__all__ = ["DetectorTraining"]

logger = logging.getLogger(__name__)

DETECTOR = "detector"


class DetectorTraining:
    """The training of a server's detector. Safe with several threads.

    Args:
        state_dir: folder in which ``training/`` and ``models/`` are made.
        models: of the server; its detector is replaced when a version is promoted or restored.
        studies: have the labelled images.
        submissions: have the labels.
        config_file: ``train.json`` of the detector's bundle.
        replay: folder of original data to train on as well; None for none.
        seed: of each training.
        changed: called after another version began to be served.

    Raises:
        InputError: ``replay`` is not a folder.
    """

    def __init__(
        self,
        state_dir: Path,
        models: LabellingModels,
        studies: Studies,
        submissions: Submissions,
        config_file: Path,
        replay: Path | None = None,
        seed: int = 0,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.folder = Path(state_dir).resolve() / "training"
        self.versions = ModelVersions(self.folder.parent / "models" / "opacity_detection")
        self.models = models
        self.studies = studies
        self.submissions = submissions
        self.config_file = Path(config_file).resolve()
        if replay is not None and not Path(replay).is_dir():
            raise InputError(f"replay: expected a folder of original data, there is none: {replay}")
        self.replay = None if replay is None else Path(replay).resolve()
        self.seed = seed
        self.command = [sys.executable, "-m", "monai_dgm.labelling.training.process"]
        self.changed: Callable[[], None] = lambda: None
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._cancelled = threading.Event()
        self._watcher: threading.Thread | None = None
        self._stopped: dict[str, Any] | None = None
        self.serve_current()
        self.changed = changed

    @property
    def job_folder(self) -> JobFolder:
        """Folder of the running training, or of the last one."""
        return JobFolder(self.folder / "job")

    def serve_current(self) -> None:
        """Serve the current version, if there is one."""
        current = self.versions.current()
        if current is not None and self.models.paths[DETECTOR] != current.weights:
            self.models.replace(DETECTOR, current.weights)
            logger.info("detector: version %d", current.number)
            self.changed()

    def restore(self, number: int) -> ModelVersion:
        """Serve this version from now on; errors as :meth:`ModelVersions.restore`."""
        version = self.versions.restore(number, "chosen by an administrator")
        self.serve_current()
        return version

    def start(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Start a training, or continue an interrupted one with the same options; returns its status.

        Args:
            params: options, see :class:`monai_dgm.labelling.training.fine_tuning.FineTuneOptions`.

        Raises:
            InputError: wrong options, or too few labels.
            ConflictError: a training is running.
            UnavailableError: there is no detector to start from.
        """
        options = FineTuneOptions.of(params)
        with self._lock:
            if self.running():
                raise ConflictError("a training is running; stop it, or wait for its end")
            if self.models.detector() is None:
                raise UnavailableError(self.models.advice(DETECTOR))
            folder, job = self.job_folder, self.job_folder.job()
            if job is None or folder.result() is not None or job.options != options:
                job = self._new_job(options)
                shutil.rmtree(folder.folder, ignore_errors=True)
                folder.write_job(job)
            self._run(folder, job)
            return self.status() or {}

    def running(self) -> bool:
        """Whether a training is running."""
        return self._watcher is not None and self._watcher.is_alive()

    def stop(self) -> dict[str, Any] | None:
        """End the training, or discard an interrupted one; returns its status, None where there is no training."""
        job = self.job_folder.job()
        if job is None or self.job_folder.result() is not None:
            return None
        self._kill()
        with self._lock:
            if self.job_folder.result() is not None:  # it ended in the meantime
                return self.status()
            status = {
                **(self.status() or {}),
                "status": "STOPPED",
                "details": ["ended on request, nothing changed"],
            }
            self._stopped = {**status, "end_ts": local_time(utc_now())}
            shutil.rmtree(self.job_folder.folder, ignore_errors=True)
            return self._stopped

    def close(self) -> None:
        """End the process; the training can be continued later."""
        self._kill()

    def wait(self, timeout: float | None = None) -> None:
        """Wait for the end of the process."""
        watcher = self._watcher
        if watcher is not None:
            watcher.join(timeout)

    def status(self) -> dict[str, Any] | None:
        """Status as MONAI Label's clients read it: "status" is RUNNING, DONE, STOPPED or ERROR. None before the first.

        "details" are lines for users; "share" of the steps that are done and "seconds_left" are null where not known;
        "version", "promoted" and "reason" are the result.
        """
        folder, job = self.job_folder, self.job_folder.job()
        if job is None:
            return self._stopped
        progress, result = folder.progress(), folder.result()
        values: dict[str, Any] = {"id": job.id, "model": "detect_opacities", "start_ts": local_time(job.created)}
        if result is None:
            running = self.running()
            lines = progress_text(progress, job.options)
            if not running:
                lines.append("interrupted; start it again with the same options to continue")
            values |= {"share": progress_share(progress, job.options), "seconds_left": progress.get("seconds_left")}
            return {**values, "status": "RUNNING" if running else "STOPPED", "details": lines}
        values |= {"status": result["status"], "end_ts": local_time(result["time"]), "reason": result["reason"]}
        if result["status"] == "DONE":
            outcome = "promoted" if result["promoted"] else "kept aside"
            values |= {"version": result["number"], "promoted": result["promoted"]}
            return {**values, "details": [f"version {result['number']} {outcome}: {result['reason']}"]}
        return {**values, "details": [result["reason"]]}

    def stats(self) -> dict[str, Any]:
        """Progress as the progress bar of 3D Slicer's panel reads it."""
        folder, job = self.job_folder, self.job_folder.job()
        if job is None:
            return {}
        result = folder.result()
        epoch = job.options.max_epochs if result else int(folder.progress().get("epoch") or 0)
        values = {"epoch": epoch, "total_epochs": job.options.max_epochs, "best_metric": 0.0}
        return {**values, "best_metric": result.get("ap") or 0.0, "total_time": 1} if result else values

    def describe(self) -> dict[str, Any]:
        """The versions as plain values without paths.

        Returns:
            "current" (number of the served version; None where other weights are served), "model_version", and
            "versions" (a list, the latest last).
        """
        served = self.models.paths[DETECTOR]
        versions, current = self.versions.all(), None
        digest = hash_file(served) if served.is_file() else None
        for version in versions:
            if version.weights == served or (current is None and version.info["sha256"] == digest):
                current = version.number
        listed = [{"number": version.number, **version.info} for version in versions]
        return {"current": current, "model_version": self.models.versions()[DETECTOR], "versions": listed}

    def _new_job(self, options: FineTuneOptions) -> TrainingJob:
        images: dict[str, str] = {}
        groups: dict[str, str] = {}
        for image_id in sorted(self.submissions.labelled()):
            try:
                image = self.studies.find(image_id)
            except UnknownError:  # the image was removed, its label stays
                continue
            name = hashlib.sha256(image_id.encode("utf-8", "surrogatepass")).hexdigest()
            images[image_id] = str(image.path or self.job_folder.images / f"{name}.png")
            if image.path is None:  # in a folder, each file would be a study
                groups[image_id] = image.study
        needed = 1 if self.replay is not None else MIN_LABELLED
        if len(images) < needed:
            more = "" if self.replay is not None else ", or original data (setting replay)"
            raise InputError(f"expected labels of at least {needed} images{more}, got {len(images)}")
        weights = self.models.paths[DETECTOR]
        channels = model_channels(read_model_settings(weights))
        return TrainingJob(
            options=options,
            config_file=str(self.config_file),
            weights=str(weights.resolve()),
            decomposer=str(self.models.paths["decomposer"].resolve()) if needs_decomposer(channels) else "",
            labels=str(self.submissions.labels.folder.resolve()),
            models=str(self.versions.folder),
            validation_file=str(self.folder / "validation.json"),
            images=images,
            groups=groups,
            replay="" if self.replay is None else str(self.replay),
            device=str(self.models.device),
            seed=self.seed,
        )

    def _run(self, folder: JobFolder, job: TrainingJob) -> None:
        self._cancelled, self._stopped = threading.Event(), None
        self._watcher = threading.Thread(target=self._watch, args=(folder, job, self._cancelled), daemon=True)
        self._watcher.start()

    def _watch(self, folder: JobFolder, job: TrainingJob, cancelled: threading.Event) -> None:
        with errors_in_one_line("training"):
            self._fetch(folder, job, cancelled)
            process = self._spawn(folder, cancelled)
            if process is not None:
                process.wait()
                logger.info("training: ended with %d", process.returncode)
                self.serve_current()

    def _fetch(self, folder: JobFolder, job: TrainingJob, cancelled: threading.Event) -> None:
        """Copy images of an archive to files of this machine."""
        for image_id, path in job.images.items():
            if cancelled.is_set():
                return
            if Path(path).parent != folder.images or Path(path).is_file():
                continue
            folder.write_progress({"phase": "fetching images"})
            try:
                write_copy(self.studies.read(image_id)[0].pixels, path)
            except InputError:  # it is left out, as each image that cannot be read
                continue

    def _spawn(self, folder: JobFolder, cancelled: threading.Event) -> subprocess.Popen[bytes] | None:
        command = [*self.command, str(folder.folder), "--with-parent"]
        with self._lock:
            if cancelled.is_set():
                return None
            with open(folder.log, "ab") as log:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=folder.folder, start_new_session=True
                )
            return self._process

    def _kill(self) -> None:
        with self._lock:
            self._cancelled.set()
            if self._process is not None and self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)  # with its worker processes
        self.wait()
