import numpy as np
import pytest
from monai.data.box_utils import box_iou as monai_box_iou

from monai_dgm.errors import InputError
from monai_dgm.transforms.boxes import (
    SAME_BOX_PIXELS,
    BoxChanges,
    box_iou,
    box_of_mask,
    check_boxes,
    compare_boxes,
    pair_boxes,
    rasterise_boxes,
    same_boxes,
)

BOXES = np.array([[2, 1, 9, 4], [0, 6, 3, 8]], dtype=np.float32)  # wide, and tall: x and y cannot be confused
SHAPE = (8, 12)


def test_rasterised_box_covers_its_columns_along_x_and_rows_along_y() -> None:
    mask = rasterise_boxes(BOXES[:1], SHAPE)
    expected = np.zeros(SHAPE, dtype=bool)
    expected[1:4, 2:9] = True
    np.testing.assert_array_equal(mask, expected)


def test_whole_image_box_covers_every_pixel_and_no_box_none() -> None:
    assert rasterise_boxes([[0, 0, 12, 8]], SHAPE).all()
    assert not rasterise_boxes(np.zeros((0, 4)), SHAPE).any()
    assert not rasterise_boxes([[13, 1, 15, 3]], SHAPE).any()


def test_area_of_touching_boxes_is_counted_once() -> None:
    left, right = [0, 0, 5.5, 8], [5.5, 0, 12, 8]
    together = rasterise_boxes([left], SHAPE).astype(int) + rasterise_boxes([right], SHAPE)
    assert (together == 1).all()


def test_box_thinner_than_a_pixel_keeps_one() -> None:
    assert rasterise_boxes([[3.6, 2.6, 3.8, 2.8]], SHAPE).sum() == 1
    assert rasterise_boxes([[3.6, 2.6, 3.8, 2.8]], SHAPE)[2, 3]


def test_box_of_mask_is_the_inverse_of_rasterising_whole_pixels() -> None:
    for box in BOXES:
        np.testing.assert_array_equal(box_of_mask(rasterise_boxes(box[None], SHAPE)), box)
    assert box_of_mask(np.zeros(SHAPE)) is None


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[1, 2, 3]], "shape"),
        ([[5, 1, 5, 4]], "no area"),
        ([[5, 4, 6, 1]], "no area"),
        ([[0, 0, np.nan, 1]], "not finite"),
        ([[0, 0, 13, 1]], "outside the image of 12 x 8"),
        ([[-1, 0, 3, 1]], "outside"),
    ],
)
def test_bad_boxes_are_named(boxes: list[list[float]], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        check_boxes(boxes, SHAPE, name="row 7")
    assert "row 7" in str(error.value) and "\n" not in str(error.value)


def test_no_box_is_of_shape_0_4() -> None:
    assert check_boxes([]).shape == (0, 4)


EMPTY = np.zeros((0, 4))


def random_boxes(count: int, seed: int, least: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 50, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(least, 50, (count, 2))], axis=1)


def test_iou_is_monais_in_more_digits() -> None:
    ours = box_iou(random_boxes(40, 0), random_boxes(30, 1))
    np.testing.assert_allclose(ours, monai_box_iou(random_boxes(40, 0), random_boxes(30, 1)), atol=1e-6)
    assert box_iou(EMPTY, BOXES).shape == (0, 2) and box_iou(BOXES, EMPTY).shape == (2, 0)
    assert box_iou([[5, 5, 5, 5]], [[5, 5, 5, 5]]) == 0


def test_pairs_have_the_largest_sum() -> None:
    assert pair_boxes([[0.9, 0.8], [0.7, 0.1]]) == [(0, 1), (1, 0)]  # 1.5 rather than 1.0
    assert pair_boxes([[0.9, 0.8], [0.7, 0.1]], least=0.75) == [(0, 1)]
    assert pair_boxes(np.zeros((0, 3))) == pair_boxes([[0.0]]) == []


def test_a_box_is_the_same_within_the_tolerance_at_every_edge() -> None:
    box = np.array([10.0, 10, 50, 40])
    for edge in range(4):
        for sign in (-1, 1):
            near, far = box.copy(), box.copy()
            near[edge] += sign * 0.99 * SAME_BOX_PIXELS
            far[edge] += sign * SAME_BOX_PIXELS
            assert same_boxes([near, far], box).ravel().tolist() == [True, False]
    assert same_boxes(EMPTY, BOXES).shape == (0, 2)


def test_boxes_are_kept_moved_added_and_deleted() -> None:
    model = [[0, 0, 100, 100], [200, 200, 300, 300], [500, 500, 600, 600]]
    reader = [[205, 210, 310, 300], [0.5, 0, 100, 99.5], [700, 700, 800, 800]]
    assert compare_boxes(reader, model) == BoxChanges(kept=((1, 0),), moved=((0, 1),), added=(2,), deleted=(2,))
    assert compare_boxes([[0, 0, 100, 30]], model[:1]).moved == ((0, 0),)  # shrunk to a third
    assert compare_boxes([[0, 0, 100, 9]], model[:1]).added == (0,)


def test_a_kept_box_is_never_given_away_for_a_larger_overlap() -> None:
    model, reader = [[0, 0, 3, 3], [0, 0, 4, 4]], [[0, 0, 3.9, 3.9]]  # the same as both: the nearer one was kept
    assert compare_boxes(reader, model) == BoxChanges(kept=((0, 1),), moved=(), added=(), deleted=(0,))
    both = compare_boxes([[0, 0, 3.9, 3.9], [0, 0, 4, 4]], model)
    assert both.kept == ((0, 0), (1, 1)) and not both.moved


@pytest.mark.parametrize("seed", range(20))
def test_every_box_has_one_fate(seed: int) -> None:
    ours, model = random_boxes(seed % 6, seed), random_boxes(seed % 5, seed + 100)
    ours[: len(model) // 2] = model[: len(ours)][: len(model) // 2] + 0.5
    changes = compare_boxes(ours, model)
    paired = [*changes.kept, *changes.moved]
    assert sorted([*changes.added, *(i for i, _ in paired)]) == list(range(len(ours)))
    assert sorted([*changes.deleted, *(j for _, j in paired)]) == list(range(len(model)))


def test_nothing_on_either_side() -> None:
    assert compare_boxes(EMPTY, BOXES).deleted == compare_boxes(BOXES, []).added == (0, 1)
    assert compare_boxes([], []) == BoxChanges((), (), (), ())
