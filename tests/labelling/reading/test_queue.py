"""The worklist: order, filter, and the case that comes next by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monai_dgm.labelling.active_learning.image_scores import ImageScores
from monai_dgm.labelling.active_learning.score_store import ScoreStore
from monai_dgm.labelling.labels.image_label import ImageLabel
from monai_dgm.labelling.reading.plan import ReadingPlan
from monai_dgm.labelling.reading.queue import NextRequest, ReadingQueue, WorklistOrder
from monai_dgm.labelling.reading.reservations import Reservations
from monai_dgm.labelling.server.analysis import RadiographAnalysis
from monai_dgm.labelling.server.selection import ImageSelection
from monai_dgm.labelling.server.submissions import Submissions


@pytest.fixture
def queue(analysis: RadiographAnalysis, tmp_path: Path) -> ReadingQueue:
    """Three cases: b is most suspicious, a has a remark, sub__c has no scores yet."""
    selection = ImageSelection(analysis, ScoreStore(tmp_path / "scores.sqlite"))
    version = selection.model_version()
    selection.scores.put(ImageScores("a", version, 0.2, 0.9, remark="this does not look like a frontal chest"))
    selection.scores.put(ImageScores("b", version, 0.8, 0.1))
    plan = ReadingPlan(Submissions(tmp_path / "state"), Reservations(tmp_path / "reservations.sqlite"))
    return ReadingQueue(selection, plan)


def names(queue: ReadingQueue, reader: str = "one", **order: Any) -> list[str]:
    return [row["image"] for row in queue.worklist(reader, WorklistOrder(**order))[0]]


def submit(queue: ReadingQueue, image: str, reader: str) -> None:
    queue.plan.submissions.keep(ImageLabel(image, (90, 120), "no_finding", (), reader, "ohif"))


def test_rows_are_sorted_and_what_is_not_known_comes_last(queue: ReadingQueue) -> None:
    assert names(queue) == ["b", "a", "sub__c"] and names(queue, descending=False) == ["a", "b", "sub__c"]
    assert names(queue, sort="uncertainty") == ["a", "b", "sub__c"]
    assert names(queue, sort="image", descending=False) == ["a", "b", "sub__c"]
    submit(queue, "sub__c", "two")
    assert names(queue, sort="readers")[0] == "sub__c"


def test_rows_are_cut_and_counted(queue: ReadingQueue) -> None:
    rows, total = queue.worklist("one", WorklistOrder(), 2)
    assert [row["image"] for row in rows] == ["b", "a"] and total == 3
    assert queue.worklist("one", WorklistOrder(), 0) == ([], 3)


def test_rows_are_filtered(queue: ReadingQueue) -> None:
    submit(queue, "b", "Zoe")
    assert names(queue, show="refused") == ["a"] and names(queue, show="unread") == ["sub__c"]
    assert names(queue, show="mine") == [] and names(queue, "Zoe", show="mine") == ["b"]
    assert names(queue, text="zoe") == ["b"] and names(queue, text="FRONTAL") == ["a"] and names(queue, text="x") == []
    ((row,), _) = queue.worklist("one", WorklistOrder(text="zoe"))
    assert row["readers"] == ["Zoe"] and row["own"] is None and row["score"] == 0.8 and not row["waits"]


def test_the_next_case_follows_the_worklist_and_is_reserved(queue: ReadingQueue) -> None:
    by_list = NextRequest(worklist=WorklistOrder())
    assert queue.next_case("one", by_list)["image"] == "b"
    assert queue.next_case("one", by_list)["image"] == "b"  # still the reader's own reservation
    assert queue.next_case("two", by_list)["image"] == "sub__c"
    assert queue.next_case("three", by_list) == {}
    skipped = NextRequest(worklist=WorklistOrder(), skipped=["b"])
    assert queue.next_case("one", skipped) == {}  # the other one is open at reader two
    ((row,), _) = queue.worklist("three", WorklistOrder(text="sub__c"))
    assert row["open"] and not row["waits"]
    assert queue.next_case("three", by_list)["image"] == "b"  # which reader one skipped


def test_by_active_learning_a_reserved_case_is_not_next(queue: ReadingQueue) -> None:
    queue.selection.update()
    given = [queue.next_case(reader, NextRequest()).get("image") for reader in ("one", "two", "three", "four")]
    assert len(set(given[:3])) == 3 and given[3] is None
