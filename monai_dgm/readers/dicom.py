"""One radiograph from a DICOM file, through the grayscale pipeline of PS3.3 C.11 and PS3.4 N.2, bright = dense.

Stored values -> modality LUT or rescale -> VOI LUT or window -> polarity. What is decided here:

- Polarity. MONOCHROME1 says that the lowest value is shown white (C.7.6.3.1.2); Presentation LUT Shape INVERSE says the
  same of the values after the VOI transformation (C.11.6), and a DX image for presentation that is MONOCHROME1 must
  carry it (C.8.11.3). Both speak of one inversion: it is applied once when either is there.
- VOI. A VOI LUT goes before a window (C.11.2.1), the first of several is taken. One that leaves less than a quarter of
  the pixels between its ends, or is malformed, is not used: all modality values are. Without one, likewise.
- Padding (C.7.5.1.1.2) takes no part in the intensity range and becomes the darkest value.
- Pixel Intensity Relationship Sign is not used: it contradicts the polarity in real files that display well.
"""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from monai_dgm.errors import InputError
from monai_dgm.readers.dicom_pixels import decode_pixels, padding_value
from monai_dgm.readers.radiograph import MAX_PIXELS, Radiograph, check_pixels, check_shape

try:  # pydicom 3
    from pydicom.pixels import apply_modality_lut, apply_voi_lut
except ImportError:  # pydicom 2
    from pydicom.pixel_data_handlers.util import apply_modality_lut, apply_voi_lut

# pydicom parses an element when it is first looked at, and raises then: these are looked at in one place
_USED = (
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "PresentationLUTShape",
    "Modality",
    "BodyPartExamined",
    "ViewPosition",
    "PixelData",
)
MIN_SHARE = 0.25  # of the pixels that a VOI transformation must leave between its ends to be used


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's remarks on values can quote patient data
        dataset = _read_dataset(name)
        try:
            for keyword in _USED:
                dataset.get(keyword)
            _check_header(name, dataset, max_pixels)
        except InputError:
            raise
        except Exception as error:  # a damaged element fails only when it is looked at, in many ways
            raise InputError(
                f"{name}: expected a DICOM image, its header is damaged ({type(error).__name__})"
            ) from error
        stored = decode_pixels(name, dataset, max_pixels)
        valid = _valid_pixels(dataset, stored)
        if valid is not None and not valid.any():
            raise InputError(f"{name}: expected a radiograph, all pixels are padding")
        pixels = _to_bright_dense(name, dataset, stored, valid)
    if valid is not None:
        pixels[~valid] = pixels[valid].min()
    check_pixels(name, pixels)
    return Radiograph(
        pixels=pixels,
        pixel_spacing=pixel_spacing(dataset),
        format="dicom",
        modality=_text(dataset, "Modality"),
        body_part=_text(dataset, "BodyPartExamined"),
        view=_text(dataset, "ViewPosition"),
        bits=int(dataset.BitsStored),
        valid=valid,
    )


