"""Sizes of the reproduction, read from ``presets/*.json``: toy (minutes), small and cpu (two cores), paper (a GPU)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai_dgm.jobs.job import Recipe

__all__ = ["PRESETS", "Network", "Preset"]


@dataclass(frozen=True)
class Network:
    """A classifier or detector that gets rows in the tables.

    Attributes:
        architecture: of the classifier, or of the detector's backbone.
        image_size: side of its input in pixels.
        recipe: how it is trained.
    """

    architecture: str
    image_size: int
    recipe: Recipe = field(default_factory=Recipe)


@dataclass(frozen=True)
class Preset:
    """A size of the whole reproduction.

    Attributes:
        name: of the preset.
        summary: for the report.
        folds: test folds by default; None for all that the data have.
        data: overrides of every job: the embedded sample's size, the share of validation patients.
        decomposer: how the decomposers are trained, one for each fold.
        compared: further rows of Table 4, on the image alone.
        classifiers: what Tables 4 to 6 train on image, residue, and both.
        detectors: Table 7.
        num_bootstrap: resamples of the intervals.
    """

    name: str
    summary: str
    folds: tuple[int, ...] | None
    data: Mapping[str, Any]
    decomposer: Recipe
    compared: tuple[Network, ...]
    classifiers: tuple[Network, ...]
    detectors: tuple[Network, ...]
    num_bootstrap: int


def _read(path: Path) -> Preset:
    values = json.loads(path.read_text(encoding="utf-8"))
    recipes = {
        name: Recipe(recipe.get("overrides", {}), tuple(recipe.get("overlays", ())))
        for name, recipe in values["recipes"].items()
    }
    networks = {
        part: tuple(Network(n["architecture"], n["image_size"], recipes[n["recipe"]]) for n in values[part])
        for part in ("compared", "classifiers", "detectors")
    }
    return Preset(
        name=path.stem,
        summary=values["summary"],
        folds=None if values["folds"] is None else tuple(values["folds"]),
        data=values["data"],
        decomposer=recipes[values["decomposer"]],
        num_bootstrap=values["num_bootstrap"],
        **networks,
    )


PRESETS = {path.stem: _read(path) for path in sorted((Path(__file__).parent / "presets").glob("*.json"))}
"""Presets by name."""
