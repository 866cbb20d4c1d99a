"""The report of a lung segmentor: files, the note beside the weights, the picture."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from PIL import Image

from monai_dgm.data.lung_dataset import LungDataset
from monai_dgm.data.manifest import load_manifest
from monai_dgm.engines.lungs.mask_evaluation import LungMetrics
from monai_dgm.handlers.lung_report import LungReport, draw_masks, save_metrics_to_settings
from monai_dgm.metrics.case_results import MetricRow

CHEST_ROW = MetricRow("chest_false_alarm_rate", "all", 0.01, 0.0, 0.02, float("nan"), 9, 9)


@pytest.fixture
def metrics(sample_dir: Path, tmp_path: Path) -> LungMetrics:
    return LungMetrics(LungDataset(load_manifest(sample_dir)[:8], 32, tmp_path / "cache"), num_bootstrap=10)


def evaluate(metrics: LungMetrics, report: LungReport) -> None:
    engine = Engine(lambda _, batch: [{"pred": torch.from_numpy(mask)[None].float()} for mask in batch])
    metrics.attach(engine, "metrics")
    report.attach(engine)
    engine.run([metrics.dataset.masks])


def test_files_and_lines(metrics: LungMetrics, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.json").write_text('{"image_size": 32}')
    evaluate(metrics, LungReport(metrics, tmp_path, lambda: [CHEST_ROW], tmp_path / "model.pt"))
    with open(tmp_path / "report" / "metrics.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {"lung_dice", "lung_box_iou", "chest_false_alarm_rate"} <= {row["name"] for row in rows}
    assert [row["name"] for row in json.loads((tmp_path / "report" / "metrics.json").read_text())] == [
        row["name"] for row in rows
    ]
    said = capsys.readouterr().out
    assert "chest_false_alarm_rate     0.010 [0.000, 0.020], 9 images" in said
    assert f"metrics: {tmp_path / 'report' / 'metrics.json'}" in said
    settings = json.loads((tmp_path / "model.json").read_text())
    assert settings["image_size"] == 32 and settings["metrics"]["all"]["lung_dice"]["value"] == 1
    assert Image.open(tmp_path / "report" / "lungs.png").mode == "RGB"


def test_without_check_and_without_model(metrics: LungMetrics, tmp_path: Path) -> None:
    evaluate(metrics, LungReport(metrics, tmp_path))
    assert (tmp_path / "report" / "metrics.json").is_file() and not list(tmp_path.glob("*.json"))


def test_undefined_figures_are_none_in_the_note(tmp_path: Path) -> None:
    nan = float("nan")
    (tmp_path / "model.json").write_text("{}")
    save_metrics_to_settings(tmp_path / "model.safetensors", [MetricRow("lung_dice", "all", 0.5, nan, nan, nan, 1, 1)])
    noted = json.loads((tmp_path / "model.json").read_text())["metrics"]["all"]["lung_dice"]
    assert noted == {"value": 0.5, "low": None, "high": None, "num_images": 1}


def test_picture_begins_with_the_worst(metrics: LungMetrics, tmp_path: Path) -> None:
    masks = metrics.dataset.masks.copy()
    masks[3] = 0
    engine = Engine(lambda _, batch: [{"pred": torch.from_numpy(mask)[None].float()} for mask in batch])
    metrics.attach(engine, "metrics")
    engine.run([masks])
    picture = draw_masks(metrics, number=8)
    assert picture.shape == (2 * 192, 6 * 192, 3) and picture.dtype == np.uint8
    first, second = picture[:192, :192], picture[:192, 192:384]
    red, green = (240, 80, 60), (80, 200, 120)
    assert not (first == red).all(-1).any() and (first == green).all(-1).any()
    assert (second == red).all(-1).any()  # drawn last, over the same outline
