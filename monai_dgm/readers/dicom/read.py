"""One radiograph from a DICOM file, through the grayscale pipeline of PS3.3 C.11 and PS3.4 N.2, bright = dense.

Stored values -> modality LUT or rescale -> VOI LUT or window -> polarity. What is decided here:

- Polarity. MONOCHROME1 says that the lowest value is shown white (C.7.6.3.1.2); Presentation LUT Shape INVERSE says the
  same of the values after the VOI transformation (C.11.6), and a DX image for presentation that is MONOCHROME1 must
  carry it (C.8.11.3). Both speak of one inversion: it is applied once when either is there.
- VOI. A VOI LUT goes before a window (C.11.2.1), the first of several is taken. One that leaves less than a quarter of
  the pixels between its ends, or is malformed, is not used: all modality values are. Without one, likewise.
- Padding (C.7.5.1.1.2) takes no part in the intensity range and becomes the darkest value.
- Pixel Intensity Relationship Sign is not used: it contradicts the polarity in real files that display well.
- Patient Orientation turns nothing here: the pixels stay those of the file, and ``orientation`` says how to turn them.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pydicom
from numpy.typing import NDArray

from monai_dgm.errors import InputError
from monai_dgm.readers.dicom.data_set import BoundedFile, read_data_set, read_pixel_data
from monai_dgm.readers.dicom.decoders import decode_pixels, used_bits
from monai_dgm.readers.dicom.image_pixel import ImagePixel, read_image_pixel, single_value, whole_number
from monai_dgm.readers.dicom.lut import UnusableLUT, ValueTable, modality_table, voi_table
from monai_dgm.readers.dicom.patient_orientation import read_kind, read_orientation
from monai_dgm.readers.radiograph import MAX_PIXELS, Radiograph, check_pixels, is_regular_affine, pixel_aspect

MIN_SHARE = 0.25  # of the pixels that a VOI transformation must leave between its ends to be used
_COMPRESSED_LIMIT = 1 << 20  # bytes of compressed pixel data beside twice those of the native ones
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing")
_BLOCK_ROWS = 64  # places take 8 bytes a pixel, and stay in the processor's cache
_COLUMNS = 0x00280011
_PIXEL_DATA = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")
_TEXTS = {"modality": "Modality", "body_part": "BodyPartExamined", "view": "ViewPosition"}


def read_dicom(path: str | os.PathLike[str], max_pixels: float = MAX_PIXELS) -> Radiograph:
    """Read one greyscale radiograph from a DICOM file.

    Args:
        path: file, with or without preamble and file meta information.
        max_pixels: larger images are refused before they are decoded, by header and by compressed stream.

    Raises:
        InputError: not DICOM, no pixel data, several frames, colour, other than 8 or 16 bits allocated, too large, a
            stream that is damaged or that no installed decoder reads, no contrast; names file and expectation.
    """
    name = os.fspath(path)
    with _opened(name) as stream:
        dataset = read_data_set(name, stream)
        image = _checked(name, dataset, stream, max_pixels)
        data = read_pixel_data(name, stream, image.num_bytes, _COMPRESSED_LIMIT + 2 * image.num_bytes)
        cells = decode_pixels(name, image, data, max_pixels)
        image = replace(image, signed=image.signed or cells.dtype.kind == "i")  # JPEG 2000 says it itself
        stored = used_bits(image, cells)
        _check_sign(name, image, stored)
        valid = _valid_pixels(image, cells, stored)
        if valid is not None and not valid.any():
            raise InputError(f"{name}: expected a radiograph, all pixels are padding")
        pixels, unused = _to_bright_dense(name, dataset, image, stored, valid)
        orientation, turned = read_orientation(dataset)
        notes = (*unused, *turned)
        remarks = (*notes, *read_kind(dataset))
        known = {key: _text(dataset, keyword) for key, keyword in _TEXTS.items()}
        spacing = pixel_spacing(dataset)
        affine = _plane_affine(dataset, spacing)
    if valid is not None:
        pixels[~valid] = pixels[valid].min()
    check_pixels(name, pixels)
    return Radiograph(
        pixels=pixels,
        pixel_spacing=spacing,
        format="dicom",
        bits=image.stored,
        valid=valid,
        orientation=orientation,
        remarks=remarks,
        notes=notes,
        affine=affine,
        aspect=pixel_aspect_of(dataset),
        **known,
    )


def dicom_shape(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(rows, cols) from the header, without reading the pixels.

    Raises:
        InputError: not a DICOM image.
    """
    name = os.fspath(path)
    with _opened(name) as stream:
        dataset = read_data_set(name, stream, last_tag=_COLUMNS)
        sides = [whole_number(name, dataset, key) for key in ("Rows", "Columns")]
        rows, cols = sides
        if not rows or not cols or rows < 0 or cols < 0:
            raise InputError(f"{name}: expected a DICOM image with Rows and Columns")
        return rows, cols


def read_header(source: str | os.PathLike[str] | bytes) -> pydicom.Dataset:
    """A data set without its pixels: of an image, or of what has none, such as a structured report.

    Args:
        source: a file, or its content.

    Raises:
        InputError: not DICOM, damaged, or deflated as a whole.
    """
    name = "object" if isinstance(source, bytes) else os.fspath(source)
    with _opened(name, source if isinstance(source, bytes) else None) as stream:
        return read_data_set(name, stream)


@contextmanager
def _opened(name: str, content: bytes | None = None) -> Iterator[BoundedFile]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's remarks on values can quote patient data
        try:
            stream = BoundedFile(name, content)
        except OSError as error:
            raise InputError(f"{name}: expected a readable DICOM file ({error.strerror})") from error
        with stream:
            yield stream


