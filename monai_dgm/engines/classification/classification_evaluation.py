"""Evaluation of a classifier: scores of single images, the threshold from validation, metrics of the test images."""

from __future__ import annotations

import csv
import dataclasses
import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ignite.metrics import Metric
from torch import Tensor

from monai_dgm.data.decomposed import DecomposedDataset
from monai_dgm.engines.classification.tasks import TASKS
from monai_dgm.engines.metric_rows import (
    METRICS_FILE,
    add_to_settings,
    describe_row,
    evaluation_origin,
    main_numbers,
    metric_row,
)
from monai_dgm.errors import InputError
from monai_dgm.metrics.case_results import groups_of
from monai_dgm.metrics.classification import auc, balanced_threshold, classification_rows
from monai_dgm.utils.atomic import atomic_write, write_json

__all__ = [
    "SCORES_FILES",
    "ClassificationResult",
    "ClassificationScores",
    "metric_table",
    "read_scores",
    "save_metrics_to_settings",
    "write_evaluation",
    "write_scores",
]

logger = logging.getLogger(__name__)

SCORES_FILES = {"validation": "scores_validation.csv", "test": "scores_test.csv"}
NOTES = {
    "threshold": "minimises |sensitivity - specificity| on the validation images (paper, 5.2), then used on the test",
    "positive": "the class that sensitivity, precision, F1 and AP are about; the paper's Tables 4 and 5 take normal, "
    "Table 6 opacity",
    "low, high": "95 % interval by bootstrap over patients, the threshold held fixed",
}


@dataclass(frozen=True)
class ClassificationResult:
    """One scored radiograph.

    Attributes:
        image_id: unique name of the image.
        patient_id: images that share it are resampled together.
        source, view, sex: "unknown" where the data does not give them.
        category: "normal", "lung_opacity" or "other_abnormal"; "unknown" where the data does not give them.
        label: label of the task, 0 or 1.
        score: probability of label 1, in [0, 1].
    """

    image_id: str
    patient_id: str
    source: str
    view: str
    sex: str
    category: str
    label: int
    score: float


class ClassificationScores(Metric):
    """Ignite metric that collects the scores of a data set; its value is their AUC (NaN for a single label).

    Args:
        dataset: data set of the evaluator, which must run over it in its order. The evaluator's output has ``pred``
            (logits) and ``label``.
    """

    def __init__(self, dataset: DecomposedDataset, device: str = "cpu") -> None:
        self.dataset = dataset
        self._scores: list[float] = []
        super().__init__(output_transform=lambda output: (output["pred"], output["label"]), device=device)

    def reset(self) -> None:
        """Remove all scores."""
        self._scores = []

    def update(self, output: Sequence[Tensor]) -> None:
        """Add the logits and labels (B, 1) of a batch.

        Raises:
            InputError: logits that are not finite.
            ValueError: labels that differ from those of the data set's next images.
        """
        logits, labels = (values.detach().double().flatten().cpu() for values in output)
        first = len(self._scores)
        if not torch.equal(labels.float(), self.dataset.labels[first : first + len(labels)]):
            raise ValueError("expected the images of the data set in their order, the labels are others")
        if not torch.isfinite(logits).all():
            raise InputError("expected finite values from the classifier, got NaN or infinity: are the weights sound?")
        self._scores += torch.sigmoid(logits).tolist()

    def compute(self) -> float:
        """AUC of the scores so far, in [0, 1]."""
        return auc(self.dataset.labels[: len(self._scores)].numpy(), self._scores)

    @property
    def results(self) -> list[ClassificationResult]:
        """All scored images, in the order of the data set."""
        return [_result_of(self.dataset.items[index], index, score) for index, score in enumerate(self._scores)]


def _result_of(item: dict[str, Any], index: int, score: float) -> ClassificationResult:
    known = {name: str(item.get(name) or "unknown") for name in ("source", "view", "sex", "category")}
    names = {"image_id": str(item.get("image_id", index)), "patient_id": str(item.get("patient_id", index))}
    return ClassificationResult(**names, **known, label=int(item["label"]), score=score)


def write_scores(results: Sequence[ClassificationResult], path: str | os.PathLike[str]) -> None:
    """Write a CSV file with one row per image and the fields of :class:`ClassificationResult` as columns."""
    names = [field.name for field in dataclasses.fields(ClassificationResult)]
    with atomic_write(path) as partial, open(partial, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, names)
        writer.writeheader()
        writer.writerows(dataclasses.asdict(result) for result in results)


def read_scores(path: str | os.PathLike[str]) -> list[ClassificationResult]:
    """Read results written by :func:`write_scores`.

    Raises:
        InputError: no such file, or a file of another kind.
    """
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        parsed: list[dict[str, Any]] = [
            {**row, "label": int(row["label"]), "score": float(row["score"])} for row in rows
        ]
        return [ClassificationResult(**row) for row in parsed]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: expected scores as CSV ({error})") from error


