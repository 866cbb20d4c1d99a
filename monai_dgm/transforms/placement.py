"""Where a radiograph's pixels lie in the patient, so that boxes drawn in a viewer come back to the right pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monai_dgm.errors import InputError
from monai_dgm.readers.radiograph import MAX_SIDE

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Placement:
    """The plane of a radiograph in patient (or world) coordinates.

    Args:
        rows: height of the original in pixels.
        cols: width of the original in pixels.
        affine: float64 (4, 4), from (column, row, slice, 1) to LPS mm (x to the patient's left, y to the back, z to
            the head). Whole numbers are pixel CENTRES there, as in ITK, NIfTI and DICOM; a box's continuous edge ``e``
            is index ``e - 0.5``.

    Raises:
        InputError: not (4, 4), not finite, or without volume.
    """

    rows: int
    cols: int
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        matrix = np.array(self.affine, dtype=np.float64)
        if not (1 <= self.rows <= MAX_SIDE and 1 <= self.cols <= MAX_SIDE):
            raise InputError(f"expected an image of 1 to {MAX_SIDE} pixels a side, got {self.rows} x {self.cols}")
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise InputError(f"expected an affine of 4 x 4 finite numbers, got shape {matrix.shape}")
        lengths = np.linalg.norm(matrix[:3, :3], axis=0)
        if lengths.min() <= 0 or abs(np.linalg.det(matrix[:3, :3] / lengths)) < 1e-3:
            raise InputError("expected an affine with three independent axes, got a flat one")
        matrix.setflags(write=False)
        object.__setattr__(self, "affine", matrix)

    @classmethod
    def from_spacing(cls, rows: int, cols: int, pixel_spacing: tuple[float, float] | None = None) -> Placement:
        """A radiograph that says nothing but its pixel size, as ITK and Slicer place it: first pixel centre at 0,
        x along the columns, y along the rows.

        Args:
            rows, cols: size of the original in pixels.
            pixel_spacing: (row, column) mm between pixel centres, as in DICOM's Pixel Spacing; 1 mm where unknown.
        """
        along_y, along_x = (1.0, 1.0) if pixel_spacing is None else pixel_spacing
        return cls(rows, cols, np.diag([along_x, along_y, 1.0, 1.0]))

    @classmethod
    def from_ras_affine(cls, rows: int, cols: int, affine: ArrayLike) -> Placement:
        """From an affine to RAS mm, as :func:`monai_dgm.engines.decomposition.nifti_affine.nifti_affine` gives it."""
        matrix = np.asarray(affine, dtype=np.float64)
        return cls(rows, cols, _RAS_TO_LPS @ matrix if matrix.shape == (4, 4) else matrix)

    @classmethod
    def from_plane(
        cls, rows: int, cols: int, position: ArrayLike, orientation: ArrayLike, pixel_spacing: tuple[float, float]
    ) -> Placement:
        """From DICOM's Image Plane module (PS3.3 C.7.6.2).

        Args:
            rows, cols: size of the original in pixels.
            position: (3,) Image Position (Patient), the centre of the first pixel in LPS mm.
            orientation: (6,) Image Orientation (Patient): directions of increasing column, then increasing row.
            pixel_spacing: (row, column) mm, Pixel Spacing.
        """
        origin, cosines = np.asarray(position, dtype=np.float64), np.asarray(orientation, dtype=np.float64)
        if origin.shape != (3,) or cosines.shape != (6,):
            raise InputError(f"expected a position of 3 and an orientation of 6 numbers, got {origin.shape}")
        matrix = np.eye(4)
        matrix[:3, 0], matrix[:3, 1] = cosines[:3] * pixel_spacing[1], cosines[3:] * pixel_spacing[0]
        matrix[:3, 2], matrix[:3, 3] = np.cross(cosines[:3], cosines[3:]), origin
        return cls(rows, cols, matrix)

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
