"""Double reading: how many readers a case needs, who may see whose label, and which cases a reviewer has to decide.

With one reader a case, everybody sees who labelled it. With two or more, a reader is blinded: the labels of others are
not shown before the reader's own label is stored. Where the readings differ, a reviewer adjudicates: the decision is a
label of its own beside the readings, and it is the consensus of the case.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.agreement import agree, readings
from monai_dgm.labelling.labels.image_label import ADJUDICATION, ImageLabel
from monai_dgm.labelling.reading.reservations import Reservations
from monai_dgm.labelling.server.submissions import Submissions, in_short

__all__ = ["ReadingPlan", "adjudicator", "visible_labels"]

Labels = tuple[ImageLabel, ...]


def adjudicator(reviewer: str) -> str:
    """The name under which a reviewer's decisions are stored, so that a reading of the same person stays."""
    return f"adjudication by {reviewer}"


def visible_labels(labels: Labels, reader: str, blinded: bool) -> Labels:
    """The labels of a case that a reader may see: with ``blinded``, none before the reader has read it."""
    return () if blinded and reader not in _readers(labels) else labels


class ReadingPlan:
    """Which cases wait for whom.

    Args:
        submissions: have the labels.
        reservations: of cases that readers have open.
        readers_per_case: readers that each case needs, at least 1.
    """

    def __init__(self, submissions: Submissions, reservations: Reservations, readers_per_case: int = 1) -> None:
        self.submissions = submissions
        self.reservations = reservations
        self.readers_per_case = readers_per_case
        self._differ: dict[str, tuple[Labels, bool]] = {}

    @property
    def blinded(self) -> bool:
        """Whether readers do not see the labels of others before they have read a case."""
        return self.readers_per_case > 1

    def finished(self, reader: str, open_cases: Mapping[str, set[str]] | None = None) -> set[str]:
        """The cases that are not to be offered to a reader: read by the reader or by enough others, or open elsewhere.

        Args:
            reader: who asks.
            open_cases: of :meth:`Reservations.all`; asked now by default.
        """
        reserved = self.reservations.all() if open_cases is None else open_cases
        by_image = {name: _readers(labels) for name, labels in self.submissions.by_image().items()}
        enough = self.readers_per_case
        done = {name for name, readers in by_image.items() if reader in readers or len(readers) >= enough}
        for name, readers in reserved.items():
            if len(by_image.get(name, set()) | (readers - {reader})) >= enough:
                done.add(name)
        return done

    def open(self, image_id: str, reader: str) -> bool:
        """Reserve a case for a reader who opens it; false where enough readers have read it or have it open."""
        others = self._readers(image_id) - {reader}
        places = self.readers_per_case - len(others)
        return places > 0 and self.reservations.reserve(image_id, reader, places)

    def visible(self, image_id: str, reader: str) -> list[ImageLabel]:
        """The labels of a case that a reader may see, the latest last."""
        return list(visible_labels(tuple(self.submissions.of_image(image_id)), reader, self.blinded))

    def describe(self, image_id: str, reader: str) -> dict[str, Any]:
        """The readers of a case and their labels in short, as far as a reader may see them, as plain values."""
        seen = self.visible(image_id, reader)
        return {
            "readers": in_short(seen),
            "blinded": self.blinded and not seen and image_id in self.submissions.labelled(),
        }

    def disputed(self) -> list[str]:
        """The cases that enough readers have read and that differ, without a decision, by id."""
        least, current = max(2, self.readers_per_case), self.submissions.by_image()
        several = {name: labels for name, labels in current.items() if len(labels) >= least}
        self._differ = {name: self._whether_differ(name, labels) for name, labels in several.items()}
        return sorted(name for name, (_, differ) in self._differ.items() if differ)

    def to_decide(self, image_id: str) -> list[ImageLabel]:
        """The readings of a case, for a reviewer.

        Raises:
            InputError: a case with fewer than two readings.
        """
        found = readings(self.submissions.of_image(image_id))
        if len(found) < 2:
            raise InputError(f"adjudication: expected a case that two readers have read, got {len(found)}")
        return found

    def _readers(self, image_id: str) -> set[str]:
        return _readers(self.submissions.of_image(image_id))

    def _whether_differ(self, name: str, labels: Labels) -> tuple[Labels, bool]:
        """The labels of a case, and whether it is disputed; compared once for the same labels."""
        known = self._differ.get(name)
        if known is not None and known[0] is labels:
            return known
        decided = any(label.source == ADJUDICATION for label in labels)
        enough = len(readings(labels)) >= max(2, self.readers_per_case)
        return labels, not decided and enough and not agree(labels)


def _readers(labels: Iterable[ImageLabel]) -> set[str]:
    return {label.reader for label in labels if label.source != ADJUDICATION}
