"""Checkpoints: killed from outside with SIGKILL, ten times, a training ends with the bits of one that was not."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from tests.engines import resumable_training
from tests.engines.resumable_training import EPOCH_LENGTH, EPOCHS, KILLS, plain
from tests.programs import Program, Programs


def start(programs: Programs, folder: Path) -> Program:
    folder.mkdir(exist_ok=True)
    said(folder).write_text("")
    return programs.start([resumable_training.__file__, folder], stdout=said(folder))


def said(folder: Path) -> Path:
    """A line for each iteration that has started since the last start."""
    return folder.with_suffix(".said")


def follow_to(process: Program, folder: Path, iterations: int) -> float:
    """Wait until as many iterations have started; returns how long the last of them took, in seconds."""
    seen = [time.monotonic()]
    for number in range(1, iterations + 1):
        while said(folder).read_text().count("\n") < number:
            assert process.poll() is None, "the training ended before it could be killed"
            time.sleep(0.002)
        seen.append(time.monotonic())
    return seen[-1] - seen[-2]


@pytest.mark.slow
def test_killed_ten_times_at_random_moments_and_resumed_until_done(programs: Programs, tmp_path: Path) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    reference = start(programs, whole)
    moments = random.Random(time.time_ns())
    reached, torn = [], 0
    for kill in range(KILLS):
        process = start(programs, folder)
        duration = follow_to(process, folder, moments.randint(2, EPOCHS * EPOCH_LENGTH // (KILLS + 1)))
        if kill % 3 == 2:  # these while a file is being written
            for looked in itertools.count(1):
                if any(folder.glob(".partial-*")):
                    break
                assert looked % 100 or process.poll() is None
        else:
            time.sleep(moments.uniform(0, 2 * min(duration, 1.0)))
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "the training ended before it could be killed"
        leftovers = list(folder.glob(".partial-*"))
        torn += bool(leftovers)
        for leftover in leftovers:  # a bundle's `prepare_run` does that
            leftover.unlink()
        path = folder / "checkpoint.pt"
        reached.append(torch.load(path, weights_only=True)["engine"]["iteration"] if path.exists() else 0)
    for process in (start(programs, folder), reference):
        assert process.wait() == 0
    print(f"killed at iterations {reached} of {EPOCHS * EPOCH_LENGTH}, {torn} times with a file half written")
    assert torn > 0 and reached == sorted(reached) and reached[-1] > 0
    assert json.loads((folder / "end.json").read_text()) == json.loads((whole / "end.json").read_text())
    assert (folder / "history.jsonl").read_bytes() == (whole / "history.jsonl").read_bytes()
    ends = [plain(torch.load(each / "checkpoint.pt", weights_only=True)) for each in (folder, whole)]
    assert ends[0] == ends[1]
