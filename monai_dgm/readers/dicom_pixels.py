"""Stored pixel values of a DICOM data set, with whatever decoder is installed; pydicom 2.4 and 3 alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.uid import UID, RLELossless

from monai_dgm.errors import InputError
from monai_dgm.readers.dicom_stream import stream_shape
from monai_dgm.readers.radiograph import check_shape

_HEAD_BYTES = 1 << 20  # where a compressed stream says its size
JPEG_BASELINE, JPEG_EXTENDED = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS, JPEG_LOSSLESS_SV1 = "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"
JPEG_LS, JPEG_LS_NEAR = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"
JPEG_2000_LOSSLESS, JPEG_2000 = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_PLAIN = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", _BIG_ENDIAN)
# packages that decode what numpy cannot; pylibjpeg-libjpeg does too, but is GPL
_NEEDED = {
    JPEG_BASELINE: "Pillow",
    JPEG_EXTENDED: "python-gdcm",
    JPEG_LOSSLESS: "python-gdcm",
    JPEG_LOSSLESS_SV1: "python-gdcm",
    JPEG_LS: "pyjpegls",
    JPEG_LS_NEAR: "pyjpegls",
    JPEG_2000_LOSSLESS: "pylibjpeg-openjpeg",
    JPEG_2000: "pylibjpeg-openjpeg",
    str(RLELossless): "pydicom",
}


def decode_pixels(name: str, dataset: pydicom.Dataset, max_pixels: float) -> NDArray[Any]:
    """Stored values (rows, cols) of a single greyscale image, bits above Bits Stored removed.

    Args:
        name: file, for messages.
        dataset: with a transfer syntax in ``file_meta`` and a checked header.
        max_pixels: limit for what a compressed stream declares.

    Raises:
        InputError: damaged, of another size than the header says, or no decoder; names file and transfer syntax.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    rows, cols = int(dataset.Rows), int(dataset.Columns)
    if syntax in _PLAIN:
        return _used_bits(dataset, _plain_pixels(name, dataset))
    if syntax not in _NEEDED:
        raise InputError(f"{name}: expected a transfer syntax of still images, got {syntax.name[:80]!r}")
    _check_stream(name, dataset, max_pixels)
    try:
        pixels = np.asarray(dataset.pixel_array)
    except Exception as error:  # every decoder has its own exceptions for damaged streams
        other = _decode_with_gdcm(name, dataset) if syntax == JPEG_EXTENDED else None
        if other is None:
            raise InputError(f"{name}: {_why(dataset, syntax)}") from error
        pixels = other
    if pixels.shape != (rows, cols):
        raise InputError(f"{name}: expected {rows} x {cols} pixels as its header says, got {pixels.shape}")
    return pixels


def _plain_pixels(name: str, dataset: pydicom.Dataset) -> NDArray[Any]:
    # not by pydicom: its versions differ in what they do with bits above Bits Stored
    syntax, data = dataset.file_meta.TransferSyntaxUID, dataset.PixelData
    if dataset["PixelData"].is_undefined_length or not isinstance(data, bytes):
        raise InputError(f"{name}: expected a transfer syntax of compressed images, got {syntax.name}")
    bits, (rows, cols) = int(dataset.BitsAllocated), (int(dataset.Rows), int(dataset.Columns))
    expected = rows * cols * bits // 8
    if len(data) < expected:
        raise InputError(
            f"{name}: expected {expected} bytes of pixel data ({syntax.name}, {bits} bits), got {len(data)}"
        )
    big = syntax == _BIG_ENDIAN
    if big and bits == 8 and dataset["PixelData"].VR == "OW":
        data = np.frombuffer(data, ">u2").astype("<u2").tobytes()  # two pixels a word, swapped with it
    dtype = f"{'>' if big else '<'}{'i' if int(dataset.get('PixelRepresentation') or 0) else 'u'}{bits // 8}"
    values = np.frombuffer(data, dtype, count=rows * cols).reshape(rows, cols)
    return values.astype(values.dtype.newbyteorder("="))


