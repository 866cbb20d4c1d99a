"""A radiograph from a NIfTI file (.nii, .nii.gz), and where it lies in the patient.

The header is read by itself and compared with what a radiograph can be; then the pixels, and no byte beyond them.
Neither extensions nor what a compressed file holds behind its image are ever read.
"""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_dgm.errors import InputError
from monai_dgm.readers.radiograph import MAX_PIXELS, Radiograph, check_shape, is_regular_affine, one_line, pixel_aspect

MAX_OFFSET = 1 << 24  # bytes of extensions before the pixels
MOST_APART = 0.1  # pixels between the places of a radiograph and its mask; programs round affines
_HEADER_2 = 540  # bytes of a NIfTI-2 header; NIfTI-1 has 348
_MAGIC_2 = b"n+2\0"


@dataclass(frozen=True)
class NiftiImage:
    """One slice of a NIfTI file as it is stored.

    Args:
        shape: (X, Y), pixels along the array's axes.
        zooms: mm along them.
        dtype: of a pixel.
        affine: (4, 4) from voxels to RAS mm, or None where the file places the image nowhere.
        base: affine (4, 4) that viewers use then, from the zooms.
        remarks: what was wrong with its affine.
        values: float32 (X, Y); None where only the header was read.
    """

    shape: tuple[int, int]
    zooms: tuple[float, float]
    dtype: np.dtype[Any]
    affine: NDArray[np.float64] | None
    base: NDArray[np.float64]
    remarks: tuple[str, ...] = ()
    values: NDArray[np.float32] | None = None

    @property
    def axes(self) -> tuple[int, bool, bool]:
        """Array axis that runs along the columns, and whether columns and rows are reversed in the usual view.

        NIfTI world axes are (right, anterior, superior), and a two-dimensional image has its y axis downwards as
        anterior to posterior. Without an affine axis 0 is x to the right and axis 1 is y downwards.
        """
        import nibabel

        codes = ("L", "P") if self.affine is None else nibabel.aff2axcodes(self.affine)[:2]
        x_axis = 1 if codes[1] in ("L", "R") and codes[0] not in ("L", "R") else 0
        return x_axis, codes[x_axis] == "R", codes[1 - x_axis] in ("A", "S")

    @property
    def turned_affine(self) -> NDArray[np.float64]:
        """Affine (4, 4) from (column, row, 0, 1) in the usual view to RAS mm; by ``base`` where there is no affine."""
        x_axis, reverse_columns, reverse_rows = self.axes
        turn = np.zeros((4, 4))  # (column, row, 0, 1) to the file's own voxel
        turn[2, 2] = turn[3, 3] = 1
        for output, axis, reverse in ((0, x_axis, reverse_columns), (1, 1 - x_axis, reverse_rows)):
            turn[axis, output] = -1 if reverse else 1
            turn[axis, 3] = self.shape[axis] - 1 if reverse else 0
        return np.asarray((self.base if self.affine is None else self.affine) @ turn)


def read_nifti(name: str, max_pixels: float) -> Radiograph:
    """One slice, its axes turned to rows and columns of the usual view: the patient's left on the right, head up.

    Raises:
        InputError: no NIfTI image, damaged, several slices, too large, or other than one real number a pixel.
    """
    image = _load(name, max_pixels, with_values=True)
    values, zooms = image.values, image.zooms
    assert values is not None
    x_axis, reverse_columns, reverse_rows = image.axes
    if x_axis == 0:
        values, zooms = values.T, zooms[::-1]
    values = values[:, ::-1] if reverse_columns else values
    values = values[::-1] if reverse_rows else values
    known = image.affine is not None and all(0 < zoom < 1000 for zoom in zooms)
    return Radiograph(
        pixels=np.ascontiguousarray(values),
        pixel_spacing=(zooms[0], zooms[1]) if known else None,
        format="nifti",
        modality=None,
        body_part=None,
        view=None,
        bits=image.dtype.itemsize * 8,
        remarks=image.remarks,
        notes=image.remarks,
        affine=image.turned_affine,
        aspect=pixel_aspect(*zooms) if known else 1.0,
    )


def nifti_shape(name: str) -> tuple[int, int]:
    """(rows, cols) in the usual view, from the header alone; errors as :func:`read_nifti`."""
    image = _load(name, MAX_PIXELS, with_values=False)
    return image.shape[::-1] if image.axes[0] == 0 else image.shape


