"""Work in the background: a thread that begins once, ends on demand between two images, and logs no patient's name."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["Background", "errors_in_one_line"]

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 0.01  # between two items: whoever waits for an answer goes first

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
