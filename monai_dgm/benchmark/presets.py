"""Sizes of the benchmark, read from ``presets/*.json``: toy (a minute or two) and small (two cores, some hours)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["PRESETS", "Preset"]


@dataclass(frozen=True)
class Preset:
    """What is equal for all systems, and the size of each.

    Attributes:
        name: of the preset.
        summary: for the report.
        sources: sources of the manifest that are used; None for all.
        fold: the test fold.
        seeds: of the trainings by default.
        image_size: side S of training and test images in pixels.
        batch_size: of every system.
        budget_minutes: CPU time of one thread that each training gets.
        max_steps: at most that many steps, for the toy; None for no limit.
        epochs: in how many the steps are divided; each system's own schedule of learning rates counts them.
        num_bootstrap: resamples of the intervals.
        test_images: at most that many normal, boxed and other test images of each source; None for all.
        simulated_patients: of the simulated test set.
        donors: training images with boxes whose opacities are inserted, at most.
        probe_images: training images of each class that the classifier of diagnoses learns from, at most.
        data: overrides of every training: the embedded sample's size, the share of validation patients.
        overrides: of each system, by its name.
    """

    name: str
    summary: str
    sources: tuple[str, ...] | None
    fold: int
    seeds: tuple[int, ...]
    image_size: int
    batch_size: int
    budget_minutes: float
    max_steps: int | None
    epochs: int
    num_bootstrap: int
    test_images: int | None
    simulated_patients: int
    donors: int
    probe_images: int
    data: Mapping[str, Any]
    overrides: Mapping[str, Mapping[str, Any]]


def _read(path: Path) -> Preset:
    values = json.loads(path.read_text(encoding="utf-8"))
    sources = None if values["sources"] is None else tuple(values["sources"])
    return Preset(**{**values, "name": path.stem, "sources": sources, "seeds": tuple(values["seeds"])})


PRESETS = {path.stem: _read(path) for path in sorted((Path(__file__).parent / "presets").glob("*.json"))}
"""Presets by name."""
