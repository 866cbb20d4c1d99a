"""Where a radiograph's pixels lie in the patient, and NIfTI files of planes that lie there, too."""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monai_dgm.errors import InputError
from monai_dgm.readers.radiograph import MAX_SIDE, Radiograph, is_regular_affine

__all__ = ["Placement", "plane_nifti"]

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_COMPRESSION = 1  # a 2,000 x 2,000 residue takes 0.4 s; higher levels take twice as long and gain 1 %


@dataclass(frozen=True, eq=False)
class Placement:
    """The plane of a radiograph in patient (or world) coordinates.

    Args:
        rows: height of the original in pixels.
        cols: width of the original in pixels.
        affine: float64 (4, 4), from (column, row, slice, 1) to LPS mm (x to the patient's left, y to the back, z to
            the head). Whole numbers are pixel CENTRES there, as in ITK, NIfTI and DICOM; a box's continuous edge ``e``
            is index ``e - 0.5``.
        in_mm: False where the pixel size is unknown, and a pixel stands for 1 mm.

    Raises:
        InputError: not (4, 4), not finite, or without volume.
    """

    rows: int
    cols: int
    affine: NDArray[np.float64]
    in_mm: bool = True

    def __post_init__(self) -> None:
        matrix = np.array(self.affine, dtype=np.float64)
        if not (1 <= self.rows <= MAX_SIDE and 1 <= self.cols <= MAX_SIDE):
            raise InputError(f"expected an image of 1 to {MAX_SIDE} pixels a side, got {self.rows} x {self.cols}")
        if not is_regular_affine(matrix):
            expected = "an affine of 4 x 4 finite numbers with three independent axes"
            raise InputError(f"expected {expected}, got another of shape {matrix.shape}")
        matrix.setflags(write=False)
        object.__setattr__(self, "affine", matrix)

    @classmethod
    def of(cls, radiograph: Radiograph) -> Placement:
        """The plane of a radiograph as it was read: by its affine where the file has one, else by its pixel size."""
        rows, cols = radiograph.pixels.shape
        if radiograph.affine is None:
            return cls.from_spacing(rows, cols, radiograph.pixel_spacing)
        return cls.from_ras_affine(rows, cols, radiograph.affine)

    @classmethod
    def from_spacing(cls, rows: int, cols: int, pixel_spacing: tuple[float, float] | None = None) -> Placement:
        """A radiograph of which at most the pixel size is known, as ITK and Slicer place it: first pixel centre at 0,
        x along the columns, y along the rows.

        Args:
            rows, cols: size of the original in pixels.
            pixel_spacing: (row, column) mm between pixel centres, as in DICOM's Pixel Spacing; 1 mm where unknown.
        """
        along_y, along_x = (1.0, 1.0) if pixel_spacing is None else pixel_spacing
        return cls(rows, cols, np.diag([along_x, along_y, 1.0, 1.0]), pixel_spacing is not None)

    @classmethod
    def from_ras_affine(cls, rows: int, cols: int, affine: ArrayLike) -> Placement:
        """From an affine to RAS mm, such as :attr:`monai_dgm.readers.radiograph.Radiograph.affine`."""
        matrix = np.asarray(affine, dtype=np.float64)
        return cls(rows, cols, _RAS_TO_LPS @ matrix if matrix.shape == (4, 4) else matrix)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """mm between pixel centres along (columns, rows, slices)."""
        along_x, along_y, along_z = (float(length) for length in np.linalg.norm(self.affine[:3, :3], axis=0))
        return along_x, along_y, along_z

    def to_world(self, points: ArrayLike) -> NDArray[np.float64]:
        """Points (N, 2) [x, y] in pixels with continuous edges to LPS mm (N, 3), on the radiograph's plane."""
        array = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        index = np.column_stack([array - 0.5, np.zeros(len(array)), np.ones(len(array))])
        return np.asarray((index @ self.affine.T)[:, :3])

    def to_pixels(self, points: ArrayLike) -> NDArray[np.float64]:
        """Points (N, 3) in LPS mm to pixels with continuous edges, (N, 2) [x, y]: projected on the plane along the
        slice axis."""
        array = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        index = np.linalg.solve(self.affine[:3, :3], (array - self.affine[:3, 3]).T).T
        return np.asarray(index[:, :2] + 0.5)


def plane_nifti(
    plane: NDArray[Any], placement: Placement, description: str = "Research, not for diagnosis.", flat: bool = False
) -> bytes:
    """A plane over a radiograph's pixels as a gzipped NIfTI-1 file that lies where the radiograph lies.

    The same plane gives the same bytes in every run.

    Args:
        plane: (rows, cols), of a dtype that NIfTI knows.
        placement: of the radiograph.
        description: ASCII of at most 79 characters, for the header.
        flat: the array has shape (cols, rows); else it has one slice, (cols, rows, 1).
    """
    import nibabel  # here, for it is slow to import and few need it

    array = np.ascontiguousarray(plane.T)
    image = nibabel.Nifti1Image(array if flat else array[:, :, None], _RAS_TO_LPS @ placement.affine)
    image.header.set_xyzt_units("mm" if placement.in_mm else "unknown")
    image.header["descrip"] = description.encode("ascii")
    buffer = io.BytesIO()
    with gzip.GzipFile("", "wb", _COMPRESSION, buffer, mtime=0) as stream:
        stream.write(image.to_bytes())
    return buffer.getvalue()
