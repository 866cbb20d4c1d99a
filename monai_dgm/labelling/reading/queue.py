"""The worklist of a reader, and which case comes next: by the worklist's order, or by active learning."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from monai_dgm.labelling.active_learning.image_scores import ImageScores
from monai_dgm.labelling.labels.image_label import MAX_IMAGE_ID
from monai_dgm.labelling.labels.json_input import CLOSED
from monai_dgm.labelling.reading.plan import ReadingPlan
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

        Empty where none is left. A case with a remark, which may be no frontal chest radiograph, is never next.

        Raises:
            UnknownError: another strategy.
        """
        while True:
            done = self.plan.finished(reader) | set(request.skipped)
            chosen = self._choose(reader, request, done)
            if chosen is None:
                return {}
            if self.plan.open(chosen, reader):  # else another reader was faster: it is in `finished` now
                image = self.selection.analysis.studies.find(chosen)
                return {"image": image.image_id, "study": image.study, "series": image.series}

    def worklist(self, reader: str, order: WorklistOrder) -> list[dict[str, Any]]:
        """The rows of the worklist, as plain values.

        Each has "image", "study", "score" and "uncertainty" (null where not known), "remark", "own" (status and time of
        the reader's label, or null), "readers" (names, as far as the reader may see them), "num_readers", "open"
        (whether another reader has it open) and "disputed".
        """
        scores = {item.image_id: item for item in self.selection.scores.all()}
        reserved, disputed = self.plan.reservations.all(), set(self.plan.disputed())
        finished = self.plan.finished(reader, reserved)
        rows = []
        for name in self.selection.analysis.studies.ids():
            row = self._row(name, reader, scores.get(name) or ImageScores(name, ""))
            row |= {"open": bool(reserved.get(name, set()) - {reader}), "disputed": name in disputed}
            row["waits"] = name not in finished and not row["remark"]
            if _shows(order, row):
                rows.append(row)
        column = _COLUMNS.get(order.sort, order.sort)
        known = [row for row in rows if row[column] not in (None, "")]
        unknown = [row for row in rows if row[column] in (None, "")]
        return sorted(known, key=lambda row: row[column], reverse=order.descending) + unknown

    def _choose(self, reader: str, request: NextRequest, done: set[str]) -> str | None:
        if request.worklist is None:
            return self.selection.next_image(request.strategy, done, self.seed)
        rows = self.worklist(reader, request.worklist)
        return next((row["image"] for row in rows if row["waits"] and row["image"] not in done), None)

    def _row(self, image_id: str, reader: str, scores: ImageScores) -> dict[str, Any]:
        image = self.selection.analysis.studies.find(image_id)
        labels = self.plan.submissions.of_image(image_id)
        own = next((label for label in labels if label.reader == reader), None)
        return {
            "image": image_id,
            "study": image.study,
            "score": scores.suspicion,
            "uncertainty": scores.uncertainty,
            "remark": scores.remark,
            "own": None if own is None else {"status": own.status, "boxes": len(own.boxes), "time": own.time},
            "readers": [label.reader for label in self.plan.visible(image_id, reader)],
            "num_readers": len(labels),
        }


_COLUMNS = {"readers": "num_readers"}  # the column that a sorting goes by, where it has another name


def _shows(order: WorklistOrder, row: dict[str, Any]) -> bool:
    kinds = {"unread": row["waits"], "mine": row["own"], "refused": row["remark"], "disputed": row["disputed"]}
    words = " ".join((row["image"], row["remark"], *row["readers"])).lower()
    return bool(kinds.get(order.show, True)) and order.text.lower() in words
