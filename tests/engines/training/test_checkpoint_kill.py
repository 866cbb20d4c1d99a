"""Checkpoints: killed from outside with SIGKILL, ten times, a training ends with the bits of one that was not."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.engines import resumable_training
from tests.engines.resumable_training import EPOCH_LENGTH, EPOCHS, KILLS, plain


def start(folder: Path) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, resumable_training.__file__, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def follow_to(process: subprocess.Popen[str], iterations: int) -> float:
    """Wait until as many iterations have started; returns how long the last of them took, in seconds."""
    assert process.stdout is not None
    seen = [time.monotonic()]
    for _ in range(iterations):
        assert process.stdout.readline(), "the training ended before it could be killed"
        seen.append(time.monotonic())
    return seen[-1] - seen[-2]


@pytest.mark.slow
def test_killed_ten_times_at_random_moments_and_resumed_until_done(tmp_path: Path) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    reference = start(whole)
    moments = random.Random(time.time_ns())
    reached, torn = [], 0
    for kill in range(KILLS):
        process = start(folder)
        duration = follow_to(process, moments.randint(2, EPOCHS * EPOCH_LENGTH // (KILLS + 1)))
        if kill % 3 == 2:  # these while a file is being written
            while not any(folder.glob(".partial-*")):
                assert process.poll() is None
        else:
            time.sleep(moments.uniform(0, 2 * min(duration, 1.0)))
        assert process.poll() is None, "the training ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        leftovers = list(folder.glob(".partial-*"))
        torn += bool(leftovers)
        for leftover in leftovers:  # a bundle's `prepare_run` does that
            leftover.unlink()
        path = folder / "checkpoint.pt"
        reached.append(torch.load(path, weights_only=True)["engine"]["iteration"] if path.exists() else 0)
    for process in (start(folder), reference):
        process.communicate()
        assert process.returncode == 0
    print(f"killed at iterations {reached} of {EPOCHS * EPOCH_LENGTH}, {torn} times with a file half written")
    assert torn > 0 and reached == sorted(reached) and reached[-1] > 0
    assert json.loads((folder / "end.json").read_text()) == json.loads((whole / "end.json").read_text())
    assert (folder / "history.jsonl").read_bytes() == (whole / "history.jsonl").read_bytes()
    ends = [plain(torch.load(each / "checkpoint.pt", weights_only=True)) for each in (folder, whole)]
    assert ends[0] == ends[1]