def check_nifti_place(name: str, image: str) -> None:
    """Refuse a NIfTI mask whose pixels lie elsewhere than those of its NIfTI radiograph, of the same size.

    Raises:
        InputError: their affines put a corner of the image more than ``MOST_APART`` pixels apart.
    """
    first, second = (_load(one, MAX_PIXELS, with_values=False) for one in (image, name))
    if sorted(first.shape) != sorted(second.shape) or (first.affine is None and second.affine is None):
        return  # refused by its size, or neither says where it lies
    cols, rows = first.shape if first.axes[0] == 0 else first.shape[::-1]
    corners = np.array([[0, 0, 0, 1], [cols - 1, 0, 0, 1], [0, rows - 1, 0, 1]], dtype=np.float64)
    apart = np.linalg.norm((corners @ (first.turned_affine - second.turned_affine).T)[:, :3], axis=1).max()
    if apart > MOST_APART * np.linalg.norm(first.turned_affine[:3, :2], axis=0).min():
        raise InputError(f"{name}: expected the affine of its radiograph, got one that lies up to {apart:.3g} mm away")


def usable_affine(header: Any) -> tuple[NDArray[np.float64] | None, tuple[str, ...]]:
    """The affine of a NIfTI header to RAS mm, and a remark where one that it declares is not used.

    The sform where its code says that there is one and it is finite and not singular, else the qform likewise (ITK
    does so, too), else None.
    """
    remarks: list[str] = []
    for kind, code, read in (("sform", "sform_code", "get_sform"), ("qform", "qform_code", "get_qform")):
        if int(header[code]) <= 0:
            continue
        try:
            with np.errstate(all="ignore"):
                affine = np.asarray(getattr(header, read)(), dtype=np.float64)
        except Exception:  # a quaternion that is none
            affine = np.zeros((4, 4))
        if is_regular_affine(affine):
            return affine, tuple(remarks)
        remarks.append(f"NIfTI {kind} is not finite or singular, not used")
    return None, tuple(remarks)


def _load(name: str, max_pixels: float, with_values: bool) -> NiftiImage:
    try:
        with open(name, "rb") as raw:
            compressed = raw.read(2) == b"\x1f\x8b"
        with (gzip.open if compressed else open)(name, "rb") as stream:
            return _parse(name, stream, max_pixels, with_values)
    except InputError:
        raise
    except Exception as error:  # a damaged header or stream fails in many ways
        raise InputError(f"{name}: expected a whole NIfTI image ({one_line(error)})") from error


def _parse(name: str, stream: Any, max_pixels: float, with_values: bool) -> NiftiImage:
    import nibabel  # here, for it is slow to import and few need it

    head = stream.read(_HEADER_2)
    kind = nibabel.Nifti2Header if head[4:8] == _MAGIC_2 else nibabel.Nifti1Header
    header = kind.from_fileobj(io.BytesIO(head), check=False)
    shape = tuple(int(length) for length in header.get_data_shape())
    if len(shape) < 2 or any(length != 1 for length in shape[2:]):
        raise InputError(f"{name}: expected one slice of shape (X, Y) or (X, Y, 1), got shape {shape}")
    dtype = np.dtype(header.get_data_dtype())
    if dtype.names is not None or dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise InputError(f"{name}: expected one real number a pixel, got {dtype}")
    check_shape(name, shape[0], shape[1], max_pixels)
    affine, remarks = usable_affine(header)
    zooms = tuple(float(zoom) for zoom in header.get_zooms()[:2])
    base = np.asarray(header.get_base_affine(), dtype=np.float64)
    base = base if is_regular_affine(base) else np.diag([-1.0, -1.0, 1.0, 1.0])
    image = NiftiImage((shape[0], shape[1]), (zooms[0], zooms[1]), dtype, affine, base, remarks)
    return replace(image, values=_values(name, stream, header, image)) if with_values else image


def _values(name: str, stream: Any, header: Any, image: NiftiImage) -> NDArray[np.float32]:
    offset = float(header["vox_offset"])
    if not 0 <= offset <= MAX_OFFSET:
        raise InputError(f"{name}: expected pixels within the file's first {MAX_OFFSET} bytes, its header says later")
    first = max(int(offset), header.template_dtype.itemsize)
    expected = image.shape[0] * image.shape[1] * image.dtype.itemsize
    stream.seek(first)
    data = stream.read(expected)
    if len(data) < expected:
        raise InputError(f"{name}: expected a whole NIfTI image, {expected} bytes of pixels, got {len(data)}")
    slope, intercept = header.get_slope_inter()
    with np.errstate(all="ignore"):  # numbers beyond float32 become infinite, which is refused later
        values = np.frombuffer(data, image.dtype).reshape(image.shape, order="F")
        if slope is not None:
            scaled = values.astype(np.float64) * slope + (intercept or 0.0)
            return np.asarray(scaled, dtype=np.float32)
        return values.astype(np.float32)
