"""Scores and figures of a classifier as files: the threshold from validation, the figures of the test images."""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_dgm.engines.classification.data import TASKS
from monai_dgm.engines.classification.predictions import ClassificationResult
from monai_dgm.engines.metric_rows import (
    METRICS_FILE,
    add_to_settings,
    describe_row,
    evaluation_origin,
    main_numbers,
    metric_row,
)
from monai_dgm.errors import InputError
from monai_dgm.metrics.classification import auc, balanced_threshold, classification_rows
from monai_dgm.metrics.groups import groups_of
from monai_dgm.utils.atomic import atomic_write

__all__ = [
    "SCORES_FILES",
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


def write_scores(records: Sequence[ClassificationResult], path: str | os.PathLike[str]) -> None:
    """Write a CSV with a row an image and the fields of :class:`ClassificationResult` as columns."""
    names = [field.name for field in dataclasses.fields(ClassificationResult)]
    with atomic_write(path) as partial, open(partial, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, names)
        writer.writeheader()
        writer.writerows(dataclasses.asdict(record) for record in records)


def read_scores(path: str | os.PathLike[str]) -> list[ClassificationResult]:
    """Records written by :func:`write_scores`.

    Raises:
        InputError: no such file, or another one.
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
    records: Sequence[ClassificationResult], threshold: float, task: str, num_bootstrap: int = 1000
) -> list[dict[str, Any]]:
    """Every figure, of both classes as the positive one, over all images and within each source.

    Args:
        records: of the test images.
        threshold: from validation.
        task: of :data:`monai_dgm.engines.classification.data.TASKS`; names the classes.
        num_bootstrap: resamples of the intervals.

    Returns:
        rows with "metric", "positive", "group" ("all" or "source:<name>"), "value", "low", "high", "std" (None
        where undefined), "num_images", "num_patients", "note". AUC is the same for both classes and comes once.
    """
    table = []
    for group, members in groups_of(records).items():
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
    """Write ``report/scores_validation.csv``, ``scores_test.csv`` and ``metrics.json``, and print the main figures.

    Args:
        validation: chooses the threshold; where it is empty, that of the settings is used.
        test: what the figures are of.
        output_dir: ``report/`` is made in it.
        settings: of the classifier, with "task".
        tested_on: the data in words.
        model_file: weights; their name and SHA-256 go into the file.
        num_bootstrap: resamples of the intervals.

    Returns:
        what metrics.json holds.

    Raises:
        InputError: validation images of a single label, or none and no threshold in the settings.
    """
    task, folder = str(settings["task"]), Path(output_dir) / "report"
    labels, scores = [record.label for record in validation], [record.score for record in validation]
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
    with atomic_write(folder / METRICS_FILE) as partial:
        partial.write_text(json.dumps(metrics, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    _tell(rows, TASKS[task][0])
    print(f"metrics: {folder / METRICS_FILE}", flush=True)
    return metrics


def _known_threshold(settings: Mapping[str, Any]) -> float:
    value = settings.get("threshold")
    if not isinstance(value, int | float):
        raise InputError("expected validation images, or a threshold in the settings of the weights, got neither")
    return float(value)


def _tell(rows: Sequence[Mapping[str, Any]], positive: str) -> None:
    for row in rows:
        main = row["metric"] == "auc" or (row["group"] == "all" and row["positive"] == positive)
        if main and row["value"] is not None:
            logger.info("%s, %s: %s", row["group"], row["metric"], describe_row(row))


def save_metrics_to_settings(model_file: str | os.PathLike[str], metrics: Mapping[str, Any]) -> None:
    """Add threshold and figures (all images, label 1 positive) to the JSON file beside the weights.

    Args:
        model_file: the weights.
        figures: from :func:`write_evaluation`.
    """
    positive = ("either", TASKS[str(metrics["settings"]["task"])][0])
    rows = [row for row in metrics["rows"] if row["group"] == "all" and row["positive"] in positive]
    add_to_settings(
        model_file,
        threshold=metrics["threshold"],
        tested_on=metrics["tested_on"],
        metrics={row["metric"]: main_numbers(row) for row in rows},
    )
