from __future__ import annotations

import nibabel
import numpy as np
import pytest

from monai_dgm.errors import InputError
from monai_dgm.transforms.placement import Placement


def test_first_pixel_centre_lies_at_the_origin_and_edges_half_a_pixel_before() -> None:
    placement = Placement.from_spacing(30, 20, (0.5, 2.0))  # 0.5 mm between rows, 2 mm between columns
    np.testing.assert_allclose(placement.to_world([[0.5, 0.5]]), [[0, 0, 0]])
    np.testing.assert_allclose(placement.to_world([[0, 0], [20, 30]]), [[-1, -0.25, 0], [39, 14.75, 0]])
    assert placement.spacing == (2.0, 0.5, 1.0)


def test_dicom_plane_follows_its_cosines() -> None:
    # a standing patient from the front: columns to the patient's left, rows to the feet
    placement = Placement.from_plane(30, 20, (-100, 0, 200), (1, 0, 0, 0, 0, -1), (0.5, 2.0))
    np.testing.assert_allclose(placement.to_world([[1.5, 0.5], [0.5, 1.5]]), [[-98, 0, 200], [-100, 0, 199.5]])


def test_nifti_affine_is_turned_from_ras_to_lps() -> None:
    affine = np.array([[-0.2, 0, 0, 40], [0, 0, 1, 5], [0, -0.3, 0, 60], [0, 0, 0, 1.0]])
    placement = Placement.from_ras_affine(30, 20, affine)
    ras = nibabel.affines.apply_affine(affine, [[3, 7, 0]])
    np.testing.assert_allclose(placement.to_world([[3.5, 7.5]]), ras * [-1, -1, 1])


def test_pixels_come_back_from_anywhere_along_the_slice_axis() -> None:
    placement = Placement.from_plane(30, 20, (-100, 3, 200), (0.6, 0.8, 0, 0, 0, -1), (0.5, 2.0))
    points = np.array([[0, 0], [20, 30], [3.25, 8.5]])
    world = placement.to_world(points)
    np.testing.assert_allclose(placement.to_pixels(world), points, atol=1e-9)
    np.testing.assert_allclose(placement.to_pixels(world + 7 * placement.affine[:3, 2]), points, atol=1e-9)


@pytest.mark.parametrize("affine", [np.zeros((4, 4)), np.eye(3), np.full((4, 4), np.nan), np.diag([1.0, 0, 1, 1])])
def test_an_affine_that_places_nothing_is_refused(affine: np.ndarray) -> None:
    with pytest.raises(InputError, match="affine"):
        Placement.from_ras_affine(30, 20, affine)


def test_sizes_and_vectors_that_are_none_are_refused() -> None:
    with pytest.raises(InputError, match="pixels a side"):
        Placement.from_spacing(0, 20)
    with pytest.raises(InputError, match="position"):
        Placement.from_plane(30, 20, (0, 0), (1, 0, 0, 0, 1, 0), (1, 1))
