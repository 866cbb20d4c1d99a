"""Scored test images of finished jobs, with the threshold from their validation images."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from monai_dgm.engines.classification.classification_evaluation import ClassificationResult, read_scores
from monai_dgm.engines.detection.detection_evaluation import read_detections
from monai_dgm.engines.metric_rows import METRICS_FILE
from monai_dgm.errors import InputError
from monai_dgm.jobs.job import Job
from monai_dgm.jobs.job_record import JobRecord
from monai_dgm.metrics.classification import PositiveClass, balanced_threshold, classification_metric_set
from monai_dgm.metrics.detection import IOU_THRESHOLDS, average_precisions, match_detections
from monai_dgm.metrics.metric_sets import MetricSet

__all__ = ["TestPredictions", "load_test_predictions", "positive_class", "stack_scores"]

Indices = NDArray[np.int_]
EARLIER_METRICS_FILE = "figures.json"  # runs of versions up to November 2026


@dataclass(frozen=True, eq=False)
class TestPredictions:
    """One job's test images, in the order of their names, so that two jobs on the same images are paired.

    Attributes:
        fold: of the job.
        job_record: of the job: weights, data, command.
        settings: of the network.
        tested_on: description of the test images.
        threshold: from validation; NaN for a detector.
        image_ids, patients, sources: of N images.
        select: indices of some images -> their metrics as a function of resampling weights.
    """

    fold: int
    job_record: JobRecord
    settings: Mapping[str, Any]
    tested_on: str
    threshold: float
    image_ids: tuple[str, ...]
    patients: tuple[str, ...]
    sources: tuple[str, ...]
    select: Callable[[Indices], MetricSet]

    def indices(self, group: str) -> Indices:
        """Indices of the images of a source; of all images for "all"."""
        return np.array([i for i, source in enumerate(self.sources) if group in ("all", source)], dtype=np.int_)


def positive_class(table: int) -> PositiveClass:
    """NORMAL for Tables 4 and 5, as in the paper; "abnormal" is label 1, which is opacity for Table 6."""
    return "normal" if table in (4, 5) else "abnormal"


def load_test_predictions(
    root: Path, job: Job, record: JobRecord, table: int, head: JobRecord | None = None
) -> TestPredictions:
    """Read the scores and metrics that a job wrote.

    Args:
        root: folder that the paths of ``record`` are relative to.
        job: of a classifier, a head or a detector.
        record: of the job.
        table: decides which class is the positive one.
        head: record of the head whose logit is stacked with the classifier's (:func:`stack_scores`); None for the
            classifier alone.

    Raises:
        InputError: a file is missing or belongs to other weights, or its images cannot be used.
    """
    metrics = _metrics(root / record.scores[1], record)
    known = (job.fold, record, metrics["settings"], str(metrics["tested_on"]))
    if job.kind == "detector":
        return _detection(root, known)
    return _classification(root, known, positive_class(table), head)


def _metrics(scores: Path, record: JobRecord) -> dict[str, Any]:
    path = scores.with_name(METRICS_FILE)
    if not path.is_file() and path.with_name(EARLIER_METRICS_FILE).is_file():
        path = path.with_name(EARLIER_METRICS_FILE)
    try:
        metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found = metrics["model"]["sha256"]
        metrics["settings"], metrics["tested_on"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: expected the metrics of {record.name} as JSON ({error})") from error
    if found != record.sha256:
        raise InputError(f"{path}: expected metrics of weights {record.sha256[:12]}, they are of {str(found)[:12]}")
    return metrics


Known = tuple[int, JobRecord, Mapping[str, Any], str]


def _classification(root: Path, known: Known, positive: PositiveClass, head: JobRecord | None) -> TestPredictions:
    validation, test = (read_scores(root / name) for name in known[1].scores)
    if head is not None:
        validation, test = stack_scores((validation, test), [read_scores(root / name) for name in head.scores])
    threshold = balanced_threshold([r.label for r in validation], [r.score for r in validation])
    if not math.isfinite(threshold):
        raise InputError(f"{known[1].scores[0]}: expected validation images of both labels to choose the threshold on")
    records = _sorted(test, known[1])
    labels = np.array([record.label for record in records])
    scores = np.array([record.score for record in records])

    def select(indices: Indices) -> MetricSet:
        return classification_metric_set(labels[indices], scores[indices], threshold, positive)

    patients, sources = tuple(r.patient_id for r in records), tuple(r.source for r in records)
    return TestPredictions(*known, threshold, tuple(r.image_id for r in records), patients, sources, select)


def stack_scores(
    own: Sequence[Sequence[ClassificationResult]], head: Sequence[Sequence[ClassificationResult]]
) -> list[list[ClassificationResult]]:
    """Scores of a logistic regression on two logits, a network's and the head's, that is fitted to validation images.

    Args:
        own: the network's scores of validation and test images.
        head: the head's, of at least the same images.

    Returns:
        Validation and test images of ``own`` with the stacked scores.

    Raises:
        InputError: an image that the head has not scored, or validation images of one label.
    """
    logits = []
    for records, others in zip(own, head, strict=True):
        known = {other.image_id: other.score for other in others}
        missing = [record.image_id for record in records if record.image_id not in known]
        if missing:
            raise InputError(f"expected the head's scores of all images, {len(missing)} have none")
        scores = np.array([(record.score, known[record.image_id]) for record in records]).clip(1e-7, 1 - 1e-7)
        logits.append(np.log(scores / (1 - scores)))
    labels = [record.label for record in own[0]]
    if len(set(labels)) < 2:
        raise InputError("expected validation images of both labels to stack the head's logit on")
    fitted = LogisticRegression(C=1e3).fit(logits[0], labels)
    return [
        [
            replace(record, score=float(score))
            for record, score in zip(records, fitted.predict_proba(x)[:, 1], strict=True)
        ]
        for records, x in zip(own, logits, strict=True)
    ]


def _sorted(records: Sequence[ClassificationResult], record: JobRecord) -> list[ClassificationResult]:
    ordered = sorted(records, key=lambda record: record.image_id)
    _check_names([record.image_id for record in ordered], record)
    return ordered


def _check_names(names: Sequence[str], record: JobRecord) -> None:
    if not names or len(set(names)) < len(names):
        raise InputError(f"{record.scores[1]}: expected test images that differ, got {len(set(names))} of {len(names)}")


def _detection(root: Path, known: Known) -> TestPredictions:
    records, sources = read_detections(root / known[1].scores[1])
    order = sorted(range(len(records)), key=lambda i: records[i].image_id)
    records, sources = [records[i] for i in order], [sources[i] for i in order]
    _check_names([record.image_id for record in records], known[1])

    def select(indices: Indices) -> MetricSet:
        matched = match_detections([records[i] for i in indices])

        def metrics(weights: NDArray[np.float32]) -> Mapping[str, NDArray[np.float64]]:
            precisions = average_precisions(matched, weights)
            names = [f"ap{round(100 * level)}" for level in IOU_THRESHOLDS]
            return {"ap": precisions.mean(axis=1), **dict(zip(names, precisions.T, strict=True))}

        return metrics

    patients = tuple(record.patient_id for record in records)
    return TestPredictions(*known, math.nan, tuple(r.image_id for r in records), patients, tuple(sources), select)
