"""The worklist of a reader, and which case comes next: by the worklist's order, or by active learning."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from monai_dgm.labelling.labels.image_label import MAX_IMAGE_ID, ImageLabel
from monai_dgm.labelling.labels.json_input import CLOSED
from monai_dgm.labelling.reading.plan import ReadingPlan, visible_labels
from monai_dgm.labelling.server.selection import ImageSelection

__all__ = ["NextRequest", "ReadingQueue", "WorklistOrder"]

MAX_SKIPPED = 1000
MAX_TEXT = 100


class WorklistOrder(BaseModel):
    """Which cases a worklist shows, and in which order.

    Attributes:
        sort: "score" (the models' suspicion), "uncertainty", "image" (the id), "readers" (how many) or "remark".
        descending: the largest first.
        show: "all"; "unread", cases that wait for this reader; "mine", those that the reader has labelled; "refused",
            those with a remark; or "disputed", those that wait for a reviewer.
        text: part of a reader's name, a remark or an id, without regard to case; "" for all.
    """

    model_config = CLOSED
    sort: Literal["score", "uncertainty", "image", "readers", "remark"] = "score"
    descending: bool = True
    show: Literal["all", "unread", "mine", "refused", "disputed"] = "all"
    text: Annotated[str, Field(max_length=MAX_TEXT)] = ""


class NextRequest(BaseModel):
    """What a viewer says when it asks for the next case.

    Attributes:
        skipped: ids of cases that the reader does not want now.
        strategy: of active learning.
        worklist: its order, which the next case follows in the place of active learning; None for active learning.
    """

    model_config = CLOSED
    skipped: Annotated[list[Annotated[str, Field(max_length=MAX_IMAGE_ID)]], Field(max_length=MAX_SKIPPED)] = []
    strategy: str = "combined"
    worklist: WorklistOrder | None = None


class ReadingQueue:
    """The cases that wait for readers.

    Args:
        selection: has the images' scores, and chooses by active learning.
        plan: knows who has to read what.
        seed: of the random strategy.
    """

    def __init__(self, selection: ImageSelection, plan: ReadingPlan, seed: int = 0) -> None:
        self.selection = selection
        self.plan = plan
        self.seed = seed

    def next_case(self, reader: str, request: NextRequest) -> dict[str, Any]:
        """The next case of a reader, reserved for the reader: "image", and "study" and "series" in an archive.

        Empty where none is left. A case with a remark, which may be no frontal chest radiograph, is never next. Cases
        that the reader does not want now are offered to others again.

        Raises:
            UnknownError: another strategy.
        """
        self.plan.reservations.release(request.skipped, reader)
        while True:
            done = self.plan.finished(reader) | set(request.skipped)
            chosen = self._choose(reader, request, done)
            if chosen is None:
                return {}
            if self.plan.open(chosen, reader):  # else another reader was faster: it is in `finished` now
                image = self.selection.analysis.studies.find(chosen)
                return {"image": image.image_id, "study": image.study, "series": image.series}

    def worklist(self, reader: str, order: WorklistOrder, limit: int | None = None) -> tuple[list[dict[str, Any]], int]:
        """The rows of the worklist, at most ``limit``, as plain values, and the number of all rows.

        Each has "image", "study", "score" and "uncertainty" (null where not known), "remark", "own" (status and time of
        the reader's label, or null), "readers" (names, as far as the reader may see them), "num_readers", "open"
        (whether another reader has it open), "disputed", and "waits" (whether the reader may read it).
        """
        cases = _Cases(self, reader)
        names = cases.names(order)
        return [cases.row(name) for name in names[:limit]], len(names)

    def _choose(self, reader: str, request: NextRequest, done: set[str]) -> str | None:
        if request.worklist is None:
            return self.selection.next_image(request.strategy, done, self.seed)
        cases = _Cases(self, reader)
        return next((name for name in cases.names(request.worklist) if cases.waits(name) and name not in done), None)


class _Cases:
    """All cases as they are now, for one reader. Rows are made of those that are shown alone: there may be thousands.

    Args:
        queue: whose cases.
        reader: who asks.
    """

    def __init__(self, queue: ReadingQueue, reader: str) -> None:
        plan, self.reader = queue.plan, reader
        self.studies = queue.selection.analysis.studies
        self.scores = queue.selection.scores.by_image()
        self.labels = plan.submissions.by_image()
        self.blinded = plan.blinded
        self.reserved, self.disputed = plan.reservations.all(), set(plan.disputed())
        self.finished = plan.finished(reader, self.reserved)

    def names(self, order: WorklistOrder) -> list[str]:
        """The ids of the cases that are shown, in order; those without a known value last."""
        shown = [name for name in self.studies.ids() if self._shows(name, order)]
        values = {name: self._sort_value(name, order.sort) for name in shown}
        known = [name for name in shown if values[name] not in (None, "")]
        unknown = [name for name in shown if values[name] in (None, "")]
        return sorted(known, key=values.__getitem__, reverse=order.descending) + unknown

    def waits(self, name: str) -> bool:
        """Whether the reader may read a case."""
        return name not in self.finished and not self._remark(name)

    def row(self, name: str) -> dict[str, Any]:
        """The row of a case."""
        scores, own = self.scores.get(name), self._own(name)
        return {
            "image": name,
            "study": self.studies.find(name).study,
            "score": None if scores is None else scores.suspicion,
            "uncertainty": None if scores is None else scores.uncertainty,
            "remark": self._remark(name),
            "own": None if own is None else {"status": own.status, "boxes": len(own.boxes), "time": own.time},
            "readers": [label.reader for label in self._visible(name)],
            "num_readers": len(self.labels.get(name, ())),
            "open": bool(self.reserved.get(name, set()) - {self.reader}),
            "disputed": name in self.disputed,
            "waits": self.waits(name),
        }

    def _shows(self, name: str, order: WorklistOrder) -> bool:
        if order.show == "unread" and not self.waits(name):
            return False
        if order.show == "mine" and self._own(name) is None:
            return False
        if order.show == "refused" and not self._remark(name):
            return False
        if order.show == "disputed" and name not in self.disputed:
            return False
        if not order.text:
            return True
        readers = (label.reader for label in self._visible(name))
        return order.text.lower() in " ".join((name, self._remark(name), *readers)).lower()

    def _sort_value(self, name: str, sort: str) -> Any:
        if sort == "image":
            return name
        if sort == "readers":
            return len(self.labels.get(name, ()))
        if sort == "remark":
            return self._remark(name)
        scores = self.scores.get(name)
        return None if scores is None else scores.suspicion if sort == "score" else scores.uncertainty

    def _remark(self, name: str) -> str:
        scores = self.scores.get(name)
        return "" if scores is None else scores.remark

    def _own(self, name: str) -> ImageLabel | None:
        return next((label for label in self.labels.get(name, ()) if label.reader == self.reader), None)

    def _visible(self, name: str) -> tuple[ImageLabel, ...]:
        return visible_labels(self.labels.get(name, ()), self.reader, self.blinded)
