from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_dgm.labelling.server.study_placement import plane_nifti, radiograph_placement
from monai_dgm.readers.read import read_radiograph
from monai_dgm.transforms.placement import Placement


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
    image = written(tmp_path, radiograph.pixels, radiograph_placement(tmp_path / "r.nii.gz", radiograph))
    place = np.argwhere(np.asarray(image.dataobj) == 100)[0]
    np.testing.assert_allclose(image.affine @ [*place, 1], affine @ [12, 7, 0, 1], atol=1e-5)


def test_a_picture_is_placed_as_viewers_place_it(folder: Path, tmp_path: Path) -> None:
    radiograph = read_radiograph(folder / "a.png")
    placement = radiograph_placement(folder / "a.png", radiograph)
    np.testing.assert_array_equal(placement.affine, np.eye(4))
    image = written(tmp_path, radiograph.pixels, placement)
    assert image.shape == (120, 90, 1)
    np.testing.assert_array_equal(image.affine, np.diag([-1, -1, 1, 1]))


def test_a_dicom_file_with_a_plane_is_placed_by_it(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset = FileDataset(str(tmp_path / "x.dcm"), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 20, 30, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelSpacing = [0.5, 0.25]
    dataset.ImagePositionPatient = [10, -20, 30]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    dataset.PixelData = np.arange(600, dtype="<u2").tobytes()
    dataset.is_little_endian, dataset.is_implicit_VR = True, False
    pydicom.dcmwrite(tmp_path / "x.dcm", dataset)
    placement = radiograph_placement(tmp_path / "x.dcm", read_radiograph(tmp_path / "x.dcm"))
    np.testing.assert_allclose(placement.to_world([[0.5, 0.5], [4.5, 2.5]]), [[10, -20, 30], [11, -20, 29]])
    dataset.ImageOrientationPatient = [0] * 6
    pydicom.dcmwrite(tmp_path / "x.dcm", dataset)
    placement = radiograph_placement(tmp_path / "x.dcm", read_radiograph(tmp_path / "x.dcm"))
    np.testing.assert_array_equal(np.diag(placement.affine), [0.25, 0.5, 1, 1])


@pytest.mark.slow
def test_real_dicom_is_placed_as_itk_places_it(real_data: Path, tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    for path in sorted((real_data / "dicom").rglob("*.dcm")):
        try:
            radiograph = read_radiograph(path)
        except ValueError:
            continue
        theirs = sitk.ReadImage(str(path))
        (tmp_path / "x.nii.gz").write_bytes(plane_nifti(radiograph.pixels, radiograph_placement(path, radiograph)))
        ours = sitk.ReadImage(str(tmp_path / "x.nii.gz"))
        assert ours.GetSize() == theirs.GetSize()
        np.testing.assert_allclose(ours.GetSpacing()[:2], theirs.GetSpacing()[:2], rtol=1e-6)
        np.testing.assert_allclose(ours.GetOrigin(), theirs.GetOrigin(), atol=1e-4)
        np.testing.assert_allclose(ours.GetDirection(), theirs.GetDirection(), atol=1e-6)
