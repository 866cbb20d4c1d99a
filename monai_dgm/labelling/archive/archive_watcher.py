"""The archive's watch: in the background, reports are read and new radiographs looked at, again and again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from monai_dgm.errors import InputError
from monai_dgm.labelling.archive.reports import ArchiveReports
from monai_dgm.labelling.archive.sent_results import ArchiveResults
from monai_dgm.labelling.server.background import Background, errors_in_one_line
from monai_dgm.labelling.server.http_errors import ArchiveAwayError

__all__ = ["ArchiveWatch"]

logger = logging.getLogger(__name__)


class ArchiveWatch:
    """One thread. What is to be done follows from the archive and the state alone, so it goes on after a restart.

    Args:
        results: of new radiographs.
        reports: of readers.
        seconds: between two looks; for as long, at most, images are worked on without one.
        send: results go to the archive; else only reports are read.
        after: called when there was something new.
    """

    def __init__(
        self,
        results: ArchiveResults,
        reports: ArchiveReports,
        seconds: float = 5.0,
        send: bool = True,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        self.results = results
        self.reports = reports
        self.seconds = seconds
        self.send = send
        self.after = after
        self.waiting = 0
        self.away = False
        self._said = ""
        self._background = Background("archive", self._run)

    def start(self) -> None:
        """Begin, once."""
        self._background.start()

    def stop(self) -> None:
        """End after the image in hand."""
        self._background.stop()

    def look(self) -> bool:
        """One look: reports, then images for as long as ``seconds``; returns whether images are left to do.

        Raises:
            ArchiveAwayError: the archive does not answer.
            UnavailableError: the models cannot be used.
        """
        self.results.archive.refresh()
        labels = self.reports.update()
        pending = self.results.pending() if self.send else []
        deadline, done = time.monotonic() + self.seconds, 0
        for image_id in self._background.each(pending):
            if done and time.monotonic() > deadline:
                break
            self.waiting = len(pending) - done
            self.results.try_to_send(image_id)
            done += 1
        self.waiting = len(pending) - done
        if labels or done:
            logger.info("archive: %d labels from reports, %d images looked at", labels, done)
            self.after()
        return self.waiting > 0

    def as_dict(self) -> dict[str, Any]:
        """How it goes: plain values for JSON."""
        return {"away": self.away, "waiting": self.waiting, **self.results.state.counts()}

    def _run(self) -> None:
        while not self._background.stopped:
            more = False
            with errors_in_one_line("archive"):
                more = self._try_to_look()
            if not more:
                self._background.pause(self.seconds)

    def _try_to_look(self) -> bool:
        """As :meth:`look`; that the archive is away, or why the models cannot be used, is said once."""
        try:
            more = self.look()
            if self.away:
                logger.info("the archive answers again")
            self.away = False
            return more
        except ArchiveAwayError as error:
            if not self.away:
                logger.warning("%s; trying again every %g seconds", error, self.seconds)
            self.away = True
        except InputError as error:
            if str(error) != self._said:  # for the models may stay as they are for long
                logger.warning("archive: %s", error)
            self._said = str(error)
        return False
