"""The process of a training: ``python -m monai_dgm.labelling.training.process FOLDER [--with-parent]``.

It trains the job in the folder or continues it, compares the new detector with the one that is served, stores it as a
version, and makes this the current version if it is not worse. Labels are only read. With ``--with-parent`` the process
ends when the process that started it ends, because its standard input is then closed.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from ignite.engine import Engine

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.opacity_boxes import num_boxes
from monai_dgm.engines.weights import read_model_settings
from monai_dgm.errors import in_one_line, input_error_of
from monai_dgm.labelling.labels.label_store import LabelStore
from monai_dgm.labelling.training.fine_tuning import fine_tune
from monai_dgm.labelling.training.job import JobFolder, TrainingJob
from monai_dgm.labelling.training.model_versions import KEPT_ASIDE, KEY, PROMOTED, ModelVersion, ModelVersions
from monai_dgm.labelling.training.promotion import compare, decide, detect_in, detector_of, metrics_of
from monai_dgm.labelling.training.training_data import (
    corrected_items,
    make_training_data,
    read_counts,
    read_splits,
    replayed,
    write_splits,
)
from monai_dgm.labelling.training.validation_set import truth_digest
from monai_dgm.metrics.detection import match_detections, score_for_rate

__all__ = ["main", "run_job"]

logger = logging.getLogger(__name__)

NICENESS = 5  # the server has priority
LOCK_SECONDS = 30.0
PROGRESS_SECONDS = 1.0
FALSE_POSITIVE_RATE, LOCALISED = 0.25, 0.4  # as the bundle chooses its score threshold


def run_job(folder: JobFolder, job: TrainingJob) -> dict[str, Any]:
    """Train, compare and store; returns the result, which is also written to the folder.

    Raises:
        InputError: labels, images or weights that cannot be used, or a training that diverged.
    """
    versions = ModelVersions(job.models)
    stored = next((one for one in versions.all() if one.info.get("training") == job.id), None)  # killed after storing
    if stored is None:
        _prepare(folder, job)
        parent = versions.adopt(job.weights, "weights that the server was started with")
        trained = _train(folder, job, parent)
        folder.write_progress({**folder.progress(), "phase": "comparing"})
        stored = _store(folder, job, versions, parent, trained)
    promoted = stored.info["status"] == PROMOTED
    if promoted:
        versions.restore(stored.number, str(stored.info["reason"]))
    result = {"status": "DONE", "number": stored.number, "promoted": promoted, "reason": stored.info["reason"]}
    folder.write_result({**result, "ap": stored.info["validation"]["after"]["ap"]})
    for leftover in (folder.output, folder.cache, folder.images):  # patient data is not kept longer than needed
        shutil.rmtree(leftover, ignore_errors=True)
    folder.splits.unlink(missing_ok=True)
    return result


def _prepare(folder: JobFolder, job: TrainingJob) -> None:
    if folder.splits.is_file():
        return
    folder.write_progress({"phase": "reading labels"})
    bad: list[str] = []
    labels = LabelStore(job.labels).list(bad=bad)
    items, counts = corrected_items(labels, job.images, groups=job.groups)
    settings = read_model_settings(job.weights)
    if items:  # a damaged file is left out, and the training uses the others
        readable = RadiographDataset(items, int(settings["image_size"]), folder.cache, skip_bad=True)
        items, counts["unusable"] = readable.items, counts["unusable"] + len(readable.bad)
    replay = replayed(job.replay or None, int(settings.get("fold") or 0), int(settings.get("seed") or 0))
    data = make_training_data(items, {**counts, "damaged": len(bad)}, replay, job.validation_file)
    if not replay.training:
        logger.warning("no original data are used (setting replay): the detector may become worse on them")
    logger.info("%s; %d images to validate on", data.description, len(data.validation))
    write_splits(folder.splits, data)


def _train(folder: JobFolder, job: TrainingJob, parent: ModelVersion) -> Path:
    last, steps = 0.0, job.options.max_epochs * job.options.epoch_length
    first: tuple[float, int] | None = None  # time and step of the first look; a continued training starts in the middle

    def watch(trainer: Engine, validator: Engine) -> None:
        nonlocal last, first
        first = first or (time.monotonic(), trainer.state.iteration)
        end = trainer.state.iteration % job.options.epoch_length == 0
        if end or time.monotonic() - last >= PROGRESS_SECONDS:
            last = time.monotonic()
            output: Any = trainer.state.output
            values = {"epoch": trainer.state.epoch, "iteration": trainer.state.iteration}
            done, took = trainer.state.iteration - first[1], last - first[0]
            if done:
                values["seconds_left"] = round((steps - trainer.state.iteration) * took / done)
            folder.write_progress({"phase": "training", **values, "loss": round(float(output[0]["loss"]), 4)})

    others = {"device": f"$torch.device({job.device!r})", "seed": job.seed, "cache_dir": folder.cache}
    if job.decomposer:
        others["decomposer_path"] = job.decomposer
    return fine_tune(job.config_file, parent.weights, job.options, folder.splits, folder.output, others, watch)


def _store(
    folder: JobFolder, job: TrainingJob, versions: ModelVersions, parent: ModelVersion, trained: Path
) -> ModelVersion:
    current = versions.current() or parent  # an administrator may have restored another version since the start
    splits = read_splits(folder.splits)
    means = (folder.cache, job.decomposer or None, job.device)
    after = detect_in(splits.validation, trained, *means)
    before = detect_in(splits.validation, current.weights, *means)
    metrics = {"before": metrics_of(before), "after": metrics_of(after)}
    with_boxes = sum(num_boxes(item) > 0 for item in splits.validation)
    decision = decide(
        metrics["before"], metrics["after"], len(after), with_boxes, few_are_enough=job.options.promote_on_few
    )
    validation = {
        "images": len(after),
        "with_boxes": with_boxes,
        "truth": truth_digest(splits.validation),
        **metrics,
        **compare(after, before),
    }
    threshold = score_for_rate(match_detections(after), FALSE_POSITIVE_RATE, LOCALISED)
    settings = {**read_model_settings(trained), "trained_on": splits.description}
    settings["score_threshold"] = threshold if threshold < float("inf") else None
    settings["metrics"] = metrics["after"]
    info = {
        "status": PROMOTED if decision.promoted else KEPT_ASIDE,
        "reason": decision.reason,
        "parent": parent.number,
        "compared_with": current.number,
        "training": job.id,
        "corrections": read_counts(folder.splits),
        "options": job.options.model_dump(),
        "validation": validation,
    }
    return versions.add(detector_of(trained).state_dict(), {k: v for k, v in settings.items() if k != KEY}, info)


def main(arguments: list[str]) -> int:
    """Train the job in a folder; returns 0 if a new version was stored."""
    folder = JobFolder(arguments[0])
    if "--with-parent" in arguments:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(NICENESS)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        with FileLock(folder.lock).acquire(timeout=LOCK_SECONDS):
            job = folder.job()
            if job is None or folder.result() is not None:
                return 2
            return _guarded(folder, lambda: run_job(folder, job))
    except Timeout:
        logger.error("another process is training in this folder")
        return 2


def _guarded(folder: JobFolder, run: Callable[[], Any]) -> int:
    try:
        run()
        return 0
    except Exception as error:
        cause = input_error_of(error)
        if cause is None:
            traceback.print_exc()
        else:
            logger.error("%s", cause)
        # clients see no path and no image; these are in the log, which stays on this machine
        reason = "the training failed; its log on the server says why"
        if cause is not None and "/" not in str(cause):
            reason = in_one_line(cause)
        folder.write_result({"status": "ERROR", "reason": reason})
        return 1


def _end_with_parent() -> None:
    while os.read(0, 1 << 16):  # not sys.stdin: Python aborts at its end if a thread waits for that
        pass
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)  # with its worker processes; the training can continue later
    os._exit(3)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
