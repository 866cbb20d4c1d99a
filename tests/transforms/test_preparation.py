"""Preparation: every side of one radiograph, what its header says, and the border that belongs to no patient."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_dgm.errors import InputError
from monai_dgm.readers.radiograph import Radiograph
from monai_dgm.transforms.geometry import RadiographGeometry, prepare_radiograph
from monai_dgm.transforms.preparation import (
    clear_border,
    describe_source,
    header_remarks,
    prepare,
    resample_planes,
    stack_images,
)


@pytest.mark.parametrize(
    ("header", "remarks"),
    [
        ((None, None, None), 0),
        (("DX", "CHEST", "PA"), 0),
        (("CR", "PORTABLE CHEST", "AP"), 0),
        (("CT", "CHEST", None), 1),
        (("CR", "HIP", "LL"), 2),
    ],
)
def test_headers_that_speak_against_a_frontal_chest_radiograph(
    header: tuple[str | None, str | None, str | None], remarks: int
) -> None:
    radiograph = Radiograph(np.zeros((8, 8), dtype=np.float32), None, "dicom", *header, bits=12)
    assert len(header_remarks(radiograph)) == remarks


def gradient(rows: int, cols: int, **values: object) -> Radiograph:
    """A radiograph whose values follow row and column."""
    pixels = (np.arange(rows)[:, None] * 10.0 + np.arange(cols)).astype(np.float32) + 100.0
    return Radiograph(pixels, (0.5, 0.25), "png", None, None, None, 16, **values)  # type: ignore[arg-type]


def test_every_side_is_prepared_from_the_original() -> None:
    radiograph, mask = gradient(90, 80), np.zeros((90, 80), dtype=bool)
    mask[20:60, 10:40] = True
    prepared = prepare(radiograph, (32, 64, 32), lung_mask=mask)
    assert prepared.image.shape == (1, 32, 32) and set(prepared.other_sides) == {64}
    for side in (32, 64):
        image, geometry = prepare_radiograph(radiograph.pixels, side, pixel_spacing=(0.5, 0.25))
        np.testing.assert_array_equal(prepared.at(side).image, image)
        assert prepared.at(side).geometry == geometry
    assert prepared.lung_mask is not None and prepared.lung_mask.shape == (32, 32) and prepared.lung_mask.any()
    with pytest.raises(InputError, match="expected a radiograph prepared at 128 pixels, it was prepared at 32, 64"):
        prepared.at(128)
    assert stack_images([prepared, prepared]).shape == (2, 1, 32, 32)


def test_a_mask_of_another_size() -> None:
    with pytest.raises(InputError, match=r"lung mask: expected the radiograph's 90 x 80 pixels, got .*\(80, 90\)"):
        prepare(gradient(90, 80), 64, lung_mask=np.ones((80, 90)))


def test_the_border_is_cleared_and_the_radiograph_kept() -> None:
    geometries = [RadiographGeometry(40, 20, 64), RadiographGeometry(20, 40, 64), RadiographGeometry(9, 9, 64)]
    cleared = clear_border(torch.ones(3, 2, 32, 32), geometries, -1.0)
    assert (
        (cleared[0, :, :, 8:24] == 1).all()
        and (cleared[0, :, :, :8] == -1).all()
        and (cleared[0, 0, :, 24:] == -1).all()
    )
    assert (cleared[1, :, 8:24] == 1).all() and (cleared[1, :, :8] == -1).all() and (cleared[1, :, 24:] == -1).all()
    assert (cleared[2] == 1).all()


def test_planes_keep_their_edges_when_they_are_resampled() -> None:
    planes = torch.zeros(1, 1, 32, 32)
    planes[..., 16:] = 1
    assert resample_planes(planes, 32) is planes
    for size in (16, 64):
        assert (resample_planes(planes, size)[..., size // 2 + size // 16 :] == 1).all()
        assert (resample_planes(planes, size)[..., : size // 2 - size // 16] == 0).all()


def test_a_source_has_what_the_outputs_need_of_the_file() -> None:
    radiograph = gradient(90, 60, affine=np.diag([-0.25, -0.5, 1.0, 1.0]))
    prepared = prepare(radiograph, 32)
    source = describe_source(radiograph, prepared.geometry, "one", [[1, 2, 3, 4]])
    assert (source.image_id, source.format, source.bits) == ("one", "png", 16)
    assert source.display.shape == (512, 341) and source.display.dtype == np.uint8
    np.testing.assert_allclose(source.placement.affine, np.diag([0.25, 0.5, 1.0, 1.0]))
    np.testing.assert_array_equal(source.opacity_boxes, [[1, 2, 3, 4]])
    assert describe_source(radiograph, prepared.geometry).opacity_boxes.shape == (0, 4)
