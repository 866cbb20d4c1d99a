"""Turns of an image: against Pillow's reading of EXIF, and there and back through the geometry."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from monai_dgm.errors import InputError
from monai_dgm.transforms.geometry import RadiographGeometry, prepare_radiograph
from monai_dgm.utils.orientation import boxes_to_stored, boxes_to_upright, to_stored, to_upright

STORED = np.arange(24 * 40, dtype=np.uint16).reshape(24, 40)
ALL = range(1, 9)


@pytest.mark.parametrize("number", ALL)
def test_turns_are_those_of_exif(number: int) -> None:
    picture = Image.fromarray(STORED)
    picture.getexif()[0x0112] = number
    upright = to_upright(STORED, number)
    assert np.array_equal(upright, np.asarray(ImageOps.exif_transpose(picture)))
    assert np.array_equal(to_stored(upright, number), STORED)


@pytest.mark.parametrize("number", ALL)
def test_boxes_turn_with_the_pixels(number: int) -> None:
    box = np.array([[3.0, 5.0, 11.0, 20.0]])
    mask = np.zeros((24, 40), dtype=bool)
    mask[5:20, 3:11] = True
    turned = boxes_to_upright(box, number, 24, 40)
    xmin, ymin, xmax, ymax = turned[0].astype(int)
    inside = to_upright(mask, number)[ymin:ymax, xmin:xmax]
    assert inside.all() and inside.sum() == mask.sum()
    assert np.array_equal(boxes_to_stored(turned, number, 24, 40), box)


@pytest.mark.parametrize("number", ALL)
@pytest.mark.parametrize("fit", ["pad", "stretch"])
def test_a_geometry_turns_upright_and_back(number: int, fit: str) -> None:
    """What the network sees does not depend on how the file stores it; what comes back lies on the file's pixels."""
    upright = np.random.default_rng(0).normal(size=(48, 80)).astype(np.float32)
    stored = np.ascontiguousarray(to_stored(upright, number))
    spacing = (0.2, 0.3) if stored.shape == upright.shape else (0.3, 0.2)
    seen, geometry = prepare_radiograph(stored, 64, fit, pixel_spacing=spacing, orientation=number)
    plain, reference = prepare_radiograph(upright, 64, fit, pixel_spacing=(0.2, 0.3))
    assert np.array_equal(seen, plain) and geometry.upright_spacing == reference.upright_spacing
    assert geometry.upright_shape == (48, 80) and (geometry.rows, geometry.cols) == stored.shape
    back = geometry.map_to_original(seen[0])
    assert np.array_equal(back, to_stored(reference.map_to_original(plain[0]), number))
    box = np.array([[8, 4, 30, 40]], dtype=np.float32)
    on_stored = boxes_to_stored(box.astype(float), number, *stored.shape)
    assert np.allclose(geometry.boxes_to_model(on_stored), reference.boxes_to_model(box), atol=1e-4)
    assert np.allclose(geometry.boxes_to_original(reference.boxes_to_model(box)), on_stored, atol=1e-4)
    mask = stored > 0
    assert np.array_equal(geometry.mask_to_model(mask), reference.mask_to_model(upright > 0))
    assert RadiographGeometry.from_dict(geometry.as_dict()) == geometry


def test_other_numbers_are_refused() -> None:
    for number in (0, 9, -1):
        with pytest.raises(InputError, match="orientation must be 1 to 8"):
            RadiographGeometry(10, 10, 10, orientation=number)
