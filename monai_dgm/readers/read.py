"""Read a radiograph from any supported file: the format is told by the file's first bytes, not by its name."""

from __future__ import annotations

import gzip
import os
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from monai_dgm.errors import InputError
from monai_dgm.readers.radiograph import MAX_PIXELS, Radiograph, check_pixels, check_shape, one_line

__all__ = ["Radiograph", "image_shape", "read_mask", "read_radiograph", "sniff_format"]

EXPECTED = "DICOM, PNG, JPEG or NIfTI"
_NIFTI_MAGIC = (b"n+1\0", b"n+2\0")
_GREY_BITS = {"L": 8, "I;16": 16, "I;16B": 16, "I": 16}


def sniff_format(path: str | os.PathLike[str]) -> str:
    """The format of a file by its content: "dicom", "png", "jpeg" or "nifti".

    Raises:
        InputError: missing, a folder, empty, or none of these formats.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb") as stream:
            head = stream.read(352)
        if head[:2] == b"\x1f\x8b":
            with gzip.open(name) as stream:
                head = stream.read(352)
    except FileNotFoundError:
        raise InputError(f"{name}: no such file, expected {EXPECTED}") from None
    except IsADirectoryError:
        raise InputError(f"{name}: is a folder, expected a file ({EXPECTED})") from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{name}: cannot be read ({one_line(error)}), expected {EXPECTED}") from error
    if not head:
        raise InputError(f"{name}: empty file, expected {EXPECTED}")
    if head[128:132] == b"DICM":
        return "dicom"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head[344:348] in _NIFTI_MAGIC or head[4:8] in _NIFTI_MAGIC:
        return "nifti"
    if _is_bare_dicom(head) or Path(name).suffix.lower() in (".dcm", ".dicom"):
        return "dicom"
    raise InputError(f"{name}: expected {EXPECTED}, its first bytes are none of these")


def read_radiograph(path: str | os.PathLike[str], max_pixels: float = MAX_PIXELS) -> Radiograph:
    """Read one radiograph, bright = dense.

    PNG and JPEG: greyscale of 8 or 16 bits, taken as bright = dense; RGB only when its three channels are equal (many
    JPEG radiographs are). NIfTI: one slice, turned by its affine to the usual view. DICOM: see
    :func:`monai_dgm.readers.dicom.read_dicom`. EXIF rotation is not applied: boxes are drawn on the stored pixels.

    Args:
        path: file; its format is told by its content.
        max_pixels: larger images are refused before they are decoded.

    Raises:
        InputError: anything that is not one greyscale radiograph with contrast; names the file and what was expected.
    """
    name = os.fspath(path)
    kind = sniff_format(name)
    if kind == "dicom":
        from monai_dgm.readers.dicom import read_dicom

        return read_dicom(name, max_pixels)
    radiograph = _read_nifti(name, max_pixels) if kind == "nifti" else _read_picture(name, kind, max_pixels)
    check_pixels(name, radiograph.pixels)
    return radiograph


def read_mask(path: str | os.PathLike[str], max_pixels: float = MAX_PIXELS) -> NDArray[np.bool_]:
    """Read a mask (PNG, JPEG or NIfTI) as bool (rows, cols): True above half of its largest value; may be all False.

    Raises:
        InputError: not a greyscale image that can be decoded.
    """
    name = os.fspath(path)
    kind = sniff_format(name)
    if kind == "dicom":
        raise InputError(f"{name}: expected a mask as PNG, JPEG or NIfTI, got DICOM")
    mask = _read_nifti(name, max_pixels) if kind == "nifti" else _read_picture(name, kind, max_pixels)
    return mask.pixels > 0.5 * max(float(mask.pixels.max()), 1e-6)


def image_shape(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(rows, cols) of a radiograph, from its header alone.

    Raises:
        InputError: not a supported file, or a header that cannot be read.
    """
    name = os.fspath(path)
    kind = sniff_format(name)
    if kind == "dicom":
        from monai_dgm.readers.dicom import dicom_shape

        return dicom_shape(name)
    if kind == "nifti":
        pixels = _read_nifti(name, MAX_PIXELS).pixels
        return pixels.shape[0], pixels.shape[1]
    with _open_picture(name, kind, float("inf")) as picture:
        return picture.height, picture.width


def _is_bare_dicom(head: bytes) -> bool:
    """Without a preamble a file begins with an element 00xx of group 0002 or 0008, little or big endian."""
    little = head[:2] in (b"\x02\0", b"\x08\0") and head[3:4] == b"\0"
    return little or head[:3] in (b"\0\x02\0", b"\0\x08\0")


