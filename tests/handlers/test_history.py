"""The record of a training: interval means, one row an iteration, the same after a resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events

from monai_dgm.handlers.history import TrainingHistory, read_history


def run(history: TrainingHistory, stop: int, start: int = 0, epoch_length: int = 4) -> None:
    """Iteration i gives loss i^2 and, every third time, a term of its own; images are not scalars."""

    def step(engine: Engine, _: Any) -> dict[str, Any]:
        i = engine.state.iteration
        output = {"loss": torch.tensor(float(i**2)), "image": torch.zeros(2, 1, 4, 4), "note": "text"}
        return {**output, "rare": torch.tensor(float(i))} if i % 3 == 0 else output

    engine = Engine(step)
    history.attach(engine)
    engine.load_state_dict({"iteration": start, "max_epochs": 100, "epoch_length": epoch_length})
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=stop), lambda e: e.terminate())
    engine.run([0] * epoch_length)


def test_rows_are_means_over_their_interval() -> None:
    history = TrainingHistory(None, interval=5)
    run(history, 12)
    assert [row["iteration"] for row in history.rows] == [5, 10]
    assert [row["epoch"] for row in history.rows] == [2, 3]
    assert history.rows[0]["loss/loss"] == pytest.approx(sum(i**2 for i in range(1, 6)) / 5)
    assert history.rows[1]["loss/loss"] == pytest.approx(sum(i**2 for i in range(6, 11)) / 5)
    assert history.rows[1]["loss/rare"] == pytest.approx((6 + 9) / 2)  # over the iterations that have it
    assert set(history.rows[0]) == {"iteration", "epoch", "loss/loss", "loss/rare"}


def test_figures_of_one_iteration_share_a_row() -> None:
    history, engine = TrainingHistory(None, interval=5), Engine(lambda *_: None)
    engine.state.iteration, engine.state.epoch = 7, 1
    history.add(engine, {"a": 1})
    history.add(engine, {"b": torch.tensor(2.0)})  # type: ignore[dict-item]
    engine.state.iteration = 9
    history.add(engine, {"a": 3.0})
    assert history.rows == [{"iteration": 7, "epoch": 1, "a": 1.0, "b": 2.0}, {"iteration": 9, "epoch": 1, "a": 3.0}]
    assert all(type(v) in (int, float) for row in history.rows for v in row.values())


def test_file_holds_the_rows_as_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "out" / "history.jsonl"
    history = TrainingHistory(path, interval=2)
    run(history, 6)
    assert [json.loads(line) for line in path.read_text().splitlines()] == history.rows == read_history(path)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert read_history(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize("stop", [1, 4, 5, 7, 11])
def test_resumed_history_is_that_of_one_run(stop: int, tmp_path: Path) -> None:
    whole = TrainingHistory(None, interval=5)
    run(whole, 12)
    path = tmp_path / "history.jsonl"
    before = TrainingHistory(path, interval=5)
    run(before, stop)
    state = before.state_dict()
    run(before, 12, start=stop)  # what the killed run still wrote after its last checkpoint
    torch.save(state, tmp_path / "state.pt")
    after = TrainingHistory(path, interval=5)
    after.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    run(after, 12, start=stop)
    assert after.rows == whole.rows == read_history(path)
    assert after.state_dict() == whole.state_dict()


def test_state_does_not_follow_the_run_that_gave_it() -> None:
    history = TrainingHistory(None, interval=2)
    run(history, 4)
    state = history.state_dict()
    rows = json.dumps(state["rows"])
    run(history, 8, start=4)
    history.rows[0]["loss/loss"] = -1.0
    assert json.dumps(state["rows"]) == rows
