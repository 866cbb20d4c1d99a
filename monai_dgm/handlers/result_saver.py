"""Handlers that write what a pipeline says of each radiograph, and at the end one JSON file with all results.

They are attached to MONAI's evaluator of a :class:`monai_dgm.engines.pipeline.RadiographPipeline` over a
:class:`monai_dgm.engines.file_run.FileDataset`, or run and save the same batches without an engine,
:meth:`ResultSaver.save_all`. A file that cannot be used is listed under "failed" with its reason.
"""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from tqdm import tqdm

from monai_dgm.engines.classification.tasks import TASKS
from monai_dgm.engines.file_run import SCORES_FILE, FileRun
from monai_dgm.engines.files import writing
from monai_dgm.engines.overlay import DISCLAIMER
from monai_dgm.engines.pipeline import RadiographPipeline
from monai_dgm.engines.radiograph_result import RadiographResult
from monai_dgm.errors import InputError, reason_of
from monai_dgm.transforms.lungs import THRESHOLD, lungs_in_original
from monai_dgm.transforms.preparation import RadiographSource
from monai_dgm.utils.atomic import atomic_write

if TYPE_CHECKING:
    from ignite.engine import Engine

__all__ = ["BOXES_NOTE", "LUNGS_FILE", "MASK_FILE", "ClassificationSaver", "LungMaskSaver", "ResultSaver"]

logger = logging.getLogger(__name__)

LUNGS_FILE = "lungs.json"
MASK_FILE = "lung_mask.png"
WRITERS = 4  # threads that write: more than cores, since they also wait for the disk
WAITING = 4 * WRITERS
BOXES_NOTE = "[xmin, ymin, xmax, ymax], x to the right, y down, pixels of the original, pixel i spans [i, i + 1]"
LUNG_NOTES = {
    "boxes": BOXES_NOTE,
    "lung_mask.png": "0 outside, 255 inside; the original's pixels",
    "right, left": "the patient's; the right lung is on the image's left",
    "chest_score": "distance from the training chests in units of the threshold; above 1 it is questioned",
}


