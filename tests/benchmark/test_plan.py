"""Budgets become steps, and what is equal for all systems is equal."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from monai_dgm.benchmark.plan import make_jobs, pace_key, steps_of_budget, training_settings
from monai_dgm.benchmark.presets import PRESETS
from monai_dgm.benchmark.systems import find_systems

SMALL = PRESETS["small"]


@pytest.mark.parametrize(("seconds", "minutes", "steps"), [(0.5, 20, 2400), (0.3, 1, 200), (60, 1, 20)])
def test_a_budget_pays_for_whole_epochs(seconds: float, minutes: float, steps: int) -> None:
    assert steps_of_budget(seconds, SMALL, minutes) == steps


def test_the_toy_does_no_more_than_its_steps() -> None:
    toy = PRESETS["toy"]
    assert steps_of_budget(1e-4, toy, 60) == toy.max_steps


def test_every_system_has_the_same_images_batches_and_splits(repository: Path) -> None:
    equal = ("image_size", "batch_size", "num_real", "max_epochs", "val_interval", "splits#seed", "validation_fraction")
    found = [training_settings(system, SMALL) for system in find_systems(repository / "bundles")]
    for name in equal:
        assert len({str(settings[name]) for settings in found}) == 1, name


def test_a_training_for_each_system_and_seed_one_seed_after_the_other(repository: Path) -> None:
    systems = find_systems(repository / "bundles", ["dgm_boxes", "vagan", "shipped"])
    jobs = make_jobs(systems, SMALL, [0, 1], {"dgm_boxes": 400, "vagan": 200})
    assert list(jobs) == [("dgm_boxes", 0), ("vagan", 0), ("dgm_boxes", 1), ("vagan", 1)]
    job = jobs["vagan", 1]
    assert job.configs == ("train.json", "vagan.json") and job.fold == SMALL.fold
    assert job.overrides["seed"] == 1 and job.overrides["epoch_length"] * job.overrides["max_epochs"] == 200


def test_a_step_is_timed_anew_where_its_settings_change(repository: Path) -> None:
    (system,) = find_systems(repository / "bundles", ["vagan"])
    assert pace_key(system, SMALL) == pace_key(system, dataclasses.replace(SMALL, budget_minutes=1))
    assert pace_key(system, SMALL) != pace_key(system, dataclasses.replace(SMALL, batch_size=4))
