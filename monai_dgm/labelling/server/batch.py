"""A model over many images in the background: one run at a time, with its progress, and an end on demand."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from monai_dgm.errors import InputError
from monai_dgm.labelling.server.background import Background
from monai_dgm.labelling.server.http_errors import BusyError

__all__ = ["BatchRun", "Batches"]

logger = logging.getLogger(__name__)

TIME_FORMAT = "%Y-%m-%d %H:%M:%S"  # of the platform's tasks


class BatchRun:
    """One run.

    Args:
        name: of the model.
        image_ids: to go through.
        work: called with each of them; an InputError counts as failed, and the others go on.
    """

    def __init__(self, name: str, image_ids: Sequence[str], work: Callable[[str], Any]) -> None:
        self.id = str(uuid.uuid4())
        self.name = name
        self.image_ids = list(image_ids)
        self.work = work
        self.done = 0
        self.failed = 0
        self.status = "RUNNING"
        self.started = datetime.now()
        self.ended: datetime | None = None
        self._background = Background(f"batch of {name}", self._run)
        self._background.start()

    def stop(self) -> None:
        """End it after the image in hand."""
        self._background.stop()

    def wait(self, timeout: float | None = None) -> None:
        """Wait for its end."""
        self._background.wait(timeout)

    def as_dict(self) -> dict[str, Any]:
        """Status as the platform's clients read it: "status" is RUNNING, DONE, STOPPED or ERROR."""
        words = f"{self.name}: {self.done} of {len(self.image_ids)} images, {self.failed} failed"
        values: dict[str, Any] = {"id": self.id, "status": self.status, "details": [words], "model": self.name}
        values |= {"total": len(self.image_ids), "done": self.done, "failed": self.failed}
        values["start_ts"] = self.started.strftime(TIME_FORMAT)
        return values if self.ended is None else {**values, "end_ts": self.ended.strftime(TIME_FORMAT)}

    def _run(self) -> None:
        outcome = "ERROR"
        try:
            for image_id in self._background.each(self.image_ids):
                try:
                    self.work(image_id)
                except InputError:
                    self.failed += 1
                self.done += 1
            outcome = "STOPPED" if self._background.stopped else "DONE"
        finally:
            self.ended = datetime.now()
            self.status = outcome
            logger.info("batch of %s: %s, %d images, %d failed", self.name, outcome, self.done, self.failed)


class Batches:
    """The run that is under way, or the last one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: BatchRun | None = None

    def start(self, name: str, image_ids: Sequence[str], work: Callable[[str], Any]) -> BatchRun:
        """Begin a run.

        Raises:
            BusyError: another one is under way.
        """
        with self._lock:
            if self._last is not None and self._last.status == "RUNNING":
                raise BusyError("a batch is under way; stop it, or wait for its end")
            self._last = BatchRun(name, image_ids, work)
            return self._last

    def last(self) -> BatchRun | None:
        """The run that is under way, else the last one; None where there was none."""
        return self._last
