"""Evaluation of a detector: detections as files, the threshold from validation, metrics of the test."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_dgm.data.opacity_boxes import OpacityBoxDataset
from monai_dgm.engines.detection.baselines import baseline_results
from monai_dgm.engines.detection.workflow import OpacityDetections
from monai_dgm.engines.files import write_results
from monai_dgm.engines.metric_rows import (
    METRICS_FILE,
    add_to_settings,
    describe_row,
    evaluation_origin,
    finite,
    main_numbers,
    metric_row,
)
from monai_dgm.errors import InputError
from monai_dgm.metrics.case_results import groups_of, origin_of
from monai_dgm.metrics.detection import (
    DetectionMetrics,
    DetectionResult,
    detection_metrics,
    match_detections,
    score_for_rate,
)

__all__ = [
    "metric_table",
    "read_detections",
    "save_metrics_to_settings",
    "write_detections",
    "write_evaluation",
]

logger = logging.getLogger(__name__)

DETECTIONS_FILES = {"validation": "detections_validation.json", "test": "detections_test.json"}
FALSE_POSITIVE_RATE = 0.25
LOCALISED = 0.4
MAIN_METRICS = ("ap", "ap40", "ap50", "ap60", "ap70", "froc_mean", "sensitivity", "precision", "false_positives")
NOTES = {
    "ap": "mean of the average precisions at IoU 0.40:0.05:0.75, as COCO computes them; ap40 to ap75 are single ones",
    "froc_r": "share of the true boxes found, at IoU 0.4, with r false positives per image",
    "score_threshold": "the lowest with at most so many false positives per image in validation, then used on the "
    "test: sensitivity, precision, false_positives",
    "images": "those with opacity boxes, and those without opacities by a label source that draws boxes",
    "low, high": "95 % interval by bootstrap over patients, the threshold held fixed",
    "mean_box_prior": "the same boxes for every image, where the training images have theirs",
    "saliency_boxes": "boxes around the salient components of the residue",
}


def write_detections(results: Sequence[DetectionResult], sources: Sequence[str], path: str | os.PathLike[str]) -> None:
    """Write detected and true boxes as JSON, for metrics over several splits and paired tests.

    Args:
        results: detections in model coordinates.
        sources: source of each image.
        path: file to write.
    """
    rows = [
        {
            "image_id": result.image_id,
            "patient_id": result.patient_id,
            "source": source,
            "boxes": np.asarray(result.boxes, dtype=np.float64).round(3).tolist(),
            "scores": np.asarray(result.scores, dtype=np.float64).round(6).tolist(),
            "truth": np.asarray(result.truth, dtype=np.float64).round(3).tolist(),
        }
        for result, source in zip(results, sources, strict=True)
    ]
    write_results(Path(path), {"images": rows})


def read_detections(path: str | os.PathLike[str]) -> tuple[list[DetectionResult], list[str]]:
    """Read results and sources written by :func:`write_detections`.

    Raises:
        InputError: no such file, or a file of another kind.
    """
    try:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))["images"]
        return [_result_of(row) for row in rows], [str(row["source"]) for row in rows]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: expected detections as JSON ({error})") from error


def _result_of(row: Mapping[str, Any]) -> DetectionResult:
    arrays = {name: np.asarray(row[name], dtype=np.float32).reshape(-1, 4) for name in ("boxes", "truth")}
    scores = np.asarray(row["scores"], dtype=np.float32)
    return DetectionResult(str(row["image_id"]), str(row["patient_id"]), arrays["boxes"], scores, arrays["truth"])


def metric_table(
    results: Sequence[DetectionResult],
    origins: Sequence[Mapping[str, str]],
    score_threshold: float | None,
    method: str = "detector",
    num_bootstrap: int = 1000,
) -> list[dict[str, Any]]:
    """All metrics over all images and within each group.

    Args:
        results: of the test images.
        origins: origin of each image, from :func:`monai_dgm.metrics.case_results.origin_of`.
        score_threshold: of the operating point; None counts every detection.
        method: name of the method, for the rows.
        num_bootstrap: number of resamples of the intervals.

    Returns:
        rows with "method", "metric", "group" (of :func:`monai_dgm.metrics.case_results.groups_of`), "value", "low",
        "high", "std" (None where undefined), "num_images", "num_patients", "note".
    """
    rows = []
    for group, members in groups_of(results, origins=origins).items():
        metrics = detection_metrics(members, num_bootstrap, group=group, score_threshold=score_threshold)
        rows += [{"method": method, **metric_row(row)} for row in metrics.rows]
    return rows


def write_evaluation(
    validation: OpacityDetections | None,
    test: OpacityDetections,
    output_dir: str | os.PathLike[str],
    settings: Mapping[str, Any],
    tested_on: str,
    model_file: str | os.PathLike[str] | None = None,
    training: OpacityBoxDataset | None = None,
    num_bootstrap: int = 1000,
    false_positive_rate: float = FALSE_POSITIVE_RATE,
) -> dict[str, Any]:
    """Write ``report/detections_validation.json``, ``detections_test.json`` and ``metrics.json``.

    Args:
        validation: detections from which the score threshold is chosen; None uses that of the settings.
        test: detections from which the metrics are computed.
        output_dir: folder in which ``report/`` is made.
        settings: of the detector.
        tested_on: description of the test data.
        model_file: weights; their name and SHA-256 are written into the file.
        training: training set, for the baselines; None for no baselines.
        num_bootstrap: number of resamples of the intervals.
        false_positive_rate: false positives per validation image at the score threshold.

    Returns:
        content of metrics.json.
    """
    folder = Path(output_dir) / "report"
    if validation is None:
        chosen = settings.get("score_threshold")
    else:
        threshold = score_for_rate(match_detections(validation.results), false_positive_rate, LOCALISED)
        chosen = threshold if math.isfinite(threshold) else None
    origins = [origin_of(item) for item in test.dataset.items]
    rows = metric_table(test.results, origins, chosen, num_bootstrap=num_bootstrap)
    if training is not None:
        for name, results in baseline_results(test, training).items():
            rows += metric_table(results, origins, None, name, num_bootstrap)
    metrics: dict[str, Any] = {
        **evaluation_origin(settings, tested_on, NOTES, model_file),
        "score_threshold": chosen,
        "false_positive_rate": false_positive_rate,
        "validation": None if validation is None else _validation_metrics(validation),
        "curves": _curves(detection_metrics(test.results, 0)),
        "rows": rows,
    }
    if validation is not None:
        write_detections(validation.results, _sources(validation), folder / DETECTIONS_FILES["validation"])
    write_detections(test.results, _sources(test), folder / DETECTIONS_FILES["test"])
    write_results(folder / METRICS_FILE, metrics)
    _log_main_metrics(rows)
    print(f"metrics: {folder / METRICS_FILE}", flush=True)
    return metrics


def _validation_metrics(validation: OpacityDetections) -> dict[str, Any]:
    precision = finite(detection_metrics(validation.results, 0).ap, 6)
    return {"ap": precision, "num_images": len(validation.results)}


def _sources(detections: OpacityDetections) -> list[str]:
    return [origin_of(item)["source"] for item in detections.dataset.items]


def _curves(metrics: DetectionMetrics) -> dict[str, Any]:
    """Precision-recall at every IoU threshold, and FROC, of all test images; None where undefined."""
    precision = {
        f"{iou:.2f}": [finite(value, 6) for value in curve]
        for iou, curve in zip(metrics.iou_thresholds, metrics.precision, strict=True)
    }
    froc = metrics.froc
    steps = np.flatnonzero(np.diff(froc.sensitivity, prepend=-1.0))  # points without a new hit are left out
    names = {"false_positives": froc.false_positives, "sensitivity": froc.sensitivity, "threshold": froc.threshold}
    return {
        "recall": [finite(value, 6) for value in metrics.recall],
        "precision_by_iou": precision,
        "froc": {name: [finite(value, 6) for value in values[steps]] for name, values in names.items()},
    }


def _log_main_metrics(rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        if row["group"] == "all" and row["metric"] in MAIN_METRICS and row["value"] is not None:
            logger.info("%s, %s: %s", row["method"], row["metric"], describe_row(row))


def save_metrics_to_settings(model_file: str | os.PathLike[str], metrics: Mapping[str, Any]) -> None:
    """Add the score threshold and the metrics (all images) to the JSON file next to the weights.

    Args:
        model_file: the weights.
        metrics: result of :func:`write_evaluation`.
    """
    rows = [row for row in metrics["rows"] if row["group"] == "all" and row["method"] == "detector"]
    add_to_settings(
        model_file,
        score_threshold=metrics["score_threshold"],
        tested_on=metrics["tested_on"],
        metrics={row["metric"]: main_numbers(row) for row in rows if row["metric"] in MAIN_METRICS},
    )
