from __future__ import annotations

import logging
import threading
import time

import pytest

from monai_dgm.labelling.server.background import Background, errors_in_one_line

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
