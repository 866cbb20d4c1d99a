"""Detectors with few boxes: what differs between two of a pair, and a table of made-up detections."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monai_dgm.metrics.detection_matching import DetectionResult

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def few_boxes() -> Any:
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location("few_boxes", FOLDER / "few_boxes.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(FOLDER))


def detections(shift: float, seed: int) -> tuple[list[DetectionResult], list[str]]:
    """40 images of a source with boxes, found up to ``shift`` pixels beside the truth; 10 of one without."""
    random = np.random.default_rng(seed)
    results, sources = [], []
    for index in range(50):
        corner = np.array([10.0 + index, 20.0])
        truth = np.array([[*corner, *(corner + 20)]] if index < 40 and index % 2 else np.zeros((0, 4)))
        found = np.array([[*corner, *(corner + 20)]]) + shift * random.random()
        score = np.array([0.9 if len(truth) else 0.1])
        results.append(DetectionResult(f"image{index}", f"patient{index}", found, score, truth.reshape(-1, 4)))
        sources.append("boxed" if index < 40 else "plain")
    return results, sources


def test_two_of_a_pair_differ_in_the_residue_alone(few_boxes: Any) -> None:
    without, with_residue = (few_boxes.plan(channels, 50, 1, 400) for channels in few_boxes.CHANNELS)
    assert without.overrides | {"channels": ["image", "residue"]} == with_residue.overrides
    assert (without.needs, with_residue.needs) == (None, few_boxes.DECOMPOSER.name)
    assert without.overrides["epoch_length"] * without.overrides["max_epochs"] == 400


def test_table_has_the_difference_that_the_residue_makes(few_boxes: Any, tmp_path: Path) -> None:
    image, both = few_boxes.CHANNELS
    poor, good = ([detections(shift, seed) for seed in (0, 1)] for shift in (14.0, 0.0))
    table = few_boxes.table_of({50: {image: poor, both: good}, 200: {image: good, both: good}})
    assert [(row[0], row[1], row[2]) for row in table["rows"]] == [
        ([50], "boxed, n = 40 (20)", [2]),
        ([200], "boxed, n = 40 (20)", [2]),
    ]
    gain, none = (row[5] for row in table["rows"])
    assert 0 < gain[1] < gain[0] < gain[2] and none == [0, 0, 0]
    assert table["rows"][0][4] == [1, 0] and table["rows"][0][3][1] > 0
    assert len(table["columns"]) == len(table["formats"]) == len(table["rows"][0])
    few_boxes.draw(table, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 5000
