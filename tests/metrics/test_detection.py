"""Average precision against pycocotools, on many random cases; what images without boxes, ties and limits do."""

import contextlib
import io
import math
from dataclasses import replace

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from monai_dgm.metrics.detection import (
    IOU_THRESHOLDS,
    NO_BOXES,
    DetectionResult,
    average_precisions,
    detection_metric_set,
    detection_metrics,
    match_detections,
    precision_recall,
)
from monai_dgm.metrics.metric_sets import metric_values

EMPTY = np.zeros((0, 4), dtype=np.float32)


def coco_of(num_images: int, annotations: list[dict]) -> COCO:
    coco = COCO()
    images = [{"id": number} for number in range(1, num_images + 1)]
    coco.dataset = {"images": images, "categories": [{"id": 1}], "annotations": annotations}
    coco.createIndex()
    return coco


def annotations(boxes_of_images: list[np.ndarray]) -> list[dict]:
    found: list[dict] = []
    for number, boxes in enumerate(boxes_of_images, start=1):
        for xmin, ymin, xmax, ymax in boxes.astype(np.float64).tolist():
            box = [xmin, ymin, xmax - xmin, ymax - ymin]
            found.append({"image_id": number, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0})
    return [{"id": i, **annotation} for i, annotation in enumerate(found, start=1)]


def coco_precision(records: list[DetectionResult]) -> np.ndarray:
    """pycocotools' precision (T, 101); -1 everywhere without true boxes."""
    found = annotations([record.boxes for record in records])
    for annotation, score in zip(found, np.concatenate([record.scores for record in records]), strict=True):
        annotation["score"] = float(score)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco_of(len(records), annotations([record.truth for record in records]))
        coco = COCOeval(truth, coco_of(len(records), found), "bbox")
        coco.params.iouThrs = np.array(IOU_THRESHOLDS)
        coco.params.areaRng, coco.params.areaRngLbl = [[0, 1e10]], ["all"]
        coco.params.maxDets = [100]
        coco.evaluate()
        coco.accumulate()
    return coco.eval["precision"][:, :, 0, 0, 0]


def random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    corner = rng.uniform(0, 80, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(5, 60, (count, 2))], axis=1)


def random_case(rng: np.random.Generator) -> list[DetectionResult]:
    """1 to 8 images; some without boxes, with equal scores, on a coarse grid (equal IoUs), with over 100 detections."""
    grid, num_scores, crowded = rng.random() < 0.5, rng.choice([3, 10, 1_000_000]), rng.random() < 0.02
    records = []
    for number in range(rng.integers(1, 9)):
        truth = random_boxes(rng, rng.integers(0, 4) if rng.random() < 0.6 else 0)
        near = truth[rng.integers(0, len(truth), rng.integers(0, 8))] if len(truth) else truth
        near = near + rng.normal(0, 4, near.shape)
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        found = np.concatenate([near, random_boxes(rng, rng.integers(0, 6) + 110 * crowded)])
        found = rng.permutation(found)
        if grid:
            truth, found = (np.round(boxes / 8) * 8 + [0, 0, 8, 8] for boxes in (truth, found))
        scores = np.floor(rng.random(len(found)) * num_scores) / num_scores
        boxes = found.astype(np.float32), scores, truth.astype(np.float32)
        records.append(DetectionResult(f"image{number}", f"patient{number // 2}", *boxes))
    return records


def once(records: list[DetectionResult]) -> np.ndarray:
    """(1, N) weights of one."""
    return np.ones((1, len(records)), dtype=np.float32)


def test_average_precision_is_that_of_pycocotools_in_1000_random_cases() -> None:
    rng = np.random.default_rng(0)
    seen = {"no truth": 0, "empty image": 0, "equal scores": 0, "over 100": 0, "neither 0 nor 1": 0}
    for _ in range(1000):
        records = random_case(rng)
        theirs, matched = coco_precision(records), match_detections(records)
        ours, curves = average_precisions(matched, once(records))[0], precision_recall(matched)
        if (theirs == -1).all():
            assert np.isnan(ours).all() and np.isnan(curves).all()
        else:
            np.testing.assert_allclose(ours, theirs.mean(axis=1), rtol=0, atol=1e-6)
            np.testing.assert_allclose(curves, theirs, rtol=0, atol=1e-6)
        seen["no truth"] += (theirs == -1).all()
        seen["empty image"] += any(not len(record.truth) for record in records)
        seen["equal scores"] += len(np.unique(matched.scores)) < len(matched.scores)
        seen["over 100"] += any(len(record.scores) > 100 for record in records)
        seen["neither 0 nor 1"] += bool(0 < ours.mean() < 1)
    assert seen["neither 0 nor 1"] > 500 and min(seen.values()) >= 10, seen


def test_a_weight_is_that_many_copies_of_the_image() -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        records = [replace(record, scores=rng.random(len(record.scores))) for record in random_case(rng)]
        weights = rng.integers(0, 4, (5, len(records))).astype(np.float32)
        samples = average_precisions(match_detections(records), weights)
        for row, sample in zip(weights, samples, strict=True):
            copies = [record for record, count in zip(records, row, strict=True) for _ in range(int(count))]
            if any(len(record.truth) for record in copies):
                theirs = coco_precision(copies).mean(axis=1)
                np.testing.assert_allclose(sample, theirs, rtol=0, atol=1e-6)
            else:
                assert np.isnan(sample).all()