def _open_picture(name: str, kind: str, max_pixels: float) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # checked against max_pixels below
            picture = Image.open(name, formats=[kind.upper()])
    except Exception as error:  # decoders of hostile files fail in ways that no list of types holds
        raise InputError(f"{name}: expected a whole {kind.upper()} image ({one_line(error)})") from error
    try:
        check_shape(name, picture.height, picture.width, max_pixels)
    except InputError:
        picture.close()
        raise
    return picture


def _read_picture(name: str, kind: str, max_pixels: float) -> Radiograph:
    with _open_picture(name, kind, max_pixels) as picture:
        mode = picture.mode
        if mode not in _GREY_BITS and mode != "RGB":
            raise InputError(f"{name}: expected a greyscale image of 8 or 16 bits, got {_describe_mode(mode)}")
        try:
            values = np.asarray(picture)
        except Exception as error:  # as above: truncated, wrong checksum, bad Huffman codes ...
            raise InputError(f"{name}: expected a whole {kind.upper()} image ({one_line(error)})") from error
    if mode == "RGB":
        if not (np.array_equal(values[..., 0], values[..., 1]) and np.array_equal(values[..., 0], values[..., 2])):
            raise InputError(f"{name}: expected a greyscale image, got an RGB image with colours")
        values = values[..., 0]
    return Radiograph(values.astype(np.float32), None, kind, None, None, None, _GREY_BITS.get(mode, 8))


def _describe_mode(mode: str) -> str:
    names = {"1": "1 bit", "P": "a colour palette", "PA": "a colour palette", "LA": "an alpha channel"}
    return names.get(mode, "an alpha channel" if mode == "RGBA" else f"mode {mode}")


def _read_nifti(name: str, max_pixels: float) -> Radiograph:
    import nibabel  # here, for it is slow to import and few need it

    with open(name, "rb") as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
    try:
        with (gzip.open if compressed else open)(name, "rb") as stream:
            head = stream.read(8)
            stream.seek(0)
            kind = nibabel.Nifti2Image if head[4:8] in _NIFTI_MAGIC else nibabel.Nifti1Image
            image = kind.from_stream(stream)
            rows_cols = _nifti_plane(name, image, max_pixels)
            values = np.asarray(image.dataobj, dtype=np.float32).reshape(rows_cols)
    except InputError:
        raise
    except Exception as error:  # as for pictures: a damaged header or stream fails in many ways
        raise InputError(f"{name}: expected a whole NIfTI image ({one_line(error)})") from error
    return _orient_nifti(image, values)


def _nifti_plane(name: str, image: Any, max_pixels: float) -> tuple[int, int]:
    shape = tuple(int(length) for length in image.shape)
    if len(shape) < 2 or any(length != 1 for length in shape[2:]):
        raise InputError(f"{name}: expected one slice of shape (X, Y) or (X, Y, 1), got shape {shape}")
    dtype = image.get_data_dtype()
    if dtype.names is not None or dtype.kind not in "iuf":
        raise InputError(f"{name}: expected one real number a pixel, got {dtype}")
    check_shape(name, shape[0], shape[1], max_pixels)
    return shape[0], shape[1]


def _orient_nifti(image: Any, values: NDArray[np.float32]) -> Radiograph:
    """Turn array axes into rows and columns of the usual view: the patient's left on the right, head up.

    NIfTI world axes are (right, anterior, superior), and a two-dimensional image has its y axis downwards as anterior
    to posterior. Without an affine (both codes 0) axis 0 is x to the right and axis 1 is y downwards.
    """
    import nibabel

    header = image.header
    placed = bool(int(header["sform_code"]) or int(header["qform_code"]))
    zooms = [float(zoom) for zoom in header.get_zooms()[:2]]
    codes = nibabel.aff2axcodes(image.affine)[:2] if placed else ("L", "P")
    if codes[1] in ("L", "R") and codes[0] not in ("L", "R"):
        row_code, column_code = codes
    else:
        column_code, row_code = codes
        values, zooms = values.T, zooms[::-1]
    if column_code == "R":
        values = values[:, ::-1]
    if row_code in ("A", "S"):
        values = values[::-1]
    spacing = (zooms[0], zooms[1]) if placed and min(zooms) > 0 else None
    bits = int(image.get_data_dtype().itemsize) * 8
    return Radiograph(np.ascontiguousarray(values), spacing, "nifti", None, None, None, bits)
