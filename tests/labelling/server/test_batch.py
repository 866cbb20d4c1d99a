from __future__ import annotations

import threading

import pytest

from monai_dgm.errors import InputError
from monai_dgm.labelling.server.batch import Batches
from monai_dgm.labelling.server.http_errors import BusyError


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
