from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monai_dgm.labelling.training.promotion import compare, decide, detect_in, metrics_of
from monai_dgm.labelling.training.validation_set import MIN_IMAGES, MIN_IMAGES_WITH_BOXES
from monai_dgm.metrics.detection import DetectionResult
from tests.labelling.trainable import readable, write_detector

ENOUGH = (MIN_IMAGES, MIN_IMAGES_WITH_BOXES)


@pytest.mark.parametrize(
    ("before", "after", "promoted"),
    [
        ((0.30, 0.5), (0.31, 0.1), True),  # the mean AP goes first
        ((0.30, 0.1), (0.29, 0.9), False),
        ((0.30, 0.5), (0.30, 0.6), True),  # then AP at IoU 0.40
        ((0.30, 0.5), (0.30, 0.4), False),
        ((0.30, 0.5), (0.30, 0.5), True),  # equal is not lost
        ((0.0, 0.0), (0.0, 0.0), True),
        ((None, None), (0.3, 0.3), False),
        ((0.3, 0.3), (None, None), False),
    ],
)
def test_the_new_model_must_not_lose(
    before: tuple[float | None, float | None], after: tuple[float | None, float | None], promoted: bool
) -> None:
    names = ("ap", "ap40")
    decision = decide(dict(zip(names, before, strict=True)), dict(zip(names, after, strict=True)), *ENOUGH)
    assert decision.promoted is promoted and decision.reason


@pytest.mark.parametrize(("images", "with_boxes"), [(8, 8), (MIN_IMAGES - 1, 40), (400, MIN_IMAGES_WITH_BOXES - 1)])
def test_few_images_decide_only_where_the_user_insists(images: int, with_boxes: int) -> None:
    worse: dict[str, float | None] = {"ap": 0.30, "ap40": 0.5}
    better: dict[str, float | None] = {"ap": 0.31, "ap40": 0.5}
    refused = decide(worse, better, images, with_boxes)
    assert not refused.promoted and f"on {images} validation images, {with_boxes} with boxes" in refused.reason
    assert "promote_on_few" in refused.reason and str(MIN_IMAGES) in refused.reason
    assert decide(worse, better, images, with_boxes, few_are_enough=True).promoted
    assert not decide(better, worse, images, with_boxes, few_are_enough=True).promoted  # a loss stays one
    assert decide(worse, better, *ENOUGH).promoted


def records(shift: float) -> list[DetectionResult]:
    truth = np.array([[10, 10, 30, 30]], dtype=np.float32)
    found = truth + np.float32(shift)
    return [DetectionResult(str(i), str(i), found, np.array([0.5 + 0.01 * i]), truth) for i in range(6)]


def test_figures_and_their_difference_agree() -> None:
    exact, moved = records(0), records(3)
    assert metrics_of(exact)["ap"] == 1
    ap = metrics_of(moved)["ap"]
    assert ap is not None and 0 < ap < 1 and decide(metrics_of(moved), metrics_of(exact), *ENOUGH).promoted
    difference = compare(exact, moved, 50)
    assert difference["difference"] == pytest.approx(1 - ap, abs=1e-6)
    assert difference["low"] is not None and difference["high"] is not None
    assert 0 < difference["low"] <= 1 - ap + 1e-6 <= difference["high"] + 2e-6


def test_without_boxes_there_is_nothing_to_decide_by() -> None:
    empty = np.zeros((0, 4), np.float32)
    bare = [DetectionResult("a", "a", empty, np.zeros(0), empty)]
    assert metrics_of(bare)["ap"] is None and not decide(metrics_of(bare), metrics_of(bare), *ENOUGH).promoted


def test_detections_come_in_the_order_of_the_images(tmp_path: Path, sample_dir: Path) -> None:
    items = readable(sample_dir)[:5]
    found = detect_in(items, write_detector(tmp_path / "model.pt"), tmp_path / "cache", batch_size=2)
    assert [record.image_id for record in found] == [item["image_id"] for item in items]
    assert [len(record.truth) for record in found] == [len(item["opacity_boxes"]) for item in items]