class ResultSaver(ABC):
    """Writes the files of each radiograph and the JSON file of all.

    Files are written in threads of their own, while the networks look at the next radiographs; the JSON file lists the
    radiographs in their order. At most ``WAITING`` results wait to be written.

    Args:
        files: of the run, from :meth:`list_files`.
        pipeline: whose results are written.

    Raises:
        InputError: (when attached) there is no radiograph; (in a run) a folder that cannot be written, or no radiograph
            that could be used. The JSON file is written before.
    """

    results_file = SCORES_FILE
    output_files: Collection[str] = ()
    done = "used"
    logs_remarks = False

    def __init__(self, files: FileRun, pipeline: RadiographPipeline) -> None:
        self.files = files
        self.pipeline = pipeline
        self.report: dict[str, Any] = {}
        self._bar: tqdm | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._waiting: deque[tuple[int, Future[Mapping[str, Any]]]] = deque()

    @classmethod
    def list_files(
        cls, datalist: str | os.PathLike[str] | Sequence[Mapping[str, Any]], output_dir: str | os.PathLike[str]
    ) -> FileRun:
        """The files to read, without those that an earlier run wrote; arguments and errors as :class:`FileRun`."""
        return FileRun(datalist, output_dir, cls.results_file, cls.output_files, cls.done)

    def attach(self, engine: Engine) -> None:
        """Save the results of each batch, and the JSON file at the end."""
        from ignite.engine import Events  # here, for a command that saves without an engine starts without it

        if not self.files.items:
            self.finish()
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._finish_run)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._give_up)

    def __call__(self, engine: Engine) -> None:
        """Save the results of one batch of :func:`monai_dgm.engines.file_run.collate_files`."""
        state: Any = engine.state
        self.save_batch(state.batch, state.output["pred"])

    def save_all(self, batches: Iterable[Mapping[str, list[Any]]]) -> dict[str, Any]:
        """Run the pipeline on all batches, as MONAI's evaluator does, and save the results; returns the JSON's values.

        Args:
            batches: of :func:`monai_dgm.engines.file_run.collate_files`.
        """
        self.start()
        if self.files.items:
            try:
                with torch.no_grad():
                    for batch in batches:
                        self.save_batch(batch, self.pipeline(batch["prepared"]))
            except Exception as error:
                self._give_up(error)
        self.finish()
        return self.report

    def save_batch(self, batch: Mapping[str, list[Any]], results: Sequence[RadiographResult | InputError]) -> None:
        """Save the results of one batch.

        Args:
            batch: of :func:`monai_dgm.engines.file_run.collate_files`.
            results: of the pipeline for its "prepared" radiographs.
        """
        for index, reason in batch["failed"]:
            self._fail(index, reason)
        for index, source, result in zip(batch["index"], batch["source"], results, strict=True):
            if isinstance(result, InputError):
                self._fail(index, str(result))
            else:
                assert self._threads is not None
                self._waiting.append((index, self._threads.submit(self.save, index, source, result)))
        self._list(WAITING)

    @abstractmethod
    def save(self, index: int, source: RadiographSource, result: RadiographResult) -> Mapping[str, Any]:
        """Write the files of one radiograph; called in a thread.

        Returns:
            its values for the JSON file.

        Raises:
            InputError: what stops every further image, such as a full disk. Another exception is this image's reason.
        """

    def _list(self, left: int) -> None:
        """Take the results that are written, in their order, and wait until at most ``left`` are not."""
        while self._waiting and (len(self._waiting) > left or self._waiting[0][1].done()):
            index, future = self._waiting.popleft()
            try:
                values = future.result()
            except InputError:
                raise
            except Exception as error:  # whatever one image does, the others are still written
                self._fail(index, reason_of(error, "image"))
                continue
            self.files.add(index, values)
            self._count()
            for remark in values["remarks"] if self.logs_remarks else ():
                logger.warning("%s: %s", self.files.name(index), remark)

    def _fail(self, index: int, reason: str) -> None:
        self.files.fail(index, reason)
        self._count()

    def _count(self) -> None:
        if self._bar is not None:
            self._bar.update()

    @abstractmethod
    def details(self) -> dict[str, Any]:
        """What the JSON file says of the run as a whole, and the keyword ``model_file``."""

    def start(self) -> None:
        """Forget the results of an earlier run; show the progress where a terminal is."""
        self.files.clear()
        self._threads = ThreadPoolExecutor(WRITERS, thread_name_prefix="writer")
        self._bar = tqdm(total=len(self.files.items), desc=self.done, unit="image", disable=None)

    def finish(self) -> None:
        """Wait for what is still written, and write the JSON file."""
        self._list(0)
        if self._threads is not None:
            self._threads.shutdown()
        if self._bar is not None:
            self._bar.close()
        self.files.check_complete()
        self.report = self.files.write(**self.details())

    def _finish_run(self) -> None:
        self.finish()
        print(f"results: {self.files.results_file}", flush=True)

    def _give_up(self, error: Exception) -> None:
        """Write nothing more after an error that ends the run, and let it through."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        raise error


class ClassificationSaver(ResultSaver):
    """Writes ``scores.json``; "called" is the class by the threshold of the classifier's settings, None without one.

    Args:
        files, pipeline: as in :class:`ResultSaver`; the pipeline has a classifier, whose settings name its "task".
    """

    done = "classified"

    def __init__(self, files: FileRun, pipeline: RadiographPipeline) -> None:
        super().__init__(files, pipeline)
        settings = pipeline.required("classifier").settings
        self.task, self.threshold = str(settings["task"]), settings.get("threshold")

    def save(self, index: int, source: RadiographSource, result: RadiographResult) -> Mapping[str, Any]:
        """Probability and class."""
        probability, threshold = result.class_probability, self.threshold
        assert probability is not None
        called = None if threshold is None else TASKS[self.task][0 if probability >= threshold else 1]
        scores = {f"{self.task}_probability": round(probability, 6), "called": called}
        return {**scores, "remarks": list(result.chest_check.remarks)}

    def details(self) -> dict[str, Any]:
        """Model, task and threshold."""
        model_file = self.pipeline.model_files.get("classifier")
        return {"model_file": model_file, "task": self.task, "threshold": self.threshold}


class LungMaskSaver(ResultSaver):
    """Writes ``<image_id>/lung_mask.png`` for each radiograph, and ``lungs.json`` with boxes and the chest check.

    Args:
        files, pipeline: as in :class:`ResultSaver`; the pipeline has a lung segmentor.
    """

    results_file = LUNGS_FILE
    output_files = (MASK_FILE,)
    done = "segmented"
    logs_remarks = True

    def save(self, index: int, source: RadiographSource, result: RadiographResult) -> Mapping[str, Any]:
        """Write the mask; the boxes of :func:`lungs_in_original` and the chest check."""
        if result.lung_probability is None:
            raise InputError("expected a lung segmentor in the pipeline, got none")
        geometry = result.prepared.geometry
        mask, lungs = lungs_in_original(result.lung_probability, geometry)
        _write_mask(self.files.folder(index) / MASK_FILE, mask)
        size = {"rows": geometry.rows, "cols": geometry.cols}
        return {**size, **lungs, **result.chest_check.as_dict()}

    def details(self) -> dict[str, Any]:
        """Model, settings and notes."""
        settings = {"size": self.pipeline.sides[0], "threshold": THRESHOLD}
        return {"model_file": self.pipeline.model_files.get("lungs"), "settings": settings, "notes": LUNG_NOTES}


def _write_mask(path: Path, mask: NDArray[np.bool_]) -> None:
    remark = PngInfo()
    remark.add_text("Description", f"Lung mask. {DISCLAIMER}.")
    with writing(path.parent), atomic_write(path) as partial:
        Image.fromarray(mask.astype(np.uint8) * 255).save(partial, pnginfo=remark)
