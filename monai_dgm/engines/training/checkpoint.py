"""Checkpoints of a training: state dicts only; the same command resumes from the file."""

from __future__ import annotations

import json
import logging
import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events

from monai_dgm.data.sampler import BalancedBatchSampler
from monai_dgm.engines.training.steps import unwrapped
from monai_dgm.engines.weights import first_line, written_aside
from monai_dgm.errors import InputError

__all__ = ["TrainingCheckpoint", "random_state", "set_random_state"]

logger = logging.getLogger(__name__)

MAY_CHANGE = ("max_epochs",)  # settings that a training may go on with other values of


def random_state() -> dict[str, Any]:
    """State of torch's, NumPy's and Python's generators, as tensors and plain values that load without unpickling."""
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": [str(name), torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached],
        "python": random.getstate(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_random_state(state: Mapping[str, Any]) -> None:
    """Set the generators to a :func:`random_state`."""
    torch.set_rng_state(state["torch"])
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


class TrainingCheckpoint:
    """Saves and resumes a training.

    The file contains the state dicts of ``objects``, the iteration, the best metric and the states of the random
    generators. On a CPU a resumed training ends with the same bits as an uninterrupted one. When training starts and
    the file exists, training resumes from it; a finished training does no further step.

    Attach it after all other handlers, so that the file contains their changes of the same iteration.

    Args:
        path: file of the checkpoint.
        objects: named things with ``state_dict`` and ``load_state_dict``: networks, optimisers, schedulers, histories.
        sampler: resumes at the iteration of the file.
        save_interval: iterations between two checkpoints; one is written after every epoch, too.
        validator: its ``state.best_metric`` and ``best_metric_epoch`` are in the file.
        rank: of this process; only rank 0 writes.
        settings: of the training, plain values; one that was made with others is not resumed, but for
            :data:`MAY_CHANGE`. Another test fold has the same networks, and the weights would have seen its images.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        objects: Mapping[str, Any],
        sampler: BalancedBatchSampler,
        save_interval: int = 200,
        validator: Engine | None = None,
        rank: int = 0,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(path)
        self.settings = dict(settings or {})
        self.objects = dict(objects)
        self.sampler = sampler
        self.save_interval = save_interval
        self.validator: Any = validator
        self.rank = rank

    def attach(self, engine: Engine) -> None:
        """Resume at the start; save every ``save_interval`` iterations and after each epoch."""
        engine.add_event_handler(Events.STARTED, self.resume)
        if self.rank == 0:
            engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.save_interval), self._save_within_epoch)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)

    def _save_within_epoch(self, engine: Engine) -> None:
        # The last iteration of an epoch is saved after the epoch's handlers, else a resumed run would miss them.
        if engine.state.iteration % (engine.state.epoch_length or 1) != 0:
            self.save(engine)

    def save(self, engine: Engine) -> None:
        """Write the checkpoint aside and rename it.

        Raises:
            InputError: when the disk is full or the folder cannot be written to; an older checkpoint stays.
        """
        state: dict[str, Any] = {name: unwrapped(thing).state_dict() for name, thing in self.objects.items()}
        state["engine"] = {"iteration": engine.state.iteration, "epoch_length": engine.state.epoch_length}
        if self.validator is not None:
            best = self.validator.state
            state["best"] = {"metric": float(best.best_metric), "epoch": int(best.best_metric_epoch)}
        state["random"] = random_state()
        state["settings"] = json.dumps(self.settings)
        with written_aside(self.path) as partial:
            torch.save(state, partial)

    def resume(self, engine: Engine) -> None:
        """Load the checkpoint, if there is one.

        Raises:
            InputError: when it belongs to other settings.
        """
        if not self.path.is_file():
            return
        state = self._read(engine)
        self._check_settings(json.loads(state.get("settings", "{}")))
        for name, thing in self.objects.items():
            try:
                unwrapped(thing).load_state_dict(state[name])
            except (KeyError, RuntimeError, ValueError) as error:
                raise InputError(f"{self._other(name)}: {first_line(error)}") from error
        iteration = state["engine"]["iteration"]
        engine.state.iteration = iteration
        engine.state.epoch = iteration // engine.state.epoch_length
        self.sampler.next_batch = iteration
        if self.validator is not None and "best" in state:
            self.validator.state.best_metric = state["best"]["metric"]
            self.validator.state.best_metric_epoch = state["best"]["epoch"]
        set_random_state(state["random"])
        if self.rank > 0:  # the file has the first process's state; the others vary images in their own way
            torch.manual_seed(torch.initial_seed() + 1_000_003 * self.rank + iteration)
        logger.info("resumed from %s at iteration %d", self.path, iteration)

    def _read(self, engine: Engine) -> dict[str, Any]:
        try:
            # load to the CPU, where random states and the monitor's sums belong; load_state_dict moves the rest
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            length = state["engine"]["epoch_length"]
        except Exception as error:
            expected = "a training checkpoint, it cannot be read; remove it to start anew"
            raise InputError(f"{self.path}: expected {expected}") from error
        if length != engine.state.epoch_length:
            raise InputError(f"{self._other('epoch_length')}: {length} there, {engine.state.epoch_length} here")
        return state

    def _check_settings(self, there: Mapping[str, Any]) -> None:
        here = json.loads(json.dumps(self.settings))  # tuples are lists there, too
        for name in here.keys() & there.keys() - set(MAY_CHANGE):
            if here[name] != there[name]:
                raise InputError(f"{self._other(name)}: {there[name]!r} there, {here[name]!r} here")

    def _other(self, name: str) -> str:
        return (
            f"{self.path}: expected a checkpoint of this training, but it was made with other settings ({name}); "
            "give another output_dir, or remove the file to start anew"
        )