def perfect(number: int, num_boxes: int) -> DetectionResult:
    corner = np.arange(num_boxes)[:, None] * [30.0, 0.0] + 5
    truth = np.concatenate([corner, corner + 20], axis=1).astype(np.float32)
    return DetectionResult(f"image{number}", f"patient{number}", truth, np.full(num_boxes, 0.9), truth)


RECORDS = [perfect(i, i % 3) for i in range(12)]


def test_the_truth_as_detections_is_perfect() -> None:
    metrics = detection_metrics(RECORDS, num_bootstrap=50)
    for name in ("ap", "ap40", "ap75", "froc_0.125", "froc_mean", "sensitivity", "precision"):
        row = metrics.row(name)
        assert row.value == row.low == row.high == 1, name
    assert metrics.row("false_positives").value == 0
    assert metrics.ap == 1 and (metrics.precision == 1).all()
    assert (metrics.num_boxes, metrics.num_positive_images, metrics.num_detections) == (12, 8, 12)
    assert (metrics.row("ap").num_images, metrics.row("ap").num_patients) == (12, 12)


def test_detections_on_images_without_boxes_are_false_positives() -> None:
    loud = [
        replace(r, boxes=np.array([[1, 1, 9, 9]]), scores=np.array([0.95])) if not len(r.truth) else r for r in RECORDS
    ]
    metrics = detection_metrics(loud, num_bootstrap=0)
    assert metrics.row("false_positives").value == pytest.approx(4 / 12)
    assert metrics.ap == pytest.approx(12 / 16)
    assert detection_metrics([r for r in loud if len(r.truth)], num_bootstrap=0).ap == 1


def test_shifted_boxes_count_up_to_their_overlap() -> None:
    truth = np.array([[0, 0, 100, 100]], dtype=np.float32)
    shifted = DetectionResult("i", "p", truth + np.array([0, 0, 0, 64]), np.array([0.5]), truth)  # IoU 100 / 164 = 0.61
    values = metric_values(detection_metric_set(match_detections([shifted])), 1)
    assert [values[f"ap{level}"] for level in (40, 45, 50, 55, 60, 65, 70, 75)] == [1, 1, 1, 1, 1, 0, 0, 0]
    assert values["ap"] == 5 / 8


def test_only_the_best_100_detections_of_an_image_count() -> None:
    truth = np.array([[0, 0, 10, 10]], dtype=np.float32)
    noise = np.tile([[50.0, 50.0, 60.0, 60.0]], (100, 1))
    record = DetectionResult("i", "p", np.concatenate([noise, truth]), np.r_[np.full(100, 0.9), 0.1], truth)
    metrics = detection_metrics([record], num_bootstrap=0)
    assert metrics.num_detections == 100 and metrics.ap == 0 and metrics.row("sensitivity").value == 0
    assert (coco_precision([record]) == 0).all()
    assert detection_metrics([record], num_bootstrap=0, max_detections=101).ap == pytest.approx(1 / 101)


def test_operating_point_calls_from_the_given_score() -> None:
    truth = np.array([[0, 0, 10, 10], [20, 20, 40, 40]], dtype=np.float32)
    boxes = np.concatenate([truth, [[60, 60, 70, 70]]])
    records = [DetectionResult("i", "p", boxes, np.array([0.9, 0.3, 0.6]), truth), perfect(3, 0)]
    for threshold, sensitivity, precision, false_positives in (
        (None, 1, 2 / 3, 0.5),
        (0.6, 0.5, 0.5, 0.5),
        (0.7, 0.5, 1, 0),
    ):
        values = metric_values(detection_metric_set(match_detections(records), threshold), 2)
        assert (values["sensitivity"], values["precision"]) == (sensitivity, pytest.approx(precision))
        assert values["false_positives"] == false_positives


def test_no_true_box_is_nan_with_the_reason_and_no_detection_is_zero() -> None:
    metrics = detection_metrics([replace(r, truth=EMPTY) for r in RECORDS], num_bootstrap=20)
    assert math.isnan(metrics.ap) and metrics.row("ap").note == NO_BOXES
    assert metrics.row("false_positives").value == 1 and not metrics.row("false_positives").note
    silent = detection_metrics([replace(r, boxes=EMPTY, scores=np.zeros(0)) for r in RECORDS], num_bootstrap=20)
    assert silent.ap == silent.row("sensitivity").value == silent.row("froc_8").value == 0
    assert math.isnan(silent.row("precision").value)
    assert math.isnan(detection_metrics([], num_bootstrap=5).ap)


def test_intervals_are_by_patient_and_follow_the_seed() -> None:
    rng = np.random.default_rng(2)
    records = []
    for patient in range(60):
        for record in random_case(rng)[:2]:
            records.append(replace(record, image_id=f"i{len(records)}", patient_id=f"p{patient}"))
    first, again, other = (detection_metrics(records, 200, seed) for seed in (0, 0, 1))
    assert first.rows == again.rows != other.rows
    for row in first.rows:
        assert row.low <= row.value <= row.high, row.name
    alone = detection_metrics([replace(r, patient_id=r.image_id) for r in records], 200)
    assert alone.ap == first.ap and alone.row("ap").low != first.row("ap").low
    assert first.row("ap").num_patients == 60