def _checked(name: str, dataset: pydicom.Dataset, stream: BoundedFile, max_pixels: float) -> ImagePixel:
    place = stream.tell()
    if stream.read(4) not in _PIXEL_DATA:
        if single_value(name, dataset, "DirectoryRecordSequence") is not None:
            raise InputError(f"{name}: expected a DICOM image, it is a directory of others (DICOMDIR)")
        raise InputError(f"{name}: expected a DICOM image, it has no Pixel Data (7FE0,0010)")
    stream.seek(place)
    return read_image_pixel(name, dataset, max_pixels)


def _check_sign(name: str, image: ImagePixel, stored: NDArray[np.integer]) -> None:
    """Without Pixel Representation an image is read only where signed and unsigned values are the same."""
    if not image.sign_known and not image.signed and int(stored.max()) >= 1 << (image.stored - 1):
        raise InputError(f"{name}: expected a DICOM image, its header lacks PixelRepresentation")


def _valid_pixels(
    image: ImagePixel, cells: NDArray[np.integer], stored: NDArray[np.integer]
) -> NDArray[np.bool_] | None:
    """False where a pixel is padding: Pixel Padding Value, or between it and Pixel Padding Range Limit."""
    if image.padding is None:
        return None
    low, high = image.padding
    lowest, highest = image.stored_range
    # padding may be told by the very bits beside the value
    values = stored if lowest <= low and high <= highest else cells
    valid = (values < low) | (values > high)
    return None if valid.all() else valid


def _to_bright_dense(
    name: str,
    dataset: pydicom.Dataset,
    image: ImagePixel,
    stored: NDArray[np.integer],
    valid: NDArray[np.bool_] | None,
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    try:
        modality = modality_table(dataset, image)
    except UnusableLUT as reason:
        raise InputError(f"{name}: expected a modality LUT or rescale that is valid, {reason}") from None
    pixels = None
    remarks: tuple[str, ...] = ()
    try:
        voi = voi_table(dataset, image, modality)
        if voi is not None:
            pixels = _looked_up(voi, image, stored)
            if not _keeps_detail(pixels if valid is None else pixels[valid]):
                pixels = None
    except UnusableLUT as reason:  # the image itself is still good
        remarks = (f"VOI not used, {reason}",)
    if pixels is None:
        pixels = _looked_up(modality, image, stored)
    if image.photometric == "MONOCHROME1" or _text(dataset, "PresentationLUTShape") == "INVERSE":
        counted = pixels if valid is None else pixels[valid]
        pixels = (counted.min() + counted.max()) - pixels
    return pixels, remarks


def _looked_up(table: ValueTable, image: ImagePixel, stored: NDArray[np.integer]) -> NDArray[np.float32]:
    values, lowest = table.values.astype(np.float32), image.stored_range[0]
    pixels = np.empty(stored.shape, dtype=np.float32)
    for row in range(0, len(stored), _BLOCK_ROWS):
        block = slice(row, row + _BLOCK_ROWS)
        places = stored[block].astype(np.int64) - lowest
        np.take(values, places, out=pixels[block], mode="clip")  # all are in the table; "raise" copies first
    return pixels


def _keeps_detail(values: NDArray[np.float32]) -> bool:
    low, high = float(values.min()), float(values.max())
    margin = 0.01 * (high - low)
    between = (values > low + margin) & (values < high - margin)
    return float(between.mean()) >= MIN_SHARE


def pixel_spacing(dataset: pydicom.Dataset, keywords: tuple[str, ...] = SPACINGS) -> tuple[float, float] | None:
    """Pixel Spacing, else Imager Pixel Spacing (at the detector, where objects look larger); None when absurd."""
    for keyword in keywords:
        try:
            row, column = (float(value) for value in dataset.get(keyword) or ())
        except Exception:  # one value, text, or an element that is damaged
            continue
        if 0 < row < 100 and 0 < column < 100:
            return row, column
    return None


def pixel_aspect_of(dataset: pydicom.Dataset) -> float:
    """Height of a pixel over its width, by the first of the elements that say it (PS3.3 C.7.6.3.1.7)."""
    said = pixel_spacing(dataset, (*SPACINGS, "NominalScannedPixelSpacing"))
    if said is None:
        try:
            row, column = (int(value) for value in dataset.get("PixelAspectRatio") or ())
        except Exception:  # as above
            return 1.0
        said = row, column
    return pixel_aspect(*said)


def _plane_affine(dataset: pydicom.Dataset, spacing: tuple[float, float] | None) -> NDArray[np.float64] | None:
    """The affine of the Image Plane module (PS3.3 C.7.6.2) to RAS mm; None without one, or without pixel spacing."""
    if spacing is None:
        return None
    try:
        position, orientation = (
            np.array([float(value) for value in dataset.get(name) or ()])
            for name in ("ImagePositionPatient", "ImageOrientationPatient")
        )
    except Exception:  # a damaged element places nothing
        return None
    if position.shape != (3,) or orientation.shape != (6,):
        return None
    along_columns, along_rows = orientation[:3], orientation[3:]  # directions of increasing column and row index
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = along_columns * spacing[1], along_rows * spacing[0]
    affine[:3, 2], affine[:3, 3] = np.cross(along_columns, along_rows), position
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # DICOM's axes are LPS
    return affine if is_regular_affine(affine) else None


def _text(dataset: pydicom.Dataset, keyword: str) -> str | None:
    """The first value of an element as text; None where it is missing, empty or damaged."""
    try:
        value = dataset.get(keyword)
        first = value if isinstance(value, str) else next(iter(value or ()), "")
    except Exception:  # it describes the image, which is read without it
        return None
    return str(first).strip("\0 ") or None
