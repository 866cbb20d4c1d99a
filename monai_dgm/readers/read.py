"""Read a radiograph from any supported file: the format is told by the file's first bytes, not by its name."""

from __future__ import annotations

import gzip
import os
import warnings
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from monai_dgm.errors import InputError, reason_of
from monai_dgm.readers.dicom.codestream import MAX_SCANS, count_scans
from monai_dgm.readers.nifti import check_nifti_place, nifti_shape, read_nifti
from monai_dgm.readers.radiograph import MAX_PIXELS, Radiograph, check_pixels, check_shape, one_line
from monai_dgm.utils.orientation import UPRIGHT, WORDS

__all__ = ["Radiograph", "check_same_place", "image_shape", "read_mask", "read_radiograph", "sniff_format"]

EXPECTED = "DICOM, PNG, JPEG or NIfTI"
MAX_JPEG_BYTES = 1 << 28
MOST_LABELS = 16  # values besides 0 of a label map, such as 1 and 2 for the two lungs
MOST_EDGE = 0.1  # of a mask's pixels above 0 that may lie below half of its largest value, whatever their values
_EXIF_ORIENTATION = 0x0112
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
            if head[344:348] not in _NIFTI_MAGIC and head[4:8] not in _NIFTI_MAGIC:
                raise InputError(f"{name}: compressed with gzip, expected {EXPECTED} unpacked (or .nii.gz)")
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
    :func:`monai_dgm.readers.dicom.read.read_dicom`. The pixels of DICOM, PNG and JPEG are those that the file stores,
    because boxes are drawn on them; ``orientation`` says how Patient Orientation or EXIF's Orientation turns them
    upright.

    Args:
        path: file; its format is told by its content.
        max_pixels: larger images are refused before they are decoded.

    Raises:
        InputError: anything that is not one greyscale radiograph with contrast; names the file and what was expected.
    """
    name = os.fspath(path)
    try:
        return _read(name, max_pixels)
    except InputError:
        raise
    except Exception as error:  # one file must never end a folder
        raise InputError(reason_of(error, name)) from error


def _read(name: str, max_pixels: float) -> Radiograph:
    kind = sniff_format(name)
    if kind == "dicom":
        from monai_dgm.readers.dicom.read import read_dicom

        return read_dicom(name, max_pixels)
    radiograph = read_nifti(name, max_pixels) if kind == "nifti" else _read_picture(name, kind, max_pixels)
    check_pixels(name, radiograph.pixels)
    return radiograph


def read_mask(path: str | os.PathLike[str], max_pixels: float = MAX_PIXELS) -> NDArray[np.bool_]:
    """Read a mask (PNG, JPEG or NIfTI) as bool (rows, cols): True above half of its largest value; may be all False.

    Raises:
        InputError: not a greyscale image that can be decoded, values that are not finite, or a map of several labels.
    """
    name = os.fspath(path)
    kind = sniff_format(name)
    if kind == "dicom":
        raise InputError(f"{name}: expected a mask as PNG, JPEG or NIfTI, got DICOM")
    try:
        mask = read_nifti(name, max_pixels) if kind == "nifti" else _read_picture(name, kind, max_pixels)
    except InputError:
        raise
    except Exception as error:
        raise InputError(reason_of(error, name)) from error
    return _above_half(name, mask.pixels)


def _above_half(name: str, values: NDArray[np.float32]) -> NDArray[np.bool_]:
    if not np.isfinite(values).all():
        raise InputError(f"{name}: expected a mask of finite values, got NaN or infinity")
    inside = values > 0.5 * max(float(values.max()), 1e-6)
    marked = values > 0
    # edges that were smoothed or compressed have many values, labels few
    if inside.sum() < (1 - MOST_EDGE) * marked.sum() and len(levels := np.unique(values[marked])) <= MOST_LABELS:
        raise InputError(f"{name}: expected a mask of two values, got {len(levels)} labels besides 0")
    return inside


def check_same_place(path: str | os.PathLike[str], image: str | os.PathLike[str]) -> None:
    """Refuse a mask, or another plane over a radiograph, that lies elsewhere than the radiograph: both are NIfTI.

    Files of other formats lie where their pixels are.

    Raises:
        InputError: affines that put a pixel in two places, or a file that cannot be read.
    """
    if sniff_format(path) == "nifti" and sniff_format(image) == "nifti":
        check_nifti_place(os.fspath(path), os.fspath(image))


def image_shape(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(rows, cols) of a radiograph, from its header alone.

    Raises:
        InputError: not a supported file, or a header that cannot be read.
    """
    name = os.fspath(path)
    kind = sniff_format(name)
    try:
        if kind == "dicom":
            from monai_dgm.readers.dicom.read import dicom_shape

            return dicom_shape(name)
        if kind == "nifti":
            return nifti_shape(name)
        with _open_picture(name, kind, float("inf")) as picture:
            return picture.height, picture.width
    except InputError:
        raise
    except Exception as error:
        raise InputError(reason_of(error, name)) from error


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
    if kind == "jpeg":
        _check_scans(name)
    with _open_picture(name, kind, max_pixels) as picture:
        mode = picture.mode
        if kind == "png" and mode == "RGB" and _png_bits(name) > 8:  # Pillow would keep the upper eight
            raise InputError(f"{name}: expected a greyscale image of 8 or 16 bits, got RGB of 16 bits")
        if mode not in _GREY_BITS and mode != "RGB":
            raise InputError(f"{name}: expected a greyscale image of 8 or 16 bits, got {_describe_mode(mode)}")
        try:
            values = np.asarray(picture)
            orientation = _exif_orientation(picture)
        except Exception as error:  # as above: truncated, wrong checksum, bad Huffman codes ...
            raise InputError(f"{name}: expected a whole {kind.upper()} image ({one_line(error)})") from error
    if mode == "RGB":
        if not (np.array_equal(values[..., 0], values[..., 1]) and np.array_equal(values[..., 0], values[..., 2])):
            raise InputError(f"{name}: expected a greyscale image, got an RGB image with colours")
        values = values[..., 0]
    radiograph = Radiograph(values.astype(np.float32), None, kind, None, None, None, _GREY_BITS.get(mode, 8))
    if orientation == UPRIGHT:
        return radiograph
    note = f"EXIF Orientation {orientation}: {WORDS[orientation]}"
    return replace(radiograph, orientation=orientation, remarks=(note,), notes=(note,))


