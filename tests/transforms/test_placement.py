from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_dgm.errors import InputError
from monai_dgm.readers.radiograph import Radiograph
from monai_dgm.readers.read import read_radiograph
from monai_dgm.transforms.placement import Placement, plane_nifti


def test_first_pixel_centre_lies_at_the_origin_and_edges_half_a_pixel_before() -> None:
    placement = Placement.from_spacing(30, 20, (0.5, 2.0))  # 0.5 mm between rows, 2 mm between columns
    np.testing.assert_allclose(placement.to_world([[0.5, 0.5]]), [[0, 0, 0]])
    np.testing.assert_allclose(placement.to_world([[0, 0], [20, 30]]), [[-1, -0.25, 0], [39, 14.75, 0]])
    assert placement.spacing == (2.0, 0.5, 1.0)


def test_nifti_affine_is_turned_from_ras_to_lps() -> None:
    affine = np.array([[-0.2, 0, 0, 40], [0, 0, 1, 5], [0, -0.3, 0, 60], [0, 0, 0, 1.0]])
    placement = Placement.from_ras_affine(30, 20, affine)
    ras = nibabel.affines.apply_affine(affine, [[3, 7, 0]])
    np.testing.assert_allclose(placement.to_world([[3.5, 7.5]]), ras * [-1, -1, 1])


def test_pixels_come_back_from_anywhere_along_the_slice_axis() -> None:
    affine = np.array([[1.2, 0, -0.8, -100], [1.6, 0, 0.6, 3], [0, -0.5, 0, 200], [0, 0, 0, 1]])
    placement = Placement(30, 20, affine)
    points = np.array([[0, 0], [20, 30], [3.25, 8.5]])
    world = placement.to_world(points)
    np.testing.assert_allclose(placement.to_pixels(world), points, atol=1e-9)
    np.testing.assert_allclose(placement.to_pixels(world + 7 * placement.affine[:3, 2]), points, atol=1e-9)


@pytest.mark.parametrize("affine", [np.zeros((4, 4)), np.eye(3), np.full((4, 4), np.nan), np.diag([1.0, 0, 1, 1])])
def test_an_affine_that_places_nothing_is_refused(affine: np.ndarray) -> None:
    with pytest.raises(InputError, match="affine"):
        Placement.from_ras_affine(30, 20, affine)


def test_sizes_that_are_none_are_refused() -> None:
    with pytest.raises(InputError, match="pixels a side"):
        Placement.from_spacing(0, 20)


def written(tmp_path: Path, plane: np.ndarray, placement: Placement) -> nibabel.Nifti1Image:
    path = tmp_path / "x.nii.gz"
    path.write_bytes(plane_nifti(plane, placement))
    return nibabel.load(path)


@pytest.mark.parametrize(
    "affine", [np.diag([-0.2, -0.3, 1, 1]), np.array([[0, 0.3, 0, 5], [-0.2, 0, 0, 9], [0, 0, 1, 0], [0, 0, 0, 1]])]
)
def test_a_map_of_a_nifti_radiograph_lies_on_it(tmp_path: Path, affine: np.ndarray) -> None:
    """A bright pixel of the file and the same pixel in a map of it are at the same place in the patient."""
    values = np.zeros((40, 30), dtype=np.float32)
    values[12, 7] = 100
    nibabel.save(nibabel.Nifti1Image(values[:, :, None], affine), tmp_path / "r.nii.gz")
    radiograph = read_radiograph(tmp_path / "r.nii.gz")
    image = written(tmp_path, radiograph.pixels, Placement.of(radiograph))
    index = np.argwhere(np.asarray(image.dataobj) == 100)[0]
    np.testing.assert_allclose(image.affine @ [*index, 1], affine @ [12, 7, 0, 1], atol=1e-5)


@pytest.mark.parametrize(("spacing", "unit"), [(None, "unknown"), ((0.5, 0.25), "mm")])
def test_a_picture_is_placed_as_viewers_place_it(
    tmp_path: Path, spacing: tuple[float, float] | None, unit: str
) -> None:
    radiograph = Radiograph(np.eye(90, 120, dtype=np.float32), spacing, "png", None, None, None, 8)
    placement = Placement.of(radiograph)
    row, col = spacing or (1.0, 1.0)
    np.testing.assert_array_equal(placement.affine, np.diag([col, row, 1, 1]))
    image = written(tmp_path, radiograph.pixels, placement)
    assert image.shape == (120, 90, 1) and image.header.get_xyzt_units()[0] == unit
    np.testing.assert_array_equal(image.affine, np.diag([-col, -row, 1, 1]))


def test_a_flat_plane_has_two_axes_and_the_same_bytes_in_every_run() -> None:
    placement = Placement.from_spacing(30, 20)
    content = plane_nifti(np.arange(600, dtype=np.int16).reshape(30, 20), placement, "a test", flat=True)
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(content))
    assert image.shape == (20, 30) and bytes(image.header["descrip"]).rstrip(b"\0") == b"a test"
    assert content == plane_nifti(np.arange(600, dtype=np.int16).reshape(30, 20), placement, "a test", flat=True)


@pytest.mark.slow
def test_real_dicom_is_placed_as_itk_places_it(real_data: Path, tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    for path in sorted((real_data / "dicom").rglob("*.dcm")):
        try:
            radiograph = read_radiograph(path)
        except ValueError:
            continue
        theirs = sitk.ReadImage(str(path))
        (tmp_path / "x.nii.gz").write_bytes(plane_nifti(radiograph.pixels, Placement.of(radiograph)))
        ours = sitk.ReadImage(str(tmp_path / "x.nii.gz"))
        assert ours.GetSize() == theirs.GetSize()
        np.testing.assert_allclose(ours.GetSpacing()[:2], theirs.GetSpacing()[:2], rtol=1e-6)
        np.testing.assert_allclose(ours.GetOrigin(), theirs.GetOrigin(), atol=1e-4)
        np.testing.assert_allclose(ours.GetDirection(), theirs.GetDirection(), atol=1e-6)