def metric_table(
    results: Sequence[ClassificationResult], threshold: float, task: str, num_bootstrap: int = 1000
) -> list[dict[str, Any]]:
    """All metrics, with each of the two classes as the positive one, over all images and within each group.

    Args:
        results: of the test images.
        threshold: chosen on validation images.
        task: of :data:`monai_dgm.engines.classification.tasks.TASKS`; gives the names of the classes.
        num_bootstrap: number of resamples of the intervals.

    Returns:
        rows with "metric", "positive", "group" ("all" or "source:<name>"), "value", "low", "high", "std" (None
        where undefined), "num_images", "num_patients", "note". AUC is the same for both classes and has one row.
    """
    table = []
    for group, members in groups_of(results).items():
        labels, scores = [r.label for r in members], [r.score for r in members]
        patients = [r.patient_id for r in members]
        # the metrics' "abnormal" is label 1, whatever the task
        for positive_class, name in zip(("abnormal", "normal"), TASKS[task], strict=True):
            rows = classification_rows(
                labels,
                scores,
                patients,
                threshold,
                positive_class,  # type: ignore[arg-type]
                num_bootstrap=num_bootstrap,
                group=group,
            )
            for row in rows:
                if row.name != "auc" or positive_class == "abnormal":
                    positive = name if row.name != "auc" else "either"
                    table.append({"metric": row.name, "positive": positive, **metric_row(row)})
    return table


def write_evaluation(
    validation: Sequence[ClassificationResult],
    test: Sequence[ClassificationResult],
    output_dir: str | os.PathLike[str],
    settings: Mapping[str, Any],
    tested_on: str,
    model_file: str | os.PathLike[str] | None = None,
    num_bootstrap: int = 1000,
) -> dict[str, Any]:
    """Write ``report/scores_validation.csv``, ``scores_test.csv`` and ``metrics.json``, and log the main metrics.

    Args:
        validation: results from which the threshold is chosen; where there are none, the threshold of the settings is
            used.
        test: results from which the metrics are computed.
        output_dir: folder in which ``report/`` is made.
        settings: of the classifier; "task" is needed.
        tested_on: description of the test data.
        model_file: weights; their name and SHA-256 are written into the file.
        num_bootstrap: number of resamples of the intervals.

    Returns:
        content of metrics.json.

    Raises:
        InputError: validation images of one label only, or none and no threshold in the settings.
    """
    task, folder = str(settings["task"]), Path(output_dir) / "report"
    labels, scores = [result.label for result in validation], [result.score for result in validation]
    threshold = balanced_threshold(labels, scores) if validation else _known_threshold(settings)
    if not math.isfinite(threshold):
        raise InputError("expected validation images of both labels to choose the threshold on, got one label")
    rows = metric_table(test, threshold, task, num_bootstrap)
    metrics: dict[str, Any] = {
        **evaluation_origin(settings, tested_on, NOTES, model_file),
        "threshold": threshold,
        "validation": {"auc": auc(labels, scores), "num_images": len(validation)} if validation else None,
        "rows": rows,
    }
    if validation:
        write_scores(validation, folder / SCORES_FILES["validation"])
    write_scores(test, folder / SCORES_FILES["test"])
    write_json(folder / METRICS_FILE, metrics, allow_nan=False)
    _log_main_metrics(rows, TASKS[task][0])
    print(f"metrics: {folder / METRICS_FILE}", flush=True)
    return metrics


def _known_threshold(settings: Mapping[str, Any]) -> float:
    value = settings.get("threshold")
    if not isinstance(value, int | float):
        raise InputError("expected validation images, or a threshold in the settings of the weights, got neither")
    return float(value)


def _log_main_metrics(rows: Sequence[Mapping[str, Any]], positive: str) -> None:
    for row in rows:
        main = row["metric"] == "auc" or (row["group"] == "all" and row["positive"] == positive)
        if main and row["value"] is not None:
            logger.info("%s, %s: %s", row["group"], row["metric"], describe_row(row))


def save_metrics_to_settings(model_file: str | os.PathLike[str], metrics: Mapping[str, Any]) -> None:
    """Add the threshold and the metrics (all images, label 1 positive) to the JSON file next to the weights.

    Args:
        model_file: the weights.
        metrics: result of :func:`write_evaluation`.
    """
    positive = ("either", TASKS[str(metrics["settings"]["task"])][0])
    rows = [row for row in metrics["rows"] if row["group"] == "all" and row["positive"] in positive]
    add_to_settings(
        model_file,
        threshold=metrics["threshold"],
        tested_on=metrics["tested_on"],
        metrics={row["metric"]: main_numbers(row) for row in rows},
    )
