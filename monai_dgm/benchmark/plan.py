"""Which trainings the benchmark needs, and how many steps each budget pays for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from monai_dgm.benchmark.presets import Preset
from monai_dgm.benchmark.systems import System
from monai_dgm.jobs.job import Job

__all__ = ["make_jobs", "pace_key", "steps_of_budget", "training_settings"]

_TRAIN = "train.json"
_NO_TEST = "['$@train#trainer.run()']"  # the benchmark judges every system by itself


def training_settings(system: System, preset: Preset) -> dict[str, Any]:
    """Overrides of a system's configuration, without seed and steps: what is equal for all, then its own size."""
    equal = {
        "image_size": preset.image_size,
        "batch_size": preset.batch_size,
        "num_real": 0,
        "max_epochs": preset.epochs,
        "warm_up_iterations": 0,
        "val_interval": preset.epochs,  # the last weights are taken: no system is chosen by validation
        "splits#seed": 0,
        "training": _NO_TEST,
    }
    return {**preset.data, **equal, **preset.overrides.get(system.name, {})}


def pace_key(system: System, preset: Preset) -> str:
    """Of what decides how long a step of a system takes."""
    text = json.dumps([system.overlays, training_settings(system, preset)], sort_keys=True)
    return f"{system.name}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def steps_of_budget(seconds_a_step: float, preset: Preset, budget_minutes: float) -> int:
    """How many steps one thread does in the budget; a multiple of the number of epochs."""
    steps = 60 * budget_minutes / seconds_a_step
    if preset.max_steps is not None:
        steps = min(steps, preset.max_steps)
    return preset.epochs * max(1, round(steps / preset.epochs))


def make_jobs(
    systems: Sequence[System],
    preset: Preset,
    seeds: Sequence[int],
    steps: Mapping[str, int],
) -> dict[tuple[str, int], Job]:
    """A training of every system and seed; all systems of one seed come before the next seed.

    Args:
        systems: those with weights of their own are left out.
        preset: sizes.
        seeds: of the trainings.
        steps: of each system, by name.
    """
    jobs = {}
    for seed in seeds:
        for system in systems:
            if system.weights is not None:
                continue
            schedule = {"epoch_length": steps[system.name] // preset.epochs, "seed": seed}
            jobs[system.name, seed] = Job(
                name=f"{system.name}-seed{seed}",
                kind="decomposer",
                title=f"{system.title}, seed {seed}, {steps[system.name]} steps",
                bundle="dgm",
                run_id="training",
                configs=(_TRAIN, *system.overlays),
                overrides={**training_settings(system, preset), **schedule},
                fold=preset.fold,
            )
    return jobs
