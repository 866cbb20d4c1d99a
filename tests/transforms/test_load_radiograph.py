"""Geometry: exact ways there and back; intensities: one path for every native size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from monai_dgm.errors import InputError
from monai_dgm.transforms.geometry import RadiographGeometry, prepare_radiograph
from monai_dgm.transforms.load_radiograph import LoadRadiographd

SHAPES = [(100, 100), (120, 80), (80, 120), (301, 97), (97, 301), (33, 64), (1024, 768), (2021, 1777), (40, 17)]


def smooth_image(rows: int, cols: int) -> np.ndarray:
    """A smooth image without symmetry, sampled at pixel centres of any grid."""
    y = ((np.arange(rows) + 0.5) / rows)[:, None]
    x = ((np.arange(cols) + 0.5) / cols)[None]
    return (np.sin(5 * x + 1) + np.cos(7 * y) * x + 2 * np.exp(-((x - 0.3) ** 2 + (y - 0.7) ** 2) * 20)).astype(
        np.float32
    )


@pytest.mark.parametrize("fit", ["pad", "stretch"])
@pytest.mark.parametrize("size", [32, 63, 224])
@pytest.mark.parametrize(("rows", "cols"), SHAPES)
def test_boxes_there_and_back(rows: int, cols: int, size: int, fit: str) -> None:
    geometry = RadiographGeometry(rows, cols, size, fit)
    generator = np.random.default_rng(rows * cols)
    corners = np.sort(generator.uniform(0, 1, (20, 2, 2)), axis=1) * [cols, rows]
    boxes = corners.reshape(20, 4).astype(np.float32)
    inside = geometry.boxes_to_model(boxes)
    assert inside.dtype == np.float32 and (inside >= -1e-4).all() and (inside <= size + 1e-4).all()
    assert np.allclose(geometry.boxes_to_original(inside), boxes, atol=1e-3 * max(1, max(rows, cols) / size))
    # in double precision inside, so the only error is the last bit of float32
    assert np.allclose(geometry.boxes_to_original(inside), boxes, rtol=1e-5, atol=2e-4 * max(rows, cols) / size)


@pytest.mark.parametrize(("rows", "cols"), SHAPES)
def test_the_whole_image_is_the_content(rows: int, cols: int) -> None:
    geometry = RadiographGeometry(rows, cols, 96)
    top, left = geometry.offset
    height, width = geometry.content_shape
    assert max(height, width) == 96
    assert np.allclose(geometry.boxes_to_model([[0, 0, cols, rows]]), [[left, top, left + width, top + height]])
    assert abs(2 * top + height - 96) <= 1 and abs(2 * left + width - 96) <= 1


def test_no_boxes_stay_no_boxes() -> None:
    geometry = RadiographGeometry(50, 60, 32)
    for empty in (np.zeros((0, 4), np.float32), []):
        assert geometry.boxes_to_model(empty).shape == (0, 4) and geometry.boxes_to_original(empty).shape == (0, 4)
    with pytest.raises(InputError, match=r"expected boxes of shape \(N, 4\)"):
        geometry.boxes_to_model(np.zeros((2, 3)))


@pytest.mark.parametrize("fit", ["pad", "stretch"])
@pytest.mark.parametrize(("rows", "cols"), [(150, 100), (100, 150), (99, 151)])
def test_axes_x_is_columns_and_y_is_rows(rows: int, cols: int, fit: str) -> None:
    """One bright rectangle near the top right: pixels, boxes and masks agree on where it is."""
    pixels = np.zeros((rows, cols), np.float32)
    box = [cols - 30, 10, cols - 10, 40]  # 20 wide, 30 high
    pixels[10:40, cols - 30 : cols - 10] = 1
    image, geometry = prepare_radiograph(pixels, 64, fit, None)
    xmin, ymin, xmax, ymax = geometry.boxes_to_model([box])[0]
    found_y, found_x = np.nonzero(image[0] > 0)
    assert found_x.min() == pytest.approx(xmin, abs=1) and found_x.max() + 1 == pytest.approx(xmax, abs=1)
    assert found_y.min() == pytest.approx(ymin, abs=1) and found_y.max() + 1 == pytest.approx(ymax, abs=1)
    assert found_x.mean() > 32 > found_y.mean()
    mask = geometry.mask_to_model(pixels > 0)
    assert mask.dtype == bool and (mask == (image[0] > 0)).mean() > 0.99
    back = geometry.map_to_original(image[0])
    assert back.shape == (rows, cols) and (back[12:38, cols - 28 : cols - 12] > 0.5).all()
    assert (back[60:] < -0.9).all() and (back[:, : cols - 40] < -0.9).all()


@pytest.mark.parametrize("fit", ["pad", "stretch"])
@pytest.mark.parametrize("shape", [(256, 192), (192, 256), (255, 133)])
def test_native_size_does_not_show(shape: tuple[int, int], fit: str) -> None:
    small, _ = prepare_radiograph(smooth_image(*shape), 128, fit)
    large, _ = prepare_radiograph(smooth_image(4 * shape[0], 4 * shape[1]), 128, fit)
    assert np.abs(small - large).max() < 0.02 and np.abs(small - large).mean() < 0.002


def test_reduction_is_antialiased() -> None:
    """Stripes finer than a model pixel average out instead of turning into a pattern."""
    stripes = np.zeros((1024, 1024), np.float32)
    stripes[:, ::2] = 1
    stripes[:512] += 1
    image, _ = prepare_radiograph(stripes, 128, percentiles=None)
    assert image[0, 8:56].std() < 0.01 and image[0, 72:120].std() < 0.01


@pytest.mark.parametrize(("rows", "cols"), [(300, 200), (200, 300), (151, 97)])
def test_maps_there_and_back(rows: int, cols: int) -> None:
    pixels = smooth_image(rows, cols)
    image, geometry = prepare_radiograph(pixels, 224, percentiles=None)
    back = (geometry.map_to_original(image[0]) + 1) / 2 * (geometry.high - geometry.low) + geometry.low
    assert back.shape == pixels.shape and np.abs(back - pixels)[2:-2, 2:-2].max() < 0.03


def test_the_border_is_darkest_and_does_not_bleed_back() -> None:
    image, geometry = prepare_radiograph(smooth_image(200, 100) + 5, 64)
    assert (image[0, :, :16] == -1).all() and (image[0, :, 48:] == -1).all()
    ones = np.full((64, 64), -1, np.float32)
    ones[:, 16:48] = 1
    assert (geometry.map_to_original(ones) == 1).all()


@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (100, -500), (0.01, 3), (4095, 0)])
def test_values_fill_the_range_whatever_their_scale(scale: float, shift: float) -> None:
    pixels = smooth_image(128, 128)
    reference, _ = prepare_radiograph(pixels, 64)
    image, geometry = prepare_radiograph(scale * pixels + shift, 64)
    assert image.shape == (1, 64, 64) and image.dtype == np.float32
    assert image.min() == -1 and image.max() == 1 and np.allclose(image, reference, atol=1e-3)
    unclipped = (np.abs(image[0]) < 1).mean()
    assert unclipped == pytest.approx(0.99, abs=0.005)
    low, high = prepare_radiograph(scale * pixels + shift, 64, percentiles=None)[1].low, geometry.low
    assert low <= high


def test_pixels_to_model_shares_geometry_and_range() -> None:
    pixels = smooth_image(90, 120)
    image, geometry = prepare_radiograph(pixels, 64)
    assert np.array_equal(geometry.pixels_to_model(pixels), image)
    darker = geometry.pixels_to_model(pixels - 0.2 * (geometry.high - geometry.low))
    inside = (np.abs(image) < 1) & (np.abs(darker) < 1)
    assert np.allclose((image - darker)[inside], 0.4, atol=1e-5)
    with pytest.raises(InputError, match="expected 90 x 120 pixels"):
        geometry.pixels_to_model(pixels.T)


def test_dict_round_trip_is_json() -> None:
    for spacing in (None, (0.14, 0.2)):
        geometry = RadiographGeometry(90, 120, 64, "stretch", -3.5, 7.25, spacing)
        assert RadiographGeometry.from_dict(json.loads(json.dumps(geometry.as_dict()))) == geometry


def test_unusable_pixels() -> None:
    with pytest.raises(InputError, match="no contrast"):
        prepare_radiograph(np.ones((20, 20)), 16)
    for value in (np.nan, np.inf):
        holed = smooth_image(50, 50)
        holed[7, 9] = value
        with pytest.raises(InputError, match="expected finite"):
            prepare_radiograph(holed, 16)
    with pytest.raises(InputError, match=r"expected pixels of shape \(rows, cols\)"):
        prepare_radiograph(np.zeros((20, 20, 3)), 16)
    with pytest.raises(InputError, match="fit must be one of pad, stretch"):
        prepare_radiograph(smooth_image(20, 20), 16, "crop")
    with pytest.raises(InputError, match="percentiles must be"):
        prepare_radiograph(smooth_image(20, 20), 16, percentiles=(50, 5))


def test_mostly_constant_image_keeps_its_detail() -> None:
    pixels = np.zeros((64, 64), np.float32)
    pixels[5, 5] = 1
    image, geometry = prepare_radiograph(pixels, 64)
    assert (geometry.low, geometry.high) == (0, 1) and image[0, 5, 5] == 1


def test_load_radiographd(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray((smooth_image(60, 40) * 40 + 60).astype(np.uint8)).save(path)
    loaded = LoadRadiographd(keys="image", size=32)({"image": str(path), "image_id": "a"})
    assert type(loaded["image"]) is torch.Tensor and loaded["image"].shape == (1, 32, 32)
    assert loaded["image"].dtype == torch.float32 and loaded["image_id"] == "a"
    assert (loaded["geometry"].rows, loaded["geometry"].cols) == (60, 40)
    assert loaded["prepared"].image[0].tolist() == loaded["image"][0].tolist() and loaded["source"].image_id == "a"
    sides = LoadRadiographd(keys="image", size=(32, 48), lung_mask_key="lungs")
    several = sides({"image": str(path), "lungs": str(path)})
    assert several["image"].shape == (1, 32, 32) and several["prepared"].at(48).image.shape == (1, 48, 48)
    assert several["prepared"].lung_mask.shape == (32, 32) and sides({"image": str(path)})["prepared"].lung_mask is None
    both = LoadRadiographd(keys=["image", "prior"], size=32)({"image": str(path), "prior": str(path)})
    assert {"image_geometry", "prior_geometry"} <= set(both)
    with pytest.raises(InputError, match=r"none\.png: no such file"):
        LoadRadiographd(keys="image", size=32)({"image": str(tmp_path / "none.png")})


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("aspect", [0.5, 2.0])
def test_pixels_that_are_not_square_are_made_square(orientation: int, aspect: float) -> None:
    height, width = 192, 128  # as an image of square pixels
    rows, cols = (height, int(width * aspect)) if aspect > 1 else (int(height / aspect), width)
    square, geometry = prepare_radiograph(smooth_image(height, width), 64, orientation=orientation)
    made, other = prepare_radiograph(smooth_image(rows, cols), 64, orientation=orientation, aspect=aspect)
    assert other.content_shape == geometry.content_shape
    assert np.abs(made - square).max() < 0.05
    box = np.array([[0.2, 0.1, 0.6, 0.4]])  # shares of width and height
    in_model = other.boxes_to_model(box * [cols, rows, cols, rows])
    assert np.allclose(in_model, geometry.boxes_to_model(box * [width, height, width, height]), atol=1e-3)
    assert np.allclose(other.boxes_to_original(in_model), box * [cols, rows, cols, rows], atol=1e-2)
    assert other.map_to_original(made[0]).shape == (rows, cols)
    assert RadiographGeometry.from_dict(json.loads(json.dumps(other.as_dict()))) == other
