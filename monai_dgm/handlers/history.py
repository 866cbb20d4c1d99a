"""History of a training: the mean of every scalar output over each interval, in a file that reports read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from torch import Tensor

from monai_dgm.engines.training.trainer import step_output
from monai_dgm.utils.atomic import write_text

__all__ = ["TrainingHistory", "read_history"]


class TrainingHistory:
    """Handler of the trainer: averages its scalar outputs over ``interval`` iterations and keeps the rows.

    Rows are ``{"iteration", "epoch", "loss/<term>": mean, ...}``; other handlers (collapse monitor, model saver) add
    values by :meth:`add`. The rows are part of the training checkpoint, so a resumed run has each row once.
    ``trainer`` is the engine that the history is attached to, None before.

    Args:
        path: JSON lines file, rewritten aside and renamed; None keeps the rows in memory only.
        interval: iterations averaged in one row.
    """

    def __init__(self, path: str | os.PathLike[str] | None, interval: int = 50) -> None:
        self.path = Path(path) if path is not None else None
        self.interval = interval
        self.rows: list[dict[str, Any]] = []
        self.trainer: Engine | None = None
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def attach(self, engine: Engine) -> None:
        """Collect the outputs of each iteration, write a row every ``interval``."""
        self.trainer = engine
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval), self._write_row)
        engine.add_event_handler(Events.COMPLETED, lambda _: self.write())

    def _collect(self, engine: Engine) -> None:
        for name, value in step_output(engine).items():
            if isinstance(value, Tensor) and value.dim() == 0:
                self._sums[name] = self._sums.get(name, 0) + value.double()
                self._counts[name] = self._counts.get(name, 0) + 1

    def _write_row(self, engine: Engine) -> None:
        means = {f"loss/{name}": float(total / self._counts[name]) for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        self.add(engine, means)

    def add(self, engine: Engine, values: dict[str, float]) -> None:
        """Add values to the row of the engine's present iteration."""
        iteration = engine.state.iteration
        if not self.rows or self.rows[-1]["iteration"] != iteration:
            self.rows.append({"iteration": iteration, "epoch": engine.state.epoch})
        self.rows[-1].update({name: float(value) for name, value in values.items()})
        self.write()

    def write(self) -> None:
        """Write all rows to the file."""
        if self.path is not None:
            write_text(self.path, "".join(json.dumps(row) + "\n" for row in self.rows))

    def state_dict(self) -> dict[str, Any]:
        """Rows, and the sums of the unfinished interval."""
        return {"rows": [dict(row) for row in self.rows], "sums": dict(self._sums), "counts": dict(self._counts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a :meth:`state_dict`."""
        self.rows = [dict(row) for row in state["rows"]]
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])


def read_history(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Rows of a history file; none when it does not exist."""
    if not Path(path).is_file():
        return []
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines() if line]
