"""What the trainings have in common: a clock, an average of the weights, logs and files."""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gpu.pack import PARTS, SOURCES, load_folds, load_pack
from monai_dgm.engines.training.resident import ResidentRadiographs


class Average:
    """Moving average of a network's weights and buffers, as a network."""

    def __init__(self, network: nn.Module, momentum: float = 0.002) -> None:
        self.network = network
        self.average = copy.deepcopy(network).eval().requires_grad_(False)
        self.momentum = momentum
        self.steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """After a step."""
        self.steps += 1
        share = max(self.momentum, 1 / (1 + self.steps))
        for own, theirs in ((self.average.parameters(), self.network.parameters()),
                            (self.average.buffers(), self.network.buffers())):  # fmt: skip
            pairs = [(a, b) for a, b in zip(own, theirs, strict=True) if a.is_floating_point()]
            torch._foreach_lerp_([a for a, _ in pairs], [b.detach() for _, b in pairs], share)


class Clock:
    """Learning rates by the time that has passed: a short rise, then half a cosine."""

    def __init__(self, optimizers: list[torch.optim.Optimizer], seconds: float) -> None:
        self.optimizers = optimizers
        self.peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
        self.seconds = seconds
        self.start = self.last = time.monotonic()
        self.steps = self.last_steps = 0

    def tick(self) -> bool:
        """Set the rates for the next step; False when the time is up."""
        done = (time.monotonic() - self.start) / self.seconds
        self.steps += 1
        factor = min(1.0, self.steps / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))
        for optimizer, peaks in zip(self.optimizers, self.peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * factor
        return done < 1

    def pace(self) -> float:
        """Milliseconds a step since the last call."""
        now, steps = time.monotonic(), max(1, self.steps - self.last_steps)
        pace = 1e3 * (now - self.last) / steps
        self.last, self.last_steps = now, self.steps
        return pace


def prepared(arguments: argparse.Namespace) -> tuple[torch.device, ResidentRadiographs, ResidentRadiographs]:
    """Device, training and validation set, less what a variant leaves out."""
    torch.manual_seed(arguments.seed)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.benchmark_limit = 3
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if arguments.test_fold is None:
        training, validation = (load_pack(arguments.pack, part).to(device) for part in PARTS)
    else:
        training, validation = (part.to(device) for part in load_folds(arguments.pack, arguments.test_fold))
    if arguments.exclude:
        training = training.take(training.source != SOURCES.index(arguments.exclude))
    if arguments.half is not None:
        training = training.take(training.half == arguments.half)
    return device, training, validation


def log(arguments: argparse.Namespace, step: int, pace: float, values: dict[str, Any]) -> None:
    """One line."""
    shown = {name: round(float(v), 4) for name, v in values.items() if not isinstance(v, Tensor) or v.dim() == 0}
    print(Path(arguments.output).stem, step, f"{pace:.1f} ms", shown, flush=True)


def save(network: nn.Module, path: str) -> None:
    """State dict in half precision, written aside and renamed."""
    state = {name: (value.detach().half() if value.is_floating_point() else value).cpu() for name, value in
             network.state_dict().items()}  # fmt: skip
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, f"{path}.part")
    Path(f"{path}.part").rename(path)


def write_note(arguments: argparse.Namespace, note: dict[str, Any]) -> None:
    """What is known of a finished training, beside its weights."""
    text = json.dumps(note)
    Path(arguments.output).with_suffix(".json").write_text(text)
    print("DONE", text, flush=True)
