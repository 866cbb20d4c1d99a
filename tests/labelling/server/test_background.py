from __future__ import annotations

import logging
import threading
import time

import pytest

from monai_dgm.errors import InputError
from monai_dgm.labelling.server.background import Background, Batches, ReadersFirst, errors_in_one_line
from monai_dgm.labelling.server.http_errors import BusyError

PATIENT = "Doe^Jane"


class Items:
    """Work through items that stands still at each until it is let go."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.entered, self.go = threading.Event(), threading.Event()
        self.background = Background("items", self._work)

    def _work(self) -> None:
        for item in self.background.each("abc"):
            self.seen.append(item)
            self.entered.set()
            self.go.wait(10)


@pytest.fixture
def items() -> Items:
    return Items()


def test_it_begins_once_however_many_ask(items: Items) -> None:
    askers = [threading.Thread(target=items.background.start) for _ in range(8)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    items.go.set()
    items.background.wait(10)
    assert items.seen == ["a", "b", "c"]


def test_work_that_has_ended_can_begin_again(items: Items) -> None:
    items.go.set()
    for _ in range(2):
        items.background.start()
        items.background.wait(10)
    assert items.seen == ["a", "b", "c"] * 2


def test_it_ends_after_the_item_in_hand_and_for_good(items: Items) -> None:
    items.background.start()
    items.entered.wait(10)
    threading.Timer(0.05, items.go.set).start()
    items.background.stop()
    assert items.go.is_set() and items.seen == ["a"] and items.background.stopped
    items.background.start()
    items.background.wait(10)
    assert items.seen == ["a"]
    assert list(items.background.each("abc")) == []


def test_what_was_never_begun_can_be_stopped_and_waited_for(items: Items) -> None:
    items.background.wait(10)
    items.background.stop()
    assert items.seen == []


def test_waiting_has_an_end_while_the_work_goes_on(items: Items) -> None:
    items.background.start()
    items.entered.wait(10)
    items.background.wait(0.01)
    assert items.seen == ["a"]
    items.go.set()
    items.background.stop()


def test_a_pause_ends_when_the_work_is_to_end() -> None:
    background = Background("pause", lambda: background.pause(600))
    background.start()
    begun = time.monotonic()
    background.stop()
    assert time.monotonic() - begun < 60


def test_an_error_is_one_line_without_its_message(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise KeyError(PATIENT)

    background = Background("failing work", fail)
    with caplog.at_level(logging.DEBUG):
        background.start()
        background.wait(10)
        background.start()  # it can begin again
        background.wait(10)
    assert [record.getMessage() for record in caplog.records] == ["failing work: KeyError"] * 2
    assert PATIENT not in caplog.text and "Traceback" not in caplog.text


def test_work_goes_on_after_an_error_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    done = []
    for item in "ab":
        with errors_in_one_line("a block"):
            done.append(item)
            raise ValueError(PATIENT)
    assert done == ["a", "b"] and caplog.text.count("a block: ValueError") == 2 and PATIENT not in caplog.text
    with pytest.raises(KeyboardInterrupt), errors_in_one_line("a block"):
        raise KeyboardInterrupt


def test_a_run_goes_on_after_an_image_that_cannot_be_used() -> None:
    seen: list[str] = []

    def work(image_id: str) -> None:
        seen.append(image_id)
        if image_id == "b":
            raise InputError("no")

    run = Batches().start("detect", ["a", "b", "c"], work)
    run.wait(10)
    values = run.as_dict()
    assert seen == ["a", "b", "c"]
    assert (values["status"], values["done"], values["failed"], values["total"]) == ("DONE", 3, 1, 3)
    assert "end_ts" in values


def test_one_run_at_a_time_and_it_can_be_ended() -> None:
    entered, go = threading.Event(), threading.Event()

    def work(image_id: str) -> None:
        entered.set()
        go.wait(10)

    batches = Batches()
    assert batches.last() is None
    run = batches.start("detect", ["a", "b", "c"], work)
    entered.wait(10)
    with pytest.raises(BusyError):
        batches.start("detect", ["a"], work)
    threading.Timer(0.05, go.set).start()
    run.stop()
    assert run.as_dict()["status"] == "STOPPED" and run.done < 3
    batches.start("detect", [], work).wait(10)
    last = batches.last()
    assert last is not None and last.as_dict()["status"] == "DONE"


def test_a_fault_ends_the_run_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    run = Batches().start("detect", ["Doe^Jane"], lambda image_id: {}[image_id])
    run.wait(10)
    assert run.as_dict()["status"] == "ERROR"
    assert "Doe" not in caplog.text and "Traceback" not in caplog.text


def test_a_reader_comes_before_the_background_that_waits_longer() -> None:
    lock, order = ReadersFirst(grace=0.0), list[str]()

    def take(name: str) -> None:
        with lock:
            order.append(name)

    background, reader = Background("work", lambda: take("background")), threading.Thread(target=take, args=["reader"])
    with lock, lock:  # it may be taken twice
        background.start()
        background.wait(0.05)  # now it waits for the lock
        reader.start()
        while not lock._readers:
            time.sleep(0.001)
    reader.join(10)
    background.wait(10)
    assert order == ["reader", "background"]


def test_a_reader_may_come_back_before_the_background_goes_on() -> None:
    lock, entered = ReadersFirst(grace=0.3), list[float]()

    def work() -> None:
        with lock:
            entered.append(time.monotonic())

    background = Background("work", work)
    for _ in range(2):
        with lock:
            background.start()
            left = time.monotonic()
    background.wait(10)
    assert len(entered) == 1 and entered[0] >= left + 0.3
