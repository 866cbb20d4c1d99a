"""What all figures share: groups, rows that JSON can hold, the note beside the weights."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from monai_dgm.engines import metric_rows as metrics
from monai_dgm.metrics.case_results import MetricRow

NAN = math.nan


@pytest.mark.parametrize("value", [NAN, math.inf, -math.inf])
def test_what_json_does_not_know_is_none(value: float) -> None:
    assert metrics.finite(value) is None and metrics.finite(value, 6) is None
    assert metrics.finite(1 / 3) == 1 / 3 and metrics.finite(1 / 3, 2) == 0.33


def test_a_row_in_json_and_in_words() -> None:
    row = metrics.metric_row(MetricRow("auc", "all", 0.5, NAN, NAN, NAN, 3, 2, "why"))
    assert list(row) == ["metric", "group", "value", "low", "high", "std", "num_images", "num_patients", "note"]
    assert json.loads(json.dumps(row, allow_nan=False)) == row and row["low"] is None
    assert metrics.describe_row(row) == "0.500, 3 images"
    assert metrics.describe_row({**row, "low": 0.4, "high": 0.6}) == "0.500 [0.400, 0.600], 3 images"
    assert metrics.main_numbers(row) == {"value": 0.5, "low": None, "high": None, "num_images": 3}


def test_notes_are_added_to_the_settings_and_replace_older_ones(tmp_path: Path) -> None:
    file = tmp_path / "model.json"
    file.write_text(json.dumps({"image_size": 32, "threshold": 0.1}))
    metrics.add_to_settings(tmp_path / "model.safetensors", threshold=0.2, metrics={})
    assert json.loads(file.read_text()) == {"image_size": 32, "threshold": 0.2, "metrics": {}}
    assert [path.name for path in tmp_path.iterdir()] == ["model.json"]
