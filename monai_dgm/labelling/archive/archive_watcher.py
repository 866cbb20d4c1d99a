"""Background work on an archive: follow its changes, read new reports and analyse new radiographs, every few seconds.

A round without changes asks the archive for them and does nothing else, whatever the number of studies.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from monai_dgm.errors import InputError
from monai_dgm.labelling.archive.archive_changes import ChangeFeed, Changes, ListingFeed, find_feed
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
        forget: called with the ids of images that were replaced, whose scores do not hold any more.
    """

    def __init__(
        self,
        results: ArchiveResults,
        reports: ArchiveReports,
        seconds: float = 5.0,
        send: bool = True,
        after: Callable[[], None] = lambda: None,
        forget: Callable[[Iterable[str]], None] = lambda image_ids: None,
    ) -> None:
        self.results = results
        self.reports = reports
        self.seconds = seconds
        self.send = send
        self.after = after
        self.forget = forget
        self.waiting = 0
        self._feed: ChangeFeed | None = None
        self._told: set[str] = set()  # studies that look_at named
        self._left = Changes()  # changes that were not dealt with, since the archive or a report failed
        self._done_with: tuple[object, ...] = ()
        self.away = False
        self._last_error = ""
        self._background = Background("archive", self._run)

    def start(self) -> None:
        """Start the thread, once."""
        self._background.start()

    def stop(self) -> None:
        """Stop after the current image."""
        self._background.stop()

    def look_at(self, studies: set[str]) -> None:
        """List these studies again in the next round: something was stored in them."""
        self._told |= studies

    def look_before_opening(self, image_id: str) -> None:
        """Ask an archive without a log of changes whether an image that a reader opens was replaced.

        An archive that does not answer has not told anything new.

        Raises:
            UnknownError: there is no such radiograph.
        """
        if isinstance(self._feed, ListingFeed):
            archive = self.results.archive
            study = archive.study_of(image_id).study
            with suppress(ArchiveAwayError):
                self._forget_earlier(archive.apply(Changes(studies={study})))

    def run_round(self) -> bool:
        """One round: reports, then images for at most ``seconds``; returns whether images are left.

        Raises:
            ArchiveAwayError: the archive does not answer.
            UnavailableError: the models cannot be used.
        """
        more, labels = self._follow()
        pending = self._pending()
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
        return self.waiting > 0 or more

    def _follow(self) -> tuple[bool, int]:
        """Update index and labels; returns whether there are more changes, and the number of new labels."""
        archive, state = self.results.archive, self.results.state
        told, self._told = self._told, set()
        self._left.studies |= told
        try:
            if self._feed is None:
                self._feed = find_feed(archive.client, state)
            self._left.add(self._feed.look())
        except InputError as error:
            archive.note_failure(error)
            raise
        changes = self._left
        if not changes.any and not self.reports.more:
            archive.note_failure(None)  # the archive answered; else apply() says whether it did
            return changes.more, 0
        before, start, first = archive.changes, time.monotonic(), not archive.listed
        self._forget_earlier(archive.apply(changes))
        changes.replaced.clear()  # they are dealt with, even if the reports fail
        self._feed.keep()
        labels = self.reports.update(changes)
        self._left = Changes()
        if changes.everything:
            self._feed.listed(time.monotonic() - start)
        if first:
            self._tell_what_is_there()
        if archive.changes != before:
            self.after()
        return changes.more or self.reports.more, labels

    def _forget_earlier(self, replaced: set[str]) -> None:
        """Nothing that was found in the earlier pixels of these images counts any more."""
        if replaced:
            self.results.state.mark_replaced(replaced)
            for name in replaced:
                self.results.submissions.forget(name)
            self.forget(replaced)

    def _pending(self) -> list[str]:
        """Images to analyse; they are looked for only after something has changed."""
        if not self.send:
            return []
        results = self.results
        now = results.archive.changes, results.version(), len(results.submissions.labelled()), results.state.revision
        if now == self._done_with:
            return []
        pending = results.pending()
        if not pending:
            self._done_with = now
        return pending

    def _tell_what_is_there(self) -> None:
        archive = self.results.archive
        count, asked_for = len(archive.ids()), len(archive.asked_for())
        logger.info("archive: %d radiographs", count)
        if asked_for < count:
            logger.warning(
                "archive: none of the %d radiographs is analysed before it is opened; say which are by the settings "
                "since, body_part or query (--conf since 30d; --conf since all for all of them)",
                count,
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: "away", "listed" (whether the whole archive was), "waiting" (number of images), and
        the counts of the state."""
        archive = self.results.archive
        return {"away": self.away, "listed": archive.listed, "waiting": self.waiting, **self.results.state.counts()}

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
