"""Detections and figures of a detector as files: the threshold from validation, the figures of the test images."""

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
from monai_dgm.engines.detection.baselines import prior_results, saliency_results
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
from monai_dgm.metrics.detection import (
    DetectionMetrics,
    DetectionResult,
    detection_metrics,
    match_detections,
    score_for_rate,
)
from monai_dgm.metrics.groups import groups_of, origin_of

__all__ = [
    "DETECTIONS_FILES",
    "baseline_results",
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
    "froc_r": "share of the true boxes found, at IoU 0.4, with r false positives an image",
    "score_threshold": "the lowest with at most so many false positives an image on the validation images, used on the "
    "test: sensitivity, precision, false_positives",
    "images": "those with opacity boxes, and those without opacities by a label source that draws boxes",
    "low, high": "95 % interval by bootstrap over patients, the threshold held fixed",
    "mean_box_prior": "the same boxes for every image, where the training images have theirs",
    "saliency_boxes": "boxes around the salient components of the residue",
}


def write_detections(records: Sequence[DetectionResult], sources: Sequence[str], path: str | os.PathLike[str]) -> None:
    """Write what was found and what is true as JSON, for figures over several splits and paired tests.

    Args:
        records: in model coordinates.
        sources: of each.
        path: of the file.
    """
    rows = [
        {
            "image_id": record.image_id,
            "patient_id": record.patient_id,
            "source": source,
            "boxes": np.asarray(record.boxes, dtype=np.float64).round(3).tolist(),
            "scores": np.asarray(record.scores, dtype=np.float64).round(6).tolist(),
            "truth": np.asarray(record.truth, dtype=np.float64).round(3).tolist(),
        }
        for record, source in zip(records, sources, strict=True)
    ]
    write_results(Path(path), {"images": rows})


def read_detections(path: str | os.PathLike[str]) -> tuple[list[DetectionResult], list[str]]:
    """Records and sources written by :func:`write_detections`.

    Raises:
        InputError: no such file, or another one.
    """
    try:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))["images"]
        return [_record(row) for row in rows], [str(row["source"]) for row in rows]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: expected detections as JSON ({error})") from error


def _record(row: Mapping[str, Any]) -> DetectionResult:
    arrays = {name: np.asarray(row[name], dtype=np.float32).reshape(-1, 4) for name in ("boxes", "truth")}
    scores = np.asarray(row["scores"], dtype=np.float32)
    return DetectionResult(str(row["image_id"]), str(row["patient_id"]), arrays["boxes"], scores, arrays["truth"])


def baseline_results(test: OpacityDetections, training: OpacityBoxDataset) -> dict[str, list[DetectionResult]]:
    """Baselines by name: the mean-box prior of the training set, and saliency boxes where there are residues.

    Args:
        test: detections in the whole data set.
        training: what the detector was trained on.
    """
    baselines = {"mean_box_prior": prior_results(test.records, training)}
    if "residue" in test.dataset.channels:
        baselines["saliency_boxes"] = saliency_results(test.records, test.dataset)
    return baselines


def metric_table(
    records: Sequence[DetectionResult],
    origins: Sequence[Mapping[str, str]],
    score_threshold: float | None,
    method: str = "detector",
    num_bootstrap: int = 1000,
) -> list[dict[str, Any]]:
    """Every figure over all images and within each group.

    Args:
        records: of the test images.
        origins: of each, from :func:`monai_dgm.metrics.groups.origin_of`.
        score_threshold: of the operating point; None calls every detection.
        method: what the figures are of.
        num_bootstrap: resamples of the intervals.

    Returns:
        rows with "method", "metric", "group" (of :func:`monai_dgm.metrics.groups.groups_of`), "value", "low", "high",
        "std" (None where undefined), "num_images", "num_patients", "note".
    """
    rows = []
    for group, members in groups_of(records, origins=origins).items():
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
    """Write ``report/detections_validation.json``, ``detections_test.json`` and ``metrics.json``; print the main ones.

    Args:
        validation: its detections choose the score threshold; None uses that of the settings.
        test: what the figures are of.
        output_dir: ``report/`` is made in it.
        settings: of the detector.
        tested_on: the data in words.
        model_file: weights; their name and SHA-256 go into the file.
        training: the training set, for baselines; None for none.
        num_bootstrap: resamples of the intervals.
        false_positive_rate: an image on validation, at the score threshold.

    Returns:
        what metrics.json holds.
    """
    folder = Path(output_dir) / "report"
    if validation is None:
        chosen = settings.get("score_threshold")
    else:
        threshold = score_for_rate(match_detections(validation.records), false_positive_rate, LOCALISED)
        chosen = threshold if math.isfinite(threshold) else None
    origins = [origin_of(item) for item in test.dataset.items]
    rows = metric_table(test.records, origins, chosen, num_bootstrap=num_bootstrap)
    if training is not None:
        for name, records in baseline_results(test, training).items():
            rows += metric_table(records, origins, None, name, num_bootstrap)
    metrics: dict[str, Any] = {
        **evaluation_origin(settings, tested_on, NOTES, model_file),
        "score_threshold": chosen,
        "false_positive_rate": false_positive_rate,
        "validation": None if validation is None else _validation_metrics(validation),
        "curves": _curves(detection_metrics(test.records, 0)),
        "rows": rows,
    }
    if validation is not None:
        write_detections(validation.records, _sources(validation), folder / DETECTIONS_FILES["validation"])
    write_detections(test.records, _sources(test), folder / DETECTIONS_FILES["test"])
    write_results(folder / METRICS_FILE, metrics)
    _tell(rows)
    print(f"metrics: {folder / METRICS_FILE}", flush=True)
    return metrics


def _validation_metrics(validation: OpacityDetections) -> dict[str, Any]:
    precision = finite(detection_metrics(validation.records, 0).ap, 6)
    return {"ap": precision, "num_images": len(validation.records)}


def _sources(detections: OpacityDetections) -> list[str]:
    return [origin_of(item)["source"] for item in detections.dataset.items]


def _curves(metrics: DetectionMetrics) -> dict[str, Any]:
    """Precision-recall at every IoU threshold, and FROC, of all test images; None where undefined."""
    precision = {
        f"{iou:.2f}": [finite(value, 6) for value in curve]
        for iou, curve in zip(metrics.iou_thresholds, metrics.precision, strict=True)
    }
    froc = metrics.froc
    steps = np.flatnonzero(np.diff(froc.sensitivity, prepend=-1.0))  # the points between find nothing more
    names = {"false_positives": froc.false_positives, "sensitivity": froc.sensitivity, "threshold": froc.threshold}
    return {
        "recall": [finite(value, 6) for value in metrics.recall],
        "precision_by_iou": precision,
        "froc": {name: [finite(value, 6) for value in values[steps]] for name, values in names.items()},
    }


def _tell(rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        if row["group"] == "all" and row["metric"] in MAIN_METRICS and row["value"] is not None:
            logger.info("%s, %s: %s", row["method"], row["metric"], describe_row(row))


def save_metrics_to_settings(model_file: str | os.PathLike[str], metrics: Mapping[str, Any]) -> None:
    """Add score threshold and figures (all images) to the JSON file beside the weights.

    Args:
        model_file: the weights.
        figures: from :func:`write_evaluation`.
    """
    rows = [row for row in metrics["rows"] if row["group"] == "all" and row["method"] == "detector"]
    add_to_settings(
        model_file,
        score_threshold=metrics["score_threshold"],
        tested_on=metrics["tested_on"],
        metrics={row["metric"]: main_numbers(row) for row in rows if row["metric"] in MAIN_METRICS},
    )
