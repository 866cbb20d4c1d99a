"""Double reading: reservations that time out, readers who do not see each other, cases for a reviewer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.image_label import ADJUDICATION, ImageLabel, make_boxes
from monai_dgm.labelling.reading.plan import ReadingPlan, adjudicator
from monai_dgm.labelling.reading.reservations import Reservations
from monai_dgm.labelling.server.submissions import Submissions

BOX = (10.0, 10.0, 50.0, 60.0)


class Clock:
    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make_plan(folder: Path, clock: Clock, readers: int) -> ReadingPlan:
    return ReadingPlan(Submissions(folder), Reservations(folder / "reservations.sqlite", 30, clock), readers)


def submit(plan: ReadingPlan, image: str, reader: str, *boxes: tuple[float, ...], source: str = "ohif") -> None:
    status = "boxes" if boxes else "no_finding"
    plan.submissions.keep(ImageLabel(image, (100, 100), status, make_boxes(boxes), reader, source))


def test_a_reservation_keeps_others_away_until_its_time_is_over(tmp_path: Path, clock: Clock) -> None:
    plan = make_plan(tmp_path, clock, 1)
    assert plan.open("a", "one") and not plan.open("a", "two") and plan.open("b", "two")
    assert plan.finished("two") == {"a"} and plan.finished("one") == {"b"}
    clock.seconds += 29 * 60
    assert plan.open("a", "one")  # opened again: the time starts anew
    clock.seconds += 2 * 60
    assert plan.finished("two") == {"a"} and plan.finished("one") == set()
    clock.seconds += 30 * 60
    assert plan.open("a", "two") and not plan.open("a", "one")
    plan.reservations.release(["a"], "two")
    assert plan.open("a", "one")
    again = make_plan(tmp_path, clock, 1)  # another process
    assert not again.open("a", "two")


def test_of_many_who_ask_at_once_one_gets_the_case(tmp_path: Path, clock: Clock) -> None:
    plan = make_plan(tmp_path, clock, 1)
    with ThreadPoolExecutor(8) as threads:
        got = list(threads.map(lambda number: plan.open("a", f"reader {number}"), range(24)))
    assert sum(got) == 1


def test_each_case_is_read_by_two(tmp_path: Path, clock: Clock) -> None:
    plan = make_plan(tmp_path, clock, 2)
    assert plan.open("a", "one") and plan.open("a", "two") and not plan.open("a", "three")
    submit(plan, "a", "one", BOX)
    plan.reservations.release(["a"], "one")
    assert plan.finished("one") == {"a"} == plan.finished("three") and plan.finished("two") == set()
    submit(plan, "a", "two", BOX)
    assert plan.finished("two") == {"a"} and not plan.open("a", "three")


def test_a_reader_does_not_see_others_before_the_own_label(tmp_path: Path, clock: Clock) -> None:
    plan = make_plan(tmp_path, clock, 2)
    submit(plan, "a", "one", BOX)
    assert plan.describe("a", "two") == {"readers": [], "blinded": True} and plan.visible("a", "two") == []
    assert [one["reader"] for one in plan.describe("a", "one")["readers"]] == ["one"]
    submit(plan, "a", "two")
    assert [one["reader"] for one in plan.describe("a", "two")["readers"]] == ["one", "two"]
    single = make_plan(tmp_path, clock, 1)
    assert [label.reader for label in single.visible("a", "three")] == ["one", "two"]


def test_a_reviewer_decides_what_differs(tmp_path: Path, clock: Clock) -> None:
    plan = make_plan(tmp_path, clock, 2)
    submit(plan, "a", "one", BOX)
    with pytest.raises(InputError, match="two readers"):
        plan.to_decide("a")
    submit(plan, "a", "two")
    submit(plan, "b", "one", BOX)
    submit(plan, "b", "two", BOX)
    assert plan.disputed() == ["a"] and [label.reader for label in plan.to_decide("a")] == ["one", "two"]
    submit(plan, "a", adjudicator("one"), BOX, source=ADJUDICATION)  # also one of the readers may decide
    assert plan.disputed() == [] and [label.reader for label in plan.to_decide("a")] == ["one", "two"]
