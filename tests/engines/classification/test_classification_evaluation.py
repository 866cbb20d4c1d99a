"""Scores and figures of a classifier: the threshold's origin, both positive classes, groups, files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score, roc_auc_score

from monai_dgm.engines.classification import classification_evaluation as metrics
from monai_dgm.engines.classification.classification_evaluation import ClassificationResult
from monai_dgm.errors import InputError
from monai_dgm.metrics.classification import balanced_threshold


def records(count: int = 60, seed: int = 0) -> list[ClassificationResult]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    scores = 1 / (1 + np.exp(-(labels + rng.normal(size=count))))
    return [
        ClassificationResult(
            image_id=f"i{i}",
            patient_id=f"p{i // 2}",
            source="nih" if i % 3 else "shenzhen",
            view="PA",
            sex="unknown",
            category="lung_opacity" if labels[i] else "normal",
            label=int(labels[i]),
            score=float(scores[i]),
        )
        for i in range(count)
    ]


def arrays(rows: list[ClassificationResult]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([row.label for row in rows]), np.array([row.score for row in rows])


def test_scores_survive_the_file_to_the_last_bit(tmp_path: Path) -> None:
    metrics.write_scores(records(), tmp_path / "scores.csv")
    assert metrics.read_scores(tmp_path / "scores.csv") == records()
    header = (tmp_path / "scores.csv").read_text().splitlines()[0]
    assert header == "image_id,patient_id,source,view,sex,category,label,score"


@pytest.mark.parametrize("content", [None, "a,b\n1,2\n", "image_id,patient_id\n"])
def test_other_files_are_no_scores(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "scores.csv"
    if content is not None:
        path.write_text(content)
    if content == "image_id,patient_id\n":
        assert metrics.read_scores(path) == []
        return
    with pytest.raises(InputError, match=r"scores\.csv: expected scores as CSV"):
        metrics.read_scores(path)


def test_figures_are_scikit_learns_for_both_positive_classes() -> None:
    test = records()
    labels, scores = arrays(test)
    called = (scores >= 0.6).astype(int)
    rows = {
        (row["metric"], row["positive"]): row["value"]
        for row in metrics.metric_table(test, 0.6, "opacity", num_bootstrap=20)
        if row["group"] == "all"
    }
    assert rows["auc", "either"] == pytest.approx(roc_auc_score(labels, scores))
    for name, positive in (("lung_opacity", 1), ("no_lung_opacity", 0)):
        truth, found = (labels == positive).astype(int), (called == positive).astype(int)
        ranking = scores if positive else -scores
        assert rows["average_precision", name] == pytest.approx(average_precision_score(truth, ranking))
        assert rows["sensitivity", name] == pytest.approx(recall_score(truth, found))
        assert rows["specificity", name] == pytest.approx(recall_score(1 - truth, 1 - found))
        assert rows["precision", name] == pytest.approx(precision_score(truth, found))
        assert rows["f1", name] == pytest.approx(f1_score(truth, found))
    assert len(rows) == 11


def test_sources_are_groups_and_intervals_hold_their_figures() -> None:
    table = metrics.metric_table(test := records(300), 0.6, "abnormality", num_bootstrap=200)
    assert {row["group"] for row in table} == {"all", "source:nih", "source:shenzhen"}
    assert {row["positive"] for row in table} == {"either", "abnormal", "normal"}
    for row in table:
        assert row["low"] <= row["value"] <= row["high"] and row["num_images"] >= row["num_patients"] > 0
    nih = next(row for row in table if row["group"] == "source:nih")
    assert nih["num_images"] == sum(record.source == "nih" for record in test)
    one_source = [record for record in test if record.source == "nih"]
    assert {row["group"] for row in metrics.metric_table(one_source, 0.6, "abnormality", 2)} == {"all"}


def test_a_source_of_one_class_has_reasons_for_figures() -> None:
    test = [record for record in records() if record.source == "nih" or record.label]
    rows = [row for row in metrics.metric_table(test, 0.6, "opacity", 2) if row["group"] == "source:shenzhen"]
    assert rows and all(row["value"] is None and row["note"] == "only one class present" for row in rows)
    json.dumps(rows, allow_nan=False)


def test_evaluation_takes_its_threshold_from_validation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    validation, test = records(seed=1), records(seed=2)
    settings = {"task": "opacity", "image_size": 32}
    weights = tmp_path / "model.pt"
    weights.write_bytes(b"weights")
    told = metrics.write_evaluation(validation, test, tmp_path, settings, "a test", weights, num_bootstrap=5)
    assert told["threshold"] == balanced_threshold(*arrays(validation)) != balanced_threshold(*arrays(test))
    report = tmp_path / "report"
    assert json.loads((report / "metrics.json").read_text()) == told
    assert metrics.read_scores(report / "scores_validation.csv") == validation
    assert metrics.read_scores(report / "scores_test.csv") == test
    assert told["model"]["file"] == "model.pt" and len(told["model"]["sha256"]) == 64
    assert f"metrics: {report / 'metrics.json'}" in capsys.readouterr().out
    weights.with_suffix(".json").write_text(json.dumps(settings))
    metrics.save_metrics_to_settings(weights, told)
    noted = json.loads(weights.with_suffix(".json").read_text())
    assert noted["image_size"] == 32 and noted["threshold"] == told["threshold"] and noted["tested_on"] == "a test"
    sensitivity = next(r for r in told["rows"] if r["metric"] == "sensitivity" and r["positive"] == "lung_opacity")
    assert noted["metrics"]["sensitivity"]["value"] == sensitivity["value"]
    assert set(noted["metrics"]) == {"auc", "average_precision", "sensitivity", "specificity", "precision", "f1"}


def test_validation_of_one_label_is_an_error(tmp_path: Path) -> None:
    abnormal = [record for record in records() if record.label]
    with pytest.raises(InputError, match="validation images of both labels to choose the threshold"):
        metrics.write_evaluation(abnormal, records(), tmp_path, {"task": "opacity"}, "a test")
    assert not (tmp_path / "report").exists()
