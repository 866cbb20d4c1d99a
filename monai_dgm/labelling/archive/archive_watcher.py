"""Background work on an archive: read new reports and analyse new radiographs, every few seconds."""

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

__all__ = ["ArchiveWatcher"]

logger = logging.getLogger(__name__)


class ArchiveWatcher:
    """One thread. The work to do follows from the archive and the state alone, so it continues after a restart.

    Args:
        results: sends results of new radiographs.
        reports: reads reports of readers.
        seconds: time between two rounds, and time limit for images in one round.
        send: send results to the archive; if not, only reports are read.
        after: called after a round with new labels or images.
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
        self._last_error = ""
        self._background = Background("archive", self._run)

    def start(self) -> None:
        """Start the thread, once."""
        self._background.start()

    def stop(self) -> None:
        """Stop after the current image."""
        self._background.stop()

    def run_round(self) -> bool:
        """One round: reports, then images for at most ``seconds``; returns whether images are left.

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
            logger.info("archive: %d labels from reports, %d images analysed", labels, done)
            self.after()
        return self.waiting > 0

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: "away", "waiting" (number of images), and the counts of the state."""
        return {"away": self.away, "waiting": self.waiting, **self.results.state.counts()}

    def _run(self) -> None:
        while not self._background.stopped:
            more = False
            with errors_in_one_line("archive"):
                more = self._try_round()
            if not more:
                self._background.pause(self.seconds)

    def _try_round(self) -> bool:
        """As :meth:`run_round`, with errors in the log; a repeated error is logged once."""
        try:
            more = self.run_round()
            if self.away:
                logger.info("the archive answers again")
            self.away = False
            return more
        except ArchiveAwayError as error:
            if not self.away:
                logger.warning("%s; trying again every %g seconds", error, self.seconds)
            self.away = True
        except InputError as error:
            if str(error) != self._last_error:  # the models may stay unusable for long
                logger.warning("archive: %s", error)
            self._last_error = str(error)
        return False
