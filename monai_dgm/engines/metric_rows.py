"""Rows of metrics for JSON files, and the metrics in the settings file next to a model's weights."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_dgm import __version__
from monai_dgm.engines.files import describe_model
from monai_dgm.metrics.case_results import MetricRow
from monai_dgm.utils.atomic import write_json

__all__ = [
    "METRICS_FILE",
    "add_to_settings",
    "describe_row",
    "evaluation_origin",
    "finite",
    "main_numbers",
    "metric_row",
]

METRICS_FILE = "metrics.json"


def finite(value: float, digits: int | None = None) -> float | None:
    """``value``, rounded to ``digits`` if given; None where it is NaN or infinite, which JSON cannot represent."""
    if not math.isfinite(value):
        return None
    return value if digits is None else round(float(value), digits)


def metric_row(row: MetricRow) -> dict[str, Any]:
    """A row as JSON values: "metric", "group", "value", "low", "high", "std", "num_images", "num_patients", "note".

    Numbers are None where they are not defined.
    """
    values = dataclasses.asdict(row)
    known = {"metric": values.pop("name")}
    return {**known, **{k: finite(v) if isinstance(v, float) else v for k, v in values.items()}}


def describe_row(row: Mapping[str, Any]) -> str:
    """Value, interval and number of images of a :func:`metric_row` as text; the value must not be None."""
    bounds = "" if row["low"] is None else f" [{row['low']:.3f}, {row['high']:.3f}]"
    return f"{row['value']:.3f}{bounds}, {row['num_images']} images"


def main_numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a row that the settings file next to the weights has: "value", "low", "high", "num_images"."""
    return {name: row[name] for name in ("value", "low", "high", "num_images")}


def evaluation_origin(
    settings: Mapping[str, Any],
    tested_on: str,
    notes: Mapping[str, str],
    model_file: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """The first entries of a ``metrics.json``: "version", "model" (name and SHA-256), "settings", "tested_on", "notes".

    Args:
        settings: of the model.
        tested_on: description of the test data.
        notes: descriptions of the metrics, by name.
        model_file: weights, or None.

    Raises:
        InputError: the weights cannot be read.
    """
    return {
        "version": f"monai-dgm {__version__}",
        "model": None if model_file is None else describe_model(model_file),
        "settings": dict(settings),
        "tested_on": tested_on,
        "notes": dict(notes),
    }


def add_to_settings(model_file: str | os.PathLike[str], **notes: Any) -> None:
    """Add ``notes`` to the JSON file next to a model's weights; entries of the same name are replaced.

    Args:
        model_file: the weights.
    """
    path = Path(model_file).with_suffix(".json")
    settings = {**json.loads(path.read_text(encoding="utf-8")), **notes}
    write_json(path, settings)
