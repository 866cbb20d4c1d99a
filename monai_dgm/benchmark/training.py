"""Trains what is missing: costs are measured, budgets become steps, and every system and seed gets its cell."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_dgm.benchmark.cost import measure_costs
from monai_dgm.benchmark.plan import make_jobs, pace_key, steps_of_budget, training_settings
from monai_dgm.benchmark.presets import Preset
from monai_dgm.benchmark.systems import System
from monai_dgm.jobs.dataset_info import DatasetInfo
from monai_dgm.jobs.job import Job
from monai_dgm.jobs.runner import Outcome, Runner
from monai_dgm.utils.atomic import write_json

__all__ = ["COSTS_FILE", "Costs", "find_weights", "make_costs", "split_settings", "train"]

COSTS_FILE = "costs.json"
Costs = dict[str, dict[str, float]]


def make_costs(
    systems: Sequence[System],
    preset: Preset,
    root: Path,
    bundles: Path,
    modules: Sequence[str] = (),
    measure: bool = True,
) -> Costs:
    """Costs of the systems by name, from ``root/costs.json`` where it has all of them, else measured together.

    The step time that a system's budget was made from stays as it was first measured, so that its trainings stay those
    of the same plan: "paced_ms".

    Args:
        systems: all of them.
        preset: sizes.
        root: output folder.
        bundles: folder of the bundles.
        modules: to import before weights are loaded.
        measure: False takes only what is there.
    """
    file = root / COSTS_FILE
    known: dict[str, Costs] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    keys = {system.name: pace_key(system, preset) for system in systems}
    if measure and not all(key in known.get("systems", {}) for key in keys.values()):
        measured = measure_costs([_spec(s, preset, bundles) for s in systems], root / "costs", bundles.parent, modules)
        paces = known.get("paces", {})
        for name, cost in measured.items():
            if "step_ms" in cost:
                paces.setdefault(keys[name], {"step_ms": cost["step_ms"]})
        known = {"systems": {keys[name]: cost for name, cost in measured.items()}, "paces": paces}
        write_json(file, known)
    found: Costs = {}
    for name, key in keys.items():
        cost = dict(known.get("systems", {}).get(key, {}))
        if key in known.get("paces", {}):
            cost["paced_ms"] = known["paces"][key]["step_ms"]
        found[name] = cost
    return found


def _spec(system: System, preset: Preset, bundles: Path) -> dict[str, Any]:
    if system.weights is not None:
        return {"name": system.name, "weights": str(system.weights)}
    configs = [str(bundles / "dgm" / "configs" / name) for name in ("train.json", *system.overlays)]
    return {"name": system.name, "configs": configs, "overrides": training_settings(system, preset)}


def train(
    systems: Sequence[System],
    preset: Preset,
    seeds: Sequence[int],
    costs: Mapping[str, Mapping[str, float]],
    budget_minutes: float,
    runner: Runner,
    run: bool = True,
) -> tuple[dict[tuple[str, int], Job], Outcome]:
    """Run the missing trainings; those without a measured step time are left out.

    Args:
        systems, preset, seeds: as in :func:`monai_dgm.benchmark.plan.make_jobs`.
        costs: of :func:`make_costs`.
        budget_minutes: of each training.
        runner: in whose folder they run.
        run: False only looks at what is there.
    """
    paced = [s for s in systems if s.weights is None and "paced_ms" in costs.get(s.name, {})]
    steps = {s.name: steps_of_budget(costs[s.name]["paced_ms"] / 1000, preset, budget_minutes) for s in paced}
    jobs = make_jobs(paced, preset, seeds, steps)
    return jobs, runner.run(list(jobs.values()), train=run)


def find_weights(
    systems: Sequence[System], jobs: Mapping[tuple[str, int], Job], outcome: Outcome, runner: Runner
) -> dict[tuple[str, int], Path]:
    """(name, seed) -> file of weights: of finished trainings; seed -1 for systems that are not trained."""
    found = {
        key: runner.root / outcome.finished[job.name].weights
        for key, job in jobs.items()
        if job.name in outcome.finished
    }
    return {**found, **{(s.name, -1): s.weights for s in systems if s.weights is not None}}


def split_settings(preset: Preset, info: DatasetInfo) -> dict[str, Any]:
    """Arguments of :func:`monai_dgm.data.sources.load_splits` that give the trainings' own splits."""
    return {
        "dataset_dir": info.dataset_dir,
        "sample_dir": info.sample_dir,
        "fold": preset.fold,
        "seed": 0,
        **preset.data,
    }
