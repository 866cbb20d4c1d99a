import numpy as np
import pytest
from monai.apps.detection.transforms.box_ops import convert_box_to_mask

from monai_dgm.errors import InputError
from monai_dgm.transforms.boxes import (
    box_of_mask,
    boxes_from_monai,
    boxes_to_monai,
    check_boxes,
    rasterise_boxes,
    xywh_to_xyxy,
    xyxy_to_xywh,
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


def test_empty_boxes_have_shape_0_4() -> None:
    assert check_boxes([]).shape == (0, 4)
    assert boxes_to_monai([]).shape == xywh_to_xyxy([]).shape == xyxy_to_xywh([]).shape == (0, 4)


def test_width_and_height_round_trip() -> None:
    np.testing.assert_array_equal(xyxy_to_xywh(BOXES)[0], [2, 1, 7, 3])
    np.testing.assert_array_equal(xywh_to_xyxy(xyxy_to_xywh(BOXES)), BOXES)


def test_monai_marks_the_same_pixels_of_a_rows_first_array() -> None:
    theirs = convert_box_to_mask(boxes_to_monai(BOXES), np.array([1, 1]), SHAPE, bg_label=0)
    for box, mask in zip(BOXES, theirs, strict=True):
        np.testing.assert_array_equal(mask.astype(bool), rasterise_boxes(box[None], SHAPE))
    np.testing.assert_array_equal(boxes_to_monai(BOXES)[0], [1, 2, 4, 9])
    np.testing.assert_array_equal(boxes_from_monai(boxes_to_monai(BOXES)), BOXES)
