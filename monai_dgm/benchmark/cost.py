"""What each system costs: parameters, FLOPs, time of a training step and of a decomposition, memory.

All systems are measured in one process that takes turns between them, so that whatever else the machine does falls on
all alike. Times are CPU times of one thread. The step times decide how many steps the budget pays for.

    python -m monai_dgm.benchmark.cost SPEC.json RESULT.json [MODULE ...]

is what the benchmark runs, in the parent folder of the bundles.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from monai_dgm.benchmark.systems import import_modules
from monai_dgm.data.simulator.sample import write_sample
from monai_dgm.engines.weights import load_residue_system, read_model_settings
from monai_dgm.errors import InputError
from monai_dgm.utils.atomic import write_json

__all__ = ["measure_costs"]

WARM_UP, ROUNDS, STEPS_A_ROUND = 2, 5, 2
_PATIENTS = 40  # of the simulated images that steps are timed on: the pixels do not matter


def measure_costs(
    systems: Sequence[Mapping[str, Any]], folder: Path, working_dir: Path, modules: Sequence[str] = (), threads: int = 1
) -> dict[str, dict[str, float]]:
    """Measure systems in a process of their own.

    Args:
        systems: "name", and either "configs" (paths) with "overrides", or "weights" (a path).
        folder: gets the specification, the result and the images that steps are timed on.
        working_dir: that configurations expect, the parent of the bundles.
        modules: to import before weights are loaded.
        threads: of the process.

    Returns:
        by name: "parameters" and "training_parameters" in millions, "gflop" of one image, "gflop_step" of a training
        step, "step_ms", "decompose_ms" (one image), "step_memory_mib" (what a training step adds to the process).

    Raises:
        InputError: a configuration that cannot be run; the last line of its output.
    """
    folder.mkdir(parents=True, exist_ok=True)
    spec, result = folder / "spec.json", folder / "result.json"
    spec.write_text(json.dumps(list(systems), indent=1), encoding="utf-8")
    result.unlink(missing_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "monai_dgm.benchmark.cost", str(spec), str(result), *modules]
    done = subprocess.run(command, cwd=working_dir, env=environment, capture_output=True, text=True, check=False)
    if done.returncode or not result.is_file():
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise InputError(f"costs: expected every system to train some steps, got: {last[:300]}")
    measured: dict[str, dict[str, float]] = json.loads(result.read_text(encoding="utf-8"))
    return measured


class _Trained:
    """A system built from its configuration, ready to train step by step."""

    def __init__(self, spec: Mapping[str, Any], folder: Path) -> None:
        parser = ConfigParser()
        parser.read_config(spec["configs"])
        own = {"output_dir": str(folder / "out"), "sample_dir": str(folder / "sample"), "fold": 0}
        own |= {"dataset_dir": str(folder / "sample"), "cache_dir": str(folder / "cache"), "epoch_length": 50}
        for name, value in {**spec["overrides"], **own}.items():
            parser[name] = value
        torch.manual_seed(0)
        self.trainer = parser.get_parsed_content("train#trainer")
        self.network = parser.get_parsed_content("validate#evaluator#network", default=None) or (
            parser.get_parsed_content("validate#evaluator").network
        )
        objects = parser.get_parsed_content("train#checkpoint#objects", default={})
        self.parts = [part for name, part in objects.items() if isinstance(part, nn.Module) and name != "ema"]
        self.batches = iter(cycle(list(self.trainer.data_loader)[:4]))

    def step(self) -> None:
        batch = self.trainer.prepare_batch(next(self.batches), torch.device("cpu"))
        self.trainer.step.network.train()
        self.trainer.step(batch)

    def inference_network(self) -> nn.Module:
        network: Any = self.network
        return (network.inference_network() if hasattr(network, "inference_network") else network).eval()


def _peak_memory(spec: Mapping[str, Any], folder: Path) -> float:
    """MiB that building a system and two training steps add to a process, from the peak of a forked one."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            system = _Trained(spec, folder)
            system.step()
            system.step()
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            os.write(writer, str(grown / 1024).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        text = stream.read()
    os.waitpid(child, 0)
    return float(text) if text else float("nan")


class _WholeNetwork:
    """Stands in for the counter's tracking of modules, whose hooks do not work within a gradient penalty."""

    parents = frozenset({"Global"})

    def __enter__(self) -> None:
        """Track nothing."""

    def __exit__(self, *error: object) -> None:
        """Nothing to undo."""


def _flops(run: Callable[[], Any]) -> float:
    """Billions of floating point operations."""
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _WholeNetwork()  # type: ignore[assignment]
    with counter:
        run()
    return counter.get_total_flops() / 1e9


def _millions(parts: Sequence[nn.Module]) -> float:
    unique = {id(parameter): parameter.numel() for part in parts for parameter in part.parameters()}
    return sum(unique.values()) / 1e6


class _Inference:
    """A system's network for inference and the image that it is timed on."""

    def __init__(self, network: nn.Module, side: int) -> None:
        self.network = network
        self.image = torch.zeros(1, 1, side, side)

    def __call__(self) -> None:
        with torch.inference_mode():
            self.network(self.image)


def _measure(specs: Sequence[Mapping[str, Any]], folder: Path) -> dict[str, dict[str, float]]:
    write_sample(folder / "sample", num_patients=_PATIENTS, size=64)
    found: dict[str, dict[str, float]] = {spec["name"]: {} for spec in specs}
    trained: dict[str, _Trained] = {}
    passes: dict[str, _Inference] = {}
    for spec in specs:
        own, name = found[spec["name"]], spec["name"]
        if "weights" in spec:
            side = int(read_model_settings(spec["weights"])["image_size"])
            passes[name] = _Inference(load_residue_system(spec["weights"]), side)
        else:
            own["step_memory_mib"] = _peak_memory(spec, folder)
            system = trained[name] = _Trained(spec, folder)
            own["training_parameters"] = _millions(system.parts)
            for _ in range(WARM_UP):
                system.step()
            own["gflop_step"] = _flops(system.step)
            passes[name] = _Inference(system.inference_network(), spec["overrides"]["image_size"])
        own["parameters"] = _millions([passes[name].network])
        own["gflop"] = _flops(passes[name])
    steps: dict[str, list[float]] = {name: [] for name in trained}
    decompositions: dict[str, list[float]] = {name: [] for name in passes}
    for _ in range(ROUNDS):
        for name, system in trained.items():
            steps[name] += [_seconds(system.step) for _ in range(STEPS_A_ROUND)]
        for name, run in passes.items():
            decompositions[name].append(_seconds(run))
    for name, own in found.items():
        if name in steps:
            own["step_ms"] = 1000 * statistics.median(steps[name])
        own["decompose_ms"] = 1000 * statistics.median(decompositions[name])
    return found


def _seconds(run: Callable[[], Any]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def main(arguments: Sequence[str]) -> None:
    """Measure what a specification names."""
    spec, result = (Path(argument) for argument in arguments[:2])
    import_modules(arguments[2:])
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    found = _measure(json.loads(spec.read_text(encoding="utf-8")), spec.parent)
    write_json(result, found)


if __name__ == "__main__":
    main(sys.argv[1:])
