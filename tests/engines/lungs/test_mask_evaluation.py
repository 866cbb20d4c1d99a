"""Figures of a segmentation: Dice and boxes by hand, an oracle is perfect, groups and intervals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.metrics import compute_iou

from monai_dgm.data.lung_dataset import LungDataset
from monai_dgm.data.manifest import load_manifest
from monai_dgm.engines.lungs.mask_evaluation import LungMaskResult, LungMetrics, dice, lung_box_iou, lung_rows


@pytest.fixture(scope="module")
def dataset(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> LungDataset:
    return LungDataset(load_manifest(sample_dir)[:8], 32, tmp_path_factory.mktemp("cache"))


def run(dataset: LungDataset, masks: np.ndarray, **options: object) -> LungMetrics:
    metrics = LungMetrics(dataset, num_bootstrap=20, **options)  # type: ignore[arg-type]
    engine = Engine(lambda _, batch: [{"pred": torch.from_numpy(mask)[None].float()} for mask in batch])
    metrics.attach(engine, "metrics")
    engine.run([masks[:5], masks[5:]])
    return metrics


def test_an_oracle_is_perfect(dataset: LungDataset) -> None:
    metrics = run(dataset, dataset.masks)
    assert len(metrics.results) == 8 and set(metrics.compute().values()) == {1.0}
    rows = {row.name: row.value for row in metrics.rows}
    assert {name: value for name, value in rows.items() if not name.endswith("_sd")} == dict.fromkeys(
        ("lung_dice", "right_lung_dice", "left_lung_dice", "lung_box_iou"), 1.0
    )
    assert rows["lung_dice_sd"] == rows["lung_box_iou_sd"] == 0


def test_finding_nothing_is_zero(dataset: LungDataset) -> None:
    assert set(run(dataset, np.zeros_like(dataset.masks)).compute().values()) == {0.0}


def test_one_lung_of_two(dataset: LungDataset) -> None:
    halves = dataset.masks.copy()
    halves[:, :, 16:] = 0
    metrics = run(dataset, halves).compute()
    assert metrics["right_lung_dice"] > 0.9 and metrics["left_lung_dice"] == 0 and 0.3 < metrics["lung_box_iou"] < 0.6


def test_a_second_run_forgets_the_first(dataset: LungDataset) -> None:
    metrics = run(dataset, np.zeros_like(dataset.masks))
    engine = Engine(lambda _, batch: [{"pred": torch.from_numpy(mask)[None].float()} for mask in batch])
    metrics.attach(engine, "metrics")
    engine.run([dataset.masks])
    assert engine.state.metrics["lung_box_iou"] == 1


def test_dice_and_iou_agree_with_monais() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        one, other = rng.random((2, 9, 9)) < 0.4
        tensors = [torch.from_numpy(mask)[None, None].float() for mask in (one, other)]
        iou = compute_iou(*tensors, ignore_empty=False).item()
        assert dice(one, other) == pytest.approx(2 * iou / (1 + iou))
    assert dice(np.zeros((2, 2), bool), np.zeros((2, 2), bool)) == 1


def test_boxes_by_hand() -> None:
    one = np.array([0.0, 0, 4, 4])
    assert lung_box_iou(one, one) == 1
    assert lung_box_iou(one, np.array([2.0, 0, 6, 4])) == pytest.approx(1 / 3)
    assert lung_box_iou(one, np.array([4.0, 4, 6, 6])) == 0 and lung_box_iou(None, one) == lung_box_iou(one, None) == 0


def record(source: str, patient: str, value: float) -> LungMaskResult:
    mask = np.ones((2, 2), dtype=bool)
    return LungMaskResult(
        f"{source}_{patient}_{value}", patient, source, "PA", "F", value, value, value, value, mask, mask
    )


def test_rows_of_groups_with_mean_and_deviation() -> None:
    records = [record("a", f"p{i}", 0.8 + 0.02 * i) for i in range(6)] + [record("b", "q", 0.5)]
    rows = {(row.group, row.name): row for row in lung_rows(records, {"both": ["a", "b"], "none": ["c"]}, 200)}
    assert {group for group, _ in rows} == {"all", "source:a", "source:b", "sources:both"}
    values = np.array([r.dice for r in records[:6]])
    mean, deviation = rows["source:a", "lung_dice"], rows["source:a", "lung_dice_sd"]
    assert mean.value == pytest.approx(values.mean()) and mean.low < mean.value < mean.high
    assert deviation.value == pytest.approx(values.std()) and mean.num_images == mean.num_patients == 6
    assert rows["sources:both", "lung_box_iou"].value == rows["all", "lung_box_iou"].value


def test_intervals_resample_patients() -> None:
    alone = lung_rows([record("a", f"p{i}", 0.5 + 0.05 * i) for i in range(8)], None, 200)[0]
    paired = lung_rows([record("a", f"p{i // 4}", 0.5 + 0.05 * i) for i in range(8)], None, 200)[0]
    assert paired.high - paired.low > alone.high - alone.low and paired.num_patients == 2
