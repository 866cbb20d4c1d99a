import numpy as np
import pytest

from monai_dgm.errors import InputError
from monai_dgm.metrics.detection_matching import DetectionResult, match_boxes, match_detections

TRUTH = np.array([[0, 0, 10, 10], [20, 20, 30, 30]], dtype=np.float32)
EMPTY = np.zeros((0, 4), dtype=np.float32)


def boxes(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 50, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(1, 50, (count, 2))], axis=1)


def test_a_true_box_is_found_once_by_the_best_detection() -> None:
    hits = match_boxes(np.concatenate([TRUTH[:1] + 1, TRUTH]), TRUTH, [0.5, 0.99])
    np.testing.assert_array_equal(hits, [[True, False, True], [False, True, True]])


def test_a_detection_takes_the_free_box_that_it_overlaps_most() -> None:
    close = np.array([[0, 0, 10, 10], [1, 0, 11, 10]], dtype=np.float32)
    np.testing.assert_array_equal(match_boxes(close[::-1], close, [0.5]), [[True, True]])
    between = np.array([[0.4, 0, 10.4, 10], [0.5, 0, 10.5, 10]])  # the second finds its best box taken
    np.testing.assert_array_equal(match_boxes(between, close, [0.5]), [[True, True]])


def test_without_true_boxes_there_are_no_hits() -> None:
    assert not match_boxes(TRUTH, EMPTY, [0.5, 0.7]).any() and match_boxes(EMPTY, TRUTH, [0.5]).shape == (1, 0)


def test_an_overlap_equal_to_the_threshold_is_enough() -> None:
    truth = np.array([[0, 0, 10, 10]])
    half = np.array([[0, 0, 10, 20]])
    np.testing.assert_array_equal(match_boxes(half, truth, [0.5, 0.55]), [[True], [False]])
    np.testing.assert_array_equal(match_boxes(truth, truth, [1.0]), [[True]])


def test_detections_are_in_the_order_of_scores_then_of_images() -> None:
    first = DetectionResult("a", "p", TRUTH, np.array([0.2, 0.7]), TRUTH[:1])
    second = DetectionResult("b", "q", TRUTH, np.array([0.7, 0.9]), EMPTY)
    matched = match_detections([first, second], [0.5])
    np.testing.assert_array_equal(matched.scores, [0.9, 0.7, 0.7, 0.2])
    np.testing.assert_array_equal(matched.image, [1, 0, 1, 0])
    np.testing.assert_array_equal(matched.hits, [[False, False, False, True]])
    np.testing.assert_array_equal(matched.num_truth, [1, 0])
    np.testing.assert_array_equal(matched.last_of_equals(), [0, 2, 2, 3])
    assert matched.patients == ("p", "q")
    with pytest.raises(ValueError, match="expected one of"):
        matched.row_of(0.4)


def test_counts_are_weighted_cumulative_sums() -> None:
    rng = np.random.default_rng(0)
    records = [DetectionResult(str(i), str(i), boxes(7, i), rng.random(7), boxes(2, i)) for i in range(9)]
    matched, weights = match_detections(records), rng.integers(0, 3, (4, 9)).astype(np.float32)
    counted, stops = rng.random(63) < 0.6, np.array([0, 3, 4, 40, 62])
    expected = (weights[:, matched.image] * counted).cumsum(axis=1)[:, stops]
    np.testing.assert_array_equal(matched.counts_up_to(stops, counted, weights), expected)
    assert matched.counts_up_to(stops[:0], counted, weights).shape == (4, 0)


@pytest.mark.parametrize(
    ("found", "scores", "truth", "words"),
    [
        (TRUTH, [0.5, np.nan], TRUTH, "image7: expected finite scores, got 1 of 2"),
        (TRUTH, [0.5, np.inf], TRUTH, "finite scores"),
        (TRUTH, [0.5], TRUTH, "shapes"),
        (TRUTH[:, :2], [0.5, 0.5], TRUTH, "shapes"),
        (TRUTH * np.nan, [0.5, 0.5], TRUTH, "finite boxes"),
        (TRUTH[:, ::-1], [0.5, 0.5], TRUTH, "xmin <= xmax"),
        (TRUTH, [0.5, 0.5], TRUTH[:, ::-1], "image7: truth"),
    ],
)
def test_what_cannot_be_counted_is_refused_by_name(found: object, scores: list, truth: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        DetectionResult("image7", "p", np.asarray(found), np.asarray(scores), np.asarray(truth))


def test_a_detection_without_area_is_a_false_positive() -> None:
    record = DetectionResult("i", "p", np.array([[3, 3, 3, 8]]), np.array([0.5]), TRUTH)
    assert not match_detections([record]).hits.any()