def dicom_shape(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(rows, cols) from the header, without reading the pixels.

    Raises:
        InputError: not a DICOM image.
    """
    name = os.fspath(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = _read_dataset(name, stop_before_pixels=True)
        try:
            return int(dataset.Rows), int(dataset.Columns)
        except Exception as error:
            raise InputError(f"{name}: expected a DICOM image with Rows and Columns") from error


def read_header(path: str | os.PathLike[str]) -> pydicom.Dataset:
    """A data set without its pixels: of an image, or of what has none, such as a structured report.

    Raises:
        InputError: not DICOM, damaged, or deflated as a whole.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _read_dataset(os.fspath(path), stop_before_pixels=True)


def _read_dataset(name: str, stop_before_pixels: bool = False) -> pydicom.Dataset:
    try:
        meta = pydicom.filereader.read_file_meta_info(name) if _has_preamble(name) else pydicom.Dataset()
        if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            # pydicom inflates it whole while reading, without a limit
            raise InputError(f"{name}: expected DICOM that is not deflated as a whole ({meta.TransferSyntaxUID.name})")
        dataset = pydicom.dcmread(name, force=True, stop_before_pixels=stop_before_pixels)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{name}: expected a readable DICOM file ({error.strerror or 'cut short'})") from error
    except Exception as error:  # pydicom's message can quote patient data: its type must do
        raise InputError(f"{name}: expected a DICOM file, it is damaged ({type(error).__name__})") from error
    if len(dataset) == 0:
        raise InputError(f"{name}: expected a DICOM file, found no data elements")
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = _guess_syntax(dataset)
    return dataset


def _has_preamble(name: str) -> bool:
    with open(name, "rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def _guess_syntax(dataset: Any) -> pydicom.uid.UID:
    """The transfer syntax of a file that does not say: as pydicom found it while reading."""
    if hasattr(dataset, "original_encoding"):  # pydicom 3
        implicit, little = dataset.original_encoding
    else:
        implicit, little = dataset.read_implicit_vr, dataset.read_little_endian
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _check_header(name: str, dataset: pydicom.Dataset, max_pixels: float) -> None:
    if "PixelData" not in dataset:
        raise InputError(f"{name}: expected a DICOM image, it has no Pixel Data (7FE0,0010)")
    missing = [key for key in ("Rows", "Columns", "BitsAllocated", "BitsStored") if dataset.get(key) in (None, "")]
    if missing:
        raise InputError(f"{name}: expected a DICOM image, its header lacks {', '.join(missing)}")
    photometric = str(dataset.get("PhotometricInterpretation", "nothing"))
    if photometric not in ("MONOCHROME1", "MONOCHROME2") or int(dataset.get("SamplesPerPixel", 1)) != 1:
        raise InputError(f"{name}: expected a greyscale image (MONOCHROME1 or MONOCHROME2), got {photometric}")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise InputError(f"{name}: expected a single image, got {frames} frames")
    allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    if allocated not in (8, 16) or not 2 <= stored <= allocated:
        raise InputError(f"{name}: expected 8 or 16 bits a pixel, got {stored} bits stored in {allocated}")
    check_shape(name, int(dataset.Rows), int(dataset.Columns), max_pixels)


def _valid_pixels(dataset: pydicom.Dataset, stored: NDArray[Any]) -> NDArray[np.bool_] | None:
    """False where a stored value is padding: Pixel Padding Value, or between it and Pixel Padding Range Limit."""
    first = padding_value(dataset, "PixelPaddingValue")
    if first is None:
        return None
    last = padding_value(dataset, "PixelPaddingRangeLimit")
    low, high = sorted((first, first if last is None else last))
    valid = (stored < low) | (stored > high)
    return None if valid.all() else valid


def _to_bright_dense(
    name: str, dataset: pydicom.Dataset, stored: NDArray[Any], valid: NDArray[np.bool_] | None
) -> NDArray[np.float32]:
    try:
        values = apply_modality_lut(stored, dataset)
    except Exception as error:  # a lookup table that is none
        raise InputError(
            f"{name}: expected a modality LUT or rescale that is valid ({type(error).__name__})"
        ) from error
    pixels = _apply_voi(dataset, values, valid).astype(np.float32)
    inverse = dataset.PhotometricInterpretation == "MONOCHROME1" or dataset.get("PresentationLUTShape") == "INVERSE"
    if inverse:
        counted = pixels if valid is None else pixels[valid]
        pixels = (counted.min() + counted.max()) - pixels
    return pixels


def _apply_voi(dataset: pydicom.Dataset, values: NDArray[Any], valid: NDArray[np.bool_] | None) -> NDArray[Any]:
    has_lut = bool(dataset.get("VOILUTSequence"))
    if not has_lut and dataset.get("WindowCenter") in (None, ""):
        return values
    try:
        # a table is looked up by whole numbers; rescaled values are floats that may lie just below them
        chosen = np.rint(values).astype(np.int64) if has_lut and values.dtype.kind == "f" else values
        result = np.asarray(apply_voi_lut(chosen, dataset))
    except Exception:  # malformed: a width of zero, an empty table ... the image itself is still good
        return values
    return result if _keeps_detail(result if valid is None else result[valid]) else values


def _keeps_detail(values: NDArray[Any]) -> bool:
    low, high = float(values.min()), float(values.max())
    margin = 0.01 * (high - low)
    between = (values > low + margin) & (values < high - margin)
    return bool(np.isfinite(high - low)) and float(between.mean()) >= MIN_SHARE


def pixel_spacing(
    dataset: pydicom.Dataset, keywords: tuple[str, ...] = ("PixelSpacing", "ImagerPixelSpacing")
) -> tuple[float, float] | None:
    """Pixel Spacing, else Imager Pixel Spacing (at the detector, where objects look larger); None when absurd."""
    for keyword in keywords:
        try:
            row, column = (float(value) for value in dataset.get(keyword) or ())
        except (TypeError, ValueError):
            continue
        if 0 < row < 100 and 0 < column < 100:
            return row, column
    return None


def _text(dataset: pydicom.Dataset, keyword: str) -> str | None:
    value = str(dataset.get(keyword) or "").strip()
    return value or None