def _check_stream(name: str, dataset: pydicom.Dataset, max_pixels: float) -> None:
    shape = stream_shape(bytes(dataset.PixelData[:_HEAD_BYTES]))
    if shape is None:
        return
    check_shape(name, shape.rows, shape.cols, max_pixels)
    header = f"{dataset.Rows} x {dataset.Columns}"
    if (shape.rows, shape.cols) != (int(dataset.Rows), int(dataset.Columns)):
        raise InputError(
            f"{name}: expected {header} pixels as its header says, the stream has {shape.rows} x {shape.cols}"
        )
    if shape.components != 1:
        raise InputError(f"{name}: expected a greyscale image, its stream has {shape.components} components")


def _why(dataset: pydicom.Dataset, syntax: UID) -> str:
    kind = f"{syntax.name}, {dataset.BitsStored} bits"
    needed = _NEEDED[syntax]
    if not _has_decoder(dataset, syntax):
        return f"no installed package decodes its pixel data ({kind}), needs {needed}"
    return f"its pixel data cannot be decoded ({kind}), the stream is damaged or {needed} cannot read it"


def _has_decoder(dataset: pydicom.Dataset, syntax: UID) -> bool:
    try:
        from pydicom.pixels import get_decoder
    except ImportError:  # pydicom 2
        handlers = [h for h in pydicom.config.pixel_data_handlers if h.is_available()]
        names = [h.__name__.rpartition(".")[2] for h in handlers if h.supports_transfer_syntax(syntax)]
        if "pylibjpeg_handler" in names:  # it says that it supports all that its plugins might
            from pylibjpeg.utils import get_pixel_data_decoders

            if syntax not in get_pixel_data_decoders():
                names.remove("pylibjpeg_handler")
    else:
        decoder = get_decoder(syntax)
        names = list(decoder.available_plugins) if decoder.is_available else []
    # Pillow reads eight-bit JPEG only
    if syntax == JPEG_EXTENDED and int(dataset.BitsAllocated) > 8:
        names = [name for name in names if "pillow" not in name]
    return bool(names)


def padding_value(dataset: pydicom.Dataset, keyword: str) -> int | None:
    """A padding element as a stored value, whichever of its two value representations it was written in."""
    value = dataset.get(keyword)
    try:
        number = int(value)
    except (TypeError, ValueError):
        return None
    bits = int(dataset.BitsAllocated)
    if int(dataset.get("PixelRepresentation", 0)) == 1 and number >= 1 << (bits - 1):
        number -= 1 << bits  # written as unsigned although the pixels are signed
    return number


def _decode_with_gdcm(name: str, dataset: pydicom.Dataset) -> NDArray[Any] | None:
    """JPEG of 12 bits by GDCM itself, where it is installed: pydicom 3 does not ask it to."""
    try:
        import gdcm
    except ImportError:
        return None
    reader = gdcm.ImageReader()
    reader.SetFileName(name)
    if not reader.Read():
        return None
    buffer = reader.GetImage().GetBuffer()
    data = buffer.encode("utf-8", "surrogateescape") if isinstance(buffer, str) else bytes(buffer)
    dtype = f"{'i' if int(dataset.get('PixelRepresentation', 0)) else 'u'}{int(dataset.BitsAllocated) // 8}"
    shape = (int(dataset.Rows), int(dataset.Columns))
    values = np.frombuffer(data, dtype)
    return values.reshape(shape) if values.size == shape[0] * shape[1] else None


def _used_bits(dataset: pydicom.Dataset, pixels: NDArray[Any]) -> NDArray[Any]:
    """Only the bits that hold the value: older files keep overlays, or rubbish, in the others (PS3.5 8.1.1)."""
    allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    high = int(dataset.get("HighBit") or stored - 1)
    if stored == allocated or not stored - 1 <= high < allocated:
        return pixels
    padding = padding_value(dataset, "PixelPaddingValue")
    if padding is not None and not -(1 << (stored - 1)) <= padding < 1 << stored:
        return pixels  # padding is told by the very bits that would be removed
    # to the top, which drops what is above, then down, which copies the sign bit of signed values
    raised = np.left_shift(pixels, allocated - 1 - high)
    return np.right_shift(raised, allocated - stored)
