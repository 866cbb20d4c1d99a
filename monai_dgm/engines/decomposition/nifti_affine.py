"""Where a NIfTI radiograph lies in the patient, so that maps of it land on it in a viewer."""

from __future__ import annotations

import gzip
import os

import nibabel
import numpy as np
from numpy.typing import NDArray

_NIFTI_1 = 348  # bytes of the header, its first field; NIfTI-2 has 540


def nifti_affine(path: str | os.PathLike[str]) -> NDArray[np.float64]:
    """Affine (4, 4) from (column, row, 0) of the radiograph that :func:`monai_dgm.readers.read.read_radiograph` returns
    to RAS mm, for a NIfTI file that it has read.

    The reader turns the array so that the patient's left is on the right; this follows it.
    """
    with open(path, "rb") as raw:
        opener = gzip.open if raw.read(2) == b"\x1f\x8b" else open
    with opener(path, "rb") as stream:
        first = stream.read(4)
        stream.seek(0)
        one = _NIFTI_1 in (int.from_bytes(first, "little"), int.from_bytes(first, "big"))
        image = (nibabel.Nifti1Image if one else nibabel.Nifti2Image).from_stream(stream)
        affine, shape = np.asarray(image.affine, dtype=np.float64), image.shape
        header = image.header
        placed = bool(int(header["sform_code"]) or int(header["qform_code"]))
    codes = nibabel.aff2axcodes(affine)[:2] if placed else ("L", "P")
    x_axis = 1 if codes[1] in ("L", "R") and codes[0] not in ("L", "R") else 0
    y_axis = 1 - x_axis
    turn = np.zeros((4, 4))  # (column, row, 0, 1) to the file's own voxel
    turn[2, 2] = turn[3, 3] = 1
    for output, axis, flipped in ((0, x_axis, codes[x_axis] == "R"), (1, y_axis, codes[y_axis] in ("A", "S"))):
        turn[axis, output] = -1 if flipped else 1
        turn[axis, 3] = shape[axis] - 1 if flipped else 0
    return affine @ turn
