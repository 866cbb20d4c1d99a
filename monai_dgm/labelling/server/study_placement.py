"""Where a radiograph lies in the patient, whatever file it came from, and planes of it as NIfTI that lie there, too."""

from __future__ import annotations

import gzip
import io
import os

import nibabel
import numpy as np
from numpy.typing import NDArray

from monai_dgm.engines.decomposition.nifti_affine import nifti_affine
from monai_dgm.errors import InputError
from monai_dgm.readers.dicom.read import read_header
from monai_dgm.readers.radiograph import Radiograph
from monai_dgm.transforms.placement import Placement

__all__ = ["plane_nifti", "radiograph_placement"]

COMPRESSION = 1
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_PLANE = ("ImagePositionPatient", "ImageOrientationPatient")


def radiograph_placement(path: str | os.PathLike[str], radiograph: Radiograph) -> Placement:
    """The plane of a radiograph: of a NIfTI file by its affine, of DICOM by its Image Plane module where it has one
    (PS3.3 C.7.6.2), and of all others by the pixel size, as ITK and 3D Slicer place it.

    Args:
        path: the file.
        radiograph: what was read from it.

    Raises:
        InputError: an affine that is none.
    """
    rows, cols = radiograph.pixels.shape
    if radiograph.format == "nifti":
        return Placement.from_ras_affine(rows, cols, nifti_affine(path))
    if radiograph.format == "dicom" and radiograph.pixel_spacing is not None:
        plane = _image_plane(path)
        if plane is not None:
            try:
                return Placement.from_plane(rows, cols, *plane, radiograph.pixel_spacing)
            except InputError:  # directions of length 0: as if there were none
                pass
    return Placement.from_spacing(rows, cols, radiograph.pixel_spacing)


def _image_plane(path: str | os.PathLike[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    try:
        dataset = read_header(path)
        position, orientation = (np.array([float(v) for v in dataset.get(name) or ()]) for name in _PLANE)
    except Exception:  # an element that is damaged places nothing
        return None
    return (position, orientation) if position.shape == (3,) and orientation.shape == (6,) else None


def plane_nifti(plane: NDArray[np.generic], placement: Placement) -> bytes:
    """A plane of a radiograph as gzipped NIfTI-1 of one slice, array shape (cols, rows, 1), where the radiograph lies.

    Args:
        plane: (rows, cols), of a dtype that NIfTI knows.
        placement: of the radiograph.
    """
    array = np.ascontiguousarray(plane.T)[:, :, None]
    image = nibabel.Nifti1Image(array, _LPS_TO_RAS @ placement.affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"Research, not for diagnosis."
    buffer = io.BytesIO()
    with gzip.GzipFile("", "wb", COMPRESSION, buffer, mtime=0) as stream:  # the same bytes every time
        stream.write(image.to_bytes())
    return buffer.getvalue()
