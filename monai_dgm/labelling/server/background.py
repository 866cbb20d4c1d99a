"""Work in the background: a thread that begins once, ends on demand between two images, and logs no patient's name."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

from monai_dgm.errors import InputError
from monai_dgm.labelling.server.http_errors import BusyError

__all__ = ["Background", "BatchRun", "Batches", "errors_in_one_line"]

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 0.01  # between two items: whoever waits for an answer goes first

TIME_FORMAT = "%Y-%m-%d %H:%M:%S"  # of the platform's tasks

Item = TypeVar("Item")


@contextmanager
def errors_in_one_line(name: str) -> Iterator[None]:
    """Log an error of the block, by the name of its type alone, and go on after the block.

    A thread's traceback, and even a message, could name an image.

    Args:
        name: of what is done, in the log.
    """
    try:
        yield
    except Exception as error:
        logger.error("%s: %s", name, type(error).__name__)


class Background:
    """One thread. Safe with several others.

    Args:
        name: of the thread, and of the work in the log.
        work: what is done; it goes through its items by :meth:`each`, or asks ``stopped``.
    """

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self.name = name
        self.work = work
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def stopped(self) -> bool:
        """Whether the work is to end."""
        return self._stop.is_set()

    def start(self) -> None:
        """Begin, unless the work is under way or was stopped."""
        with self._lock:
            if not self.stopped and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End after the item in hand, for good, and wait for it."""
        self._stop.set()
        self.wait()

    def wait(self, timeout: float | None = None) -> None:
        """Wait for the end of the work that is under way, for at most ``timeout`` seconds."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(timeout)

    def pause(self, seconds: float) -> None:
        """Wait, or until the work is to end."""
        self._stop.wait(seconds)

    def each(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items one after the other, with a short pause after each, until the work is to end."""
        for item in items:
            if self.stopped:
                return
            yield item
            self.pause(PAUSE_SECONDS)

    def _run(self) -> None:
        with errors_in_one_line(self.name):
            self.work()


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
