"""Files of an evaluation: detections that come back, figures beside baselines, a threshold from validation alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.decomposed import DecomposedDataset
from monai_dgm.data.manifest import load_manifest
from monai_dgm.data.opacity_boxes import OpacityBoxDataset
from monai_dgm.engines.detection.baselines import prior_boxes, prior_results, saliency_results
from monai_dgm.engines.detection.detection_evaluation import (
    metric_table,
    read_detections,
    save_metrics_to_settings,
    write_detections,
    write_evaluation,
)
from monai_dgm.engines.detection.workflow import OpacityDetections
from monai_dgm.errors import InputError
from monai_dgm.metrics.case_results import origin_of
from monai_dgm.metrics.detection import DetectionResult

SIZE = 64


@pytest.fixture(scope="module")
def dataset(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> OpacityBoxDataset:
    """Simulated radiographs whose "residues" are their true opacities, drawn."""
    radiographs = RadiographDataset(load_manifest(sample_dir), SIZE, tmp_path_factory.mktemp("cache"))
    residues = np.zeros((len(radiographs), SIZE, SIZE), dtype=np.float16)
    for index, geometry in enumerate(radiographs.geometries):
        for xmin, ymin, xmax, ymax in geometry.boxes_to_model(radiographs.items[index]["opacity_boxes"]).round():
            residues[index, int(ymin) : int(ymax), int(xmin) : int(xmax)] = 0.5
    return OpacityBoxDataset(DecomposedDataset(radiographs, residues, ("image", "residue")))


def detections_of(
    dataset: OpacityBoxDataset, shift: float = 0.0, false_score: float | None = None
) -> OpacityDetections:
    """Every true box, moved by ``shift``, with score 0.9, and one false box an image."""
    detections = OpacityDetections(dataset)
    for index, truth in enumerate(dataset.boxes):
        boxes, scores = truth + shift, torch.full((len(truth),), 0.9)
        if false_score is not None:
            boxes = torch.cat((boxes, torch.tensor([[0.0, 0.0, 3.0, 3.0]])))
            scores = torch.cat((scores, torch.tensor([false_score])))
        detections.update(([boxes], [scores], [torch.tensor(index)]))
    return detections


def value(rows: list[dict[str, Any]], figure: str, method: str = "detector", group: str = "all") -> Any:
    (row,) = [r for r in rows if (r["metric"], r["method"], r["group"]) == (figure, method, group)]
    return row["value"]


def test_detections_come_back(dataset: OpacityBoxDataset, tmp_path: Path) -> None:
    records = detections_of(dataset, 0.3, 0.2).results
    sources = [f"s{i % 2}" for i in range(len(records))]
    write_detections(records, sources, tmp_path / "a" / "detections.json")
    again, their_sources = read_detections(tmp_path / "a" / "detections.json")
    assert their_sources == sources
    for first, second in zip(records, again, strict=True):
        assert (first.image_id, first.patient_id) == (second.image_id, second.patient_id)
        for name in ("boxes", "scores", "truth"):
            np.testing.assert_allclose(getattr(first, name), getattr(second, name), atol=1e-3)
        assert second.boxes.shape[1:] == second.truth.shape[1:] == (4,)


@pytest.mark.parametrize("text", ["", "[]", '{"images": [{"image_id": "a"}]}'])
def test_other_files_are_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "d.json").write_text(text)
    with pytest.raises(InputError, match=r"d\.json: expected detections as JSON"):
        read_detections(tmp_path / "d.json")


def test_prior_is_where_opacities_are() -> None:
    boxes = [np.array([[10.0, 20, 20, 40]]), np.array([[11.0, 21, 21, 41], [44.0, 20, 54, 40]]), np.zeros((0, 4))]
    found, scores = prior_boxes([own.astype(np.float32) for own in boxes], SIZE)
    assert len(found) == len(scores) == 2 and (scores > 0).all()
    assert scores[0] > scores[1]  # the right lung's is the commoner one
    np.testing.assert_allclose(found, [[10, 20, 21, 41], [44, 20, 54, 40]], atol=1)


def test_prior_looks_at_no_image(dataset: OpacityBoxDataset) -> None:
    records = prior_results(detections_of(dataset).results, dataset)
    assert all(np.array_equal(record.boxes, records[0].boxes) for record in records)
    assert [record.image_id for record in records] == [str(item["image_id"]) for item in dataset.items]


def test_saliency_boxes_are_those_of_the_residue(dataset: OpacityBoxDataset) -> None:
    """Residues that are the truth give boxes near it."""
    records = saliency_results(detections_of(dataset).results, dataset)
    rows = metric_table(records, [origin_of(item) for item in dataset.items], None)
    assert value(rows, "ap40") > 0.5


def test_figures_by_source() -> None:
    box, none = np.array([[1.0, 1, 9, 9]], np.float32), np.zeros((0, 4), np.float32)
    one = np.array([0.5], np.float32)
    records = [
        DetectionResult("a", "a", box, one, box),
        DetectionResult("b", "b", box + 20, one, box),
        DetectionResult("c", "c", none, one[:0], none),
    ]
    rows = metric_table(records, [origin_of({"source": s}) for s in "xyy"], None, num_bootstrap=10)
    assert value(rows, "ap50", group="source:x") == 1 and value(rows, "ap50", group="source:y") == 0
    assert {row["group"] for row in rows} == {"all", "source:x", "source:y"}
    assert {row["group"] for row in metric_table(records, [origin_of({"source": "x"})] * 3, None)} == {"all"}


def test_evaluation(dataset: OpacityBoxDataset, tmp_path: Path) -> None:
    model = tmp_path / "model.pt"
    model.write_bytes(b"weights")
    (tmp_path / "model.json").write_text(json.dumps({"image_size": SIZE}))
    # on validation false boxes have 0.5, so that the threshold must lie above it; on the test 0.95: it is not moved
    validation, test = detections_of(dataset, false_score=0.5), detections_of(dataset, false_score=0.95)
    metrics = write_evaluation(
        validation, test, tmp_path, {"image_size": SIZE}, "words", model, dataset, num_bootstrap=5
    )
    assert json.loads((tmp_path / "report" / "metrics.json").read_text()) == metrics
    assert metrics["score_threshold"] == pytest.approx(0.9) and metrics["tested_on"] == "words"
    assert len(metrics["model"]["sha256"]) == 64 and metrics["validation"]["ap"] == 1
    rows = metrics["rows"]
    assert {row["method"] for row in rows} == {"detector", "mean_box_prior", "saliency_boxes"}
    assert value(rows, "false_positives") == 1 and value(rows, "sensitivity") == 1
    assert value(rows, "ap40", "mean_box_prior") < value(rows, "ap40") < 1
    assert len(metrics["curves"]["recall"]) == 101 and set(metrics["curves"]["precision_by_iou"]) >= {"0.40", "0.75"}
    again, sources = read_detections(tmp_path / "report" / "detections_test.json")
    assert len(again) == len(sources) == len(dataset)
    save_metrics_to_settings(model, metrics)
    noted = json.loads((tmp_path / "model.json").read_text())
    assert noted["image_size"] == SIZE and noted["score_threshold"] == metrics["score_threshold"]
    assert noted["metrics"]["ap40"]["value"] == value(rows, "ap40")


def test_without_residues_there_are_no_saliency_boxes(dataset: OpacityBoxDataset, tmp_path: Path) -> None:
    plain = OpacityBoxDataset(DecomposedDataset(dataset.dataset.dataset, None, ("image",)))
    metrics = write_evaluation(detections_of(plain), detections_of(plain), tmp_path, {}, "", None, plain, 0)
    assert {row["method"] for row in metrics["rows"]} == {"detector", "mean_box_prior"}
    assert metrics["model"] is None


def test_a_detector_that_finds_nothing(dataset: OpacityBoxDataset, tmp_path: Path) -> None:
    empty = OpacityDetections(dataset)
    for index in range(len(dataset)):
        empty.update(([torch.zeros(0, 4)], [torch.zeros(0)], [torch.tensor(index)]))
    metrics = write_evaluation(empty, empty, tmp_path, {}, "", num_bootstrap=3)
    assert metrics["score_threshold"] is None and value(metrics["rows"], "ap") == 0
