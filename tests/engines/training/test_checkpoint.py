"""Checkpoints: a training ended at any moment and started again ends with the bits of one that was not."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events

from monai_dgm.engines.training import checkpoint as module
from monai_dgm.engines.training.checkpoint import random_state, set_random_state
from monai_dgm.errors import InputError
from tests.engines.faults import files_limited_to, one_line
from tests.engines.resumable_training import (
    EPOCH_LENGTH,
    Killed,
    assert_same_end,
    end_of,
    run_and_kill,
    small_training,
    uninterrupted,
)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return uninterrupted(tmp_path_factory.mktemp("reference"))


def test_a_run_repeats_itself_at_any_interval_of_saving_and_does_nothing_when_completed(
    reference: dict[str, Any], tmp_path: Path
) -> None:
    assert_same_end(uninterrupted(tmp_path, save_interval=1), reference)
    assert reference["iteration"] == 3 * EPOCH_LENGTH
    training = small_training(tmp_path)
    training.step.network.register_forward_hook(lambda *_: pytest.fail("a completed training trained"))
    completed: list[bool] = []
    training.trainer.add_event_handler(Events.COMPLETED, lambda _: completed.append(True))
    training.trainer.run()
    assert completed == [True]
    assert_same_end(end_of(training), reference)


@pytest.mark.parametrize("kills", [(1,), (4, 8), (2, 5, 7, 11)])
def test_killed_after_an_iteration_and_resumed(
    kills: tuple[int, ...], reference: dict[str, Any], tmp_path: Path
) -> None:
    for iteration in kills:
        run_and_kill(small_training(tmp_path), iteration)
    training = small_training(tmp_path)
    training.trainer.run()
    assert_same_end(end_of(training), reference)


def test_a_training_of_other_settings_is_not_resumed(tmp_path: Path) -> None:
    settings = {
        "fold": 0,
        "trained_on": "ours, fold 0 as the test",
        "learning_rate": 1e-4,
        "sides": (1, 2),
        "max_epochs": 2,
    }

    def training(**changes: Any) -> Any:
        found = small_training(tmp_path, save_interval=1)
        found.checkpoint.settings = {**settings, **changes}
        return found

    run_and_kill(training(), 2)
    for name, value in {"fold": 1, "learning_rate": 1e-3, "trained_on": "others, fold 0 as the test"}.items():
        with pytest.raises(InputError, match=rf"other settings \({name}\).* there, .* here"):
            training(**{name: value}).trainer.run()
    run_and_kill(training(max_epochs=9, new=1), 4)


def test_killed_and_resumed_in_mixed_precision(tmp_path: Path) -> None:
    expected = uninterrupted(tmp_path / "whole", autocast=torch.bfloat16)
    run_and_kill(small_training(tmp_path / "killed", autocast=torch.bfloat16), 8)
    training = small_training(tmp_path / "killed", autocast=torch.bfloat16)
    training.trainer.run()
    assert_same_end(end_of(training), expected)


def test_ended_by_terminate_and_resumed(reference: dict[str, Any], tmp_path: Path) -> None:
    training = small_training(tmp_path)
    training.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=7), lambda engine: engine.terminate())
    training.trainer.run()
    training = small_training(tmp_path)
    training.trainer.run()
    assert_same_end(end_of(training), reference)


@pytest.mark.parametrize(("save", "written"), [(1, 1000), (2, 0), (3, None)])
def test_killed_while_a_checkpoint_is_written(
    save: int, written: int | None, reference: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ``save``-th checkpoint is written to its first bytes, or wholly but not renamed."""
    whole, calls = torch.save, []

    def killed_save(state: Any, path: Path) -> None:
        whole(state, path)
        calls.append(path)
        if len(calls) == save:
            path.write_bytes(path.read_bytes()[:written])
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(module.torch, "save", killed_save)
        small_training(tmp_path).trainer.run()
    training = small_training(tmp_path)
    training.trainer.run()
    assert_same_end(end_of(training), reference)


def test_more_epochs_go_on_from_the_end(reference: dict[str, Any], tmp_path: Path) -> None:
    uninterrupted(tmp_path, max_epochs=1)
    training = small_training(tmp_path)
    training.trainer.run()
    assert_same_end(end_of(training), reference)


def test_only_the_first_process_writes(tmp_path: Path) -> None:
    training = small_training(tmp_path, max_epochs=1, rank=1)
    training.trainer.run()
    assert not training.checkpoint.path.exists()


def test_file_holds_nothing_that_needs_unpickling_of_code(tmp_path: Path) -> None:
    uninterrupted(tmp_path, max_epochs=1)
    assert torch.serialization.get_unsafe_globals_in_checkpoint(tmp_path / "checkpoint.pt") == []
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["checkpoint.pt", "history.jsonl"]


def test_a_disk_that_fills_up_leaves_the_last_checkpoint_to_resume_from(
    reference: dict[str, Any], tmp_path: Path
) -> None:
    training = small_training(tmp_path)

    def fill(_: Engine) -> None:
        stack.__enter__()

    stack = files_limited_to(8192)
    training.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=7), fill)
    with pytest.raises(InputError) as error:
        training.trainer.run()
    stack.__exit__(None, None, None)
    one_line(error, tmp_path / "checkpoint.pt")
    training = small_training(tmp_path)
    training.trainer.run()
    assert_same_end(end_of(training), reference)


def test_random_state_comes_back(tmp_path: Path) -> None:
    def draw() -> tuple[list[float], list[float], list[float]]:
        return torch.randn(3).tolist(), np.random.randn(3).tolist(), [random.gauss(0, 1) for _ in range(3)]

    np.random.randn(1)  # leaves a cached second value behind
    random.gauss(0, 1)
    torch.save(random_state(), tmp_path / "state.pt")
    drawn = draw()
    assert draw() != drawn
    set_random_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert draw() == drawn