def _exif_orientation(picture: Image.Image) -> int:
    """EXIF's Orientation (0x0112); upright where there is none, or none that is known."""
    try:
        number = int(picture.getexif().get(_EXIF_ORIENTATION, UPRIGHT))
    except Exception:  # a damaged block says nothing
        return UPRIGHT
    return number if number in WORDS else UPRIGHT


def _png_bits(name: str) -> int:
    """Bits of a sample in a PNG file, from its header (IHDR)."""
    with open(name, "rb") as stream:
        head = stream.read(25)
    return head[24] if len(head) > 24 else 8


def _check_scans(name: str) -> None:
    """Refuse a progressive JPEG whose scans would take minutes: each is a pass over the whole image."""
    scans, size = 0, 0
    with open(name, "rb") as stream:
        while (block := stream.read(1 << 20)) and size < MAX_JPEG_BYTES:
            scans, size = scans + count_scans(block), size + len(block)
    if scans > MAX_SCANS or size >= MAX_JPEG_BYTES:
        raise InputError(f"{name}: expected a JPEG image of at most {MAX_SCANS} scans and {MAX_JPEG_BYTES} bytes")


def _describe_mode(mode: str) -> str:
    names = {"1": "1 bit", "P": "a colour palette", "PA": "a colour palette", "LA": "an alpha channel"}
    return names.get(mode, "an alpha channel" if mode == "RGBA" else f"mode {mode}")
