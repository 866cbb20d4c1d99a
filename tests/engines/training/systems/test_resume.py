"""A compared system that was killed and resumed ends with the bits of one that was not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engines.resumable_training import assert_same_end, end_of, run_and_kill
from tests.engines.training.systems.small_systems import EPOCH_LENGTH, MAX_EPOCHS, SYSTEMS, make_batch, small_training


@pytest.mark.parametrize("name", SYSTEMS)
def test_killed_twice_and_resumed(name: str, tmp_path: Path) -> None:
    whole = small_training(name, tmp_path / "whole")
    whole.trainer.run()
    for iteration in (3, 5):
        run_and_kill(small_training(name, tmp_path / "killed"), iteration)
    resumed = small_training(name, tmp_path / "killed")
    resumed.trainer.run()
    assert resumed.trainer.state.iteration == MAX_EPOCHS * EPOCH_LENGTH
    assert_same_end(end_of(resumed), end_of(whole))


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_step_reports_what_handlers_need_and_no_graph(name: str) -> None:
    report = SYSTEMS[name]()(make_batch())
    assert all(not value.requires_grad for value in report.values())
    assert report["loss"].dim() == 0
    assert len(report["image"]) == len(report["label"]) == len(report["normal"]) == len(report["residue"]) > 0
