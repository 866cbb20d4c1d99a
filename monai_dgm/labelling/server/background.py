"""Work in the background: threads that can be stopped between two images and let readers pass, and a model run on many
images.

Errors are logged by their type alone, since messages could name an image or a patient.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

from monai_dgm.errors import InputError
from monai_dgm.labelling.server.http_errors import BusyError

__all__ = ["Background", "BatchRun", "Batches", "ReadersFirst", "errors_in_one_line"]

logger = logging.getLogger(__name__)

GRACE_SECONDS = 0.1  # a viewer asks for boxes and numbers in turn

TIME_FORMAT = "%Y-%m-%d %H:%M:%S"  # of MONAI Label's tasks

Item = TypeVar("Item")

_in_background = threading.local()


@contextmanager
def errors_in_one_line(name: str) -> Iterator[None]:
    """Log an error of the block by the name of its type, and continue after the block.

    Args:
        name: of the work, for the log.
    """
    try:
        yield
    except Exception as error:
        logger.error("%s: %s", name, type(error).__name__)


class ReadersFirst:
    """A lock that threads of :class:`Background` do not get while a reader's thread waits for it, nor shortly after.

    A thread that has it may take it again.

    Args:
        grace: seconds after a reader's turn in which the reader may come back before the background goes on.
    """

    def __init__(self, grace: float = GRACE_SECONDS) -> None:
        self.grace = grace
        self._changed = threading.Condition()
        self._owner: int | None = None
        self._depth = 0
        self._readers = 0  # that wait
        self._grace_ends = 0.0  # of time.monotonic

    def __enter__(self) -> None:
        with self._changed:
            if self._owner != threading.get_ident():
                if _is_reader():
                    self._readers += 1
                    self._changed.wait_for(lambda: self._owner is None)
                    self._readers -= 1
                else:
                    while (left := self._grace_ends - time.monotonic()) > 0 or self._readers or self._owner is not None:
                        self._changed.wait(left if left > 0 else None)
                self._owner = threading.get_ident()
            self._depth += 1

    def __exit__(self, *error: object) -> None:
        with self._changed:
            self._depth -= 1
            if not self._depth:
                self._owner = None
                if _is_reader():
                    self._grace_ends = time.monotonic() + self.grace
                self._changed.notify_all()


def _is_reader() -> bool:
    """Whether this thread is none of the background."""
    return not getattr(_in_background, "here", False)


class Background:
    """Work in one thread. Its methods may be called from several threads.

    Args:
        name: of the thread, and of the work in the log.
        work: function to run; it iterates by :meth:`each` or checks ``stopped``.
    """

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self.name = name
        self.work = work
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def stopped(self) -> bool:
        """Whether the work has to end."""
        return self._stop.is_set()

    def start(self) -> None:
        """Start the work, unless it is running or was stopped."""
        with self._lock:
            if not self.stopped and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Stop the work after the current item, and wait for its end. It cannot be started again."""
        self._stop.set()
        self.wait()

    def wait(self, timeout: float | None = None) -> None:
        """Wait for the end of the running work, for at most ``timeout`` seconds."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(timeout)

    def pause(self, seconds: float) -> None:
        """Wait this long, or until the work has to end."""
        self._stop.wait(seconds)

    def each(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items one by one, until the work has to end."""
        for item in items:
            if self.stopped:
                return
            yield item

    def _run(self) -> None:
        _in_background.here = True
        with errors_in_one_line(self.name):
            self.work()


class BatchRun:
    """One run of a model on many images.

    Args:
        name: of the model.
        image_ids: of the images.
        work: called with each image id; an InputError counts as failed, and the run continues.
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
        """Stop after the current image."""
        self._background.stop()

    def wait(self, timeout: float | None = None) -> None:
        """Wait for the end of the run."""
        self._background.wait(timeout)

    def as_dict(self) -> dict[str, Any]:
        """Status as MONAI Label's clients read it: "status" is RUNNING, DONE, STOPPED or ERROR."""
        summary = f"{self.name}: {self.done} of {len(self.image_ids)} images, {self.failed} failed"
        values: dict[str, Any] = {"id": self.id, "status": self.status, "details": [summary], "model": self.name}
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
    """The current run, or the last one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: BatchRun | None = None

    def start(self, name: str, image_ids: Sequence[str], work: Callable[[str], Any]) -> BatchRun:
        """Start a run.

        Raises:
            BusyError: another run is not finished.
        """
        with self._lock:
            if self._last is not None and self._last.status == "RUNNING":
                raise BusyError("a batch is running; stop it, or wait for its end")
            self._last = BatchRun(name, image_ids, work)
            return self._last

    def last(self) -> BatchRun | None:
        """The current run, else the last one; None before the first."""
        return self._last
