"""Stored pixel values of a greyscale DICOM image, native or compressed; pydicom 2.4 and 3 alike.

Only the bits that hold the value count, whatever the transfer syntax: older files keep overlays, or rubbish, in the
others (PS3.5 8.1.1). A codestream says itself how many bits its samples have, which need not be those of the cells.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import UID

from monai_dgm.errors import InputError
from monai_dgm.readers.dicom.codestream import MissingDecoder, Samples, decode_codestream
from monai_dgm.readers.dicom.data_set import BIG_ENDIAN, EXPLICIT, IMPLICIT, PixelData
from monai_dgm.readers.dicom.image_pixel import ImagePixel, shown_code
from monai_dgm.readers.dicom.rle import DamagedRLE, decode_rle
from monai_dgm.readers.dicom.stream import stream_shape
from monai_dgm.readers.radiograph import check_shape

__all__ = ["NEEDED", "decode_pixels", "syntax_name", "used_bits"]

_HEAD_BYTES = 1 << 20  # where a compressed stream says its size
_NATIVE = (IMPLICIT, EXPLICIT, BIG_ENDIAN)
ENCAPSULATED_UNCOMPRESSED, RLE = "1.2.840.10008.1.2.1.98", "1.2.840.10008.1.2.5"
_JPEG = "1.2.840.10008.1.2.4."
JPEG_BASELINE, JPEG_EXTENDED = f"{_JPEG}50", f"{_JPEG}51"
JPEG_LOSSLESS, JPEG_LOSSLESS_SV1 = f"{_JPEG}57", f"{_JPEG}70"
JPEG_LS, JPEG_LS_NEAR = f"{_JPEG}80", f"{_JPEG}81"
JPEG_2000_LOSSLESS, JPEG_2000 = f"{_JPEG}90", f"{_JPEG}91"
HTJ2K_LOSSLESS, HTJ2K_RPCL, HTJ2K = f"{_JPEG}201", f"{_JPEG}202", f"{_JPEG}203"
# packages that decode what numpy cannot; pylibjpeg-libjpeg does too, but is GPL
NEEDED = {
    JPEG_BASELINE: "Pillow",
    JPEG_EXTENDED: "python-gdcm",
    f"{_JPEG}53": "Pillow",  # spectral selection and full progression, both retired
    f"{_JPEG}55": "Pillow",
    JPEG_LOSSLESS: "python-gdcm",
    JPEG_LOSSLESS_SV1: "python-gdcm",
    JPEG_LS: "pyjpegls",
    JPEG_LS_NEAR: "pyjpegls",
    JPEG_2000_LOSSLESS: "pylibjpeg-openjpeg",
    JPEG_2000: "pylibjpeg-openjpeg",
    HTJ2K_LOSSLESS: "pylibjpeg-openjpeg",
    HTJ2K_RPCL: "pylibjpeg-openjpeg",
    HTJ2K: "pylibjpeg-openjpeg",
}
# compressions of still images that no decoder of ours reads, which pydicom 2 does not know by name
_NOT_READ = {
    f"{_JPEG}110": "JPEG XL Lossless",
    f"{_JPEG}111": "JPEG XL JPEG Recompression",
    f"{_JPEG}112": "JPEG XL",
    f"{_JPEG}92": "JPEG 2000 Part 2 Lossless",
    f"{_JPEG}93": "JPEG 2000 Part 2",
    "1.2.840.10008.1.20": "Papyrus 3",
    "1.2.840.10008.1.2.8.1": "Deflated Image Frame Compression",
}
_NAMES = {
    HTJ2K_LOSSLESS: "High-Throughput JPEG 2000 (Lossless Only)",
    HTJ2K_RPCL: "High-Throughput JPEG 2000 with RPCL Options (Lossless Only)",
    HTJ2K: "High-Throughput JPEG 2000",
    ENCAPSULATED_UNCOMPRESSED: "Encapsulated Uncompressed Explicit VR Little Endian",
}


def decode_pixels(name: str, image: ImagePixel, data: PixelData, max_pixels: float) -> NDArray[Any]:
    """Pixel cells (rows, cols) of a single greyscale image, as integers; see :func:`used_bits`.

    Args:
        name: file, for messages.
        image: the checked header.
        data: the element Pixel Data.
        max_pixels: limit for what a compressed stream declares.

    Raises:
        InputError: damaged, cut short, of another size than the header says, or no decoder; names file and transfer
            syntax.
    """
    syntax = image.syntax
    if syntax in _NATIVE:
        if data.is_compressed:
            raise InputError(f"{name}: expected a transfer syntax of compressed images, got {UID(syntax).name}")
        return _native_pixels(name, image, data.value, data.vr)
    if syntax in _NOT_READ:
        raise InputError(f"{name}: no installed package decodes its pixel data ({_NOT_READ[syntax]})")
    if syntax not in NEEDED and syntax not in (RLE, ENCAPSULATED_UNCOMPRESSED):
        raise InputError(f"{name}: expected a transfer syntax of still images, got {_shown(syntax)}")
    if not data.is_compressed:
        if data.length == image.num_bytes:  # decompressed by a program that left the transfer syntax
            return _native_pixels(name, image, data.value, data.vr)
        raise InputError(
            f"{name}: expected compressed pixel data ({syntax_name(syntax)}), got {data.length} bytes without items"
        )
    frame = b"".join(data.fragments)
    if not frame:
        raise InputError(f"{name}: expected compressed pixel data ({syntax_name(syntax)}), got no fragments")
    if syntax == ENCAPSULATED_UNCOMPRESSED:
        return _native_pixels(name, image, frame, data.vr)
    cells = _rle_pixels(name, image, frame) if syntax == RLE else _codestream(name, image, data, frame, max_pixels)
    if cells.shape != (image.rows, image.cols):
        raise InputError(f"{name}: expected {image.rows} x {image.cols} pixels as its header says, got {cells.shape}")
    return cells


def used_bits(image: ImagePixel, cells: NDArray[Any]) -> NDArray[Any]:
    """The values in pixel cells: only the bits from High Bit down that Bits Stored counts, with their sign.

    Args:
        image: the header.
        cells: integers of :func:`decode_pixels`.
    """
    unused_above = image.allocated - 1 - image.high_bit
    unused = image.allocated - image.stored
    kind = "i" if image.signed else "u"
    # two's complement of a cell, whichever type the decoder chose; numpy wraps around
    wrapped = cells.astype(f"{kind}{image.cell_bytes}", copy=False)
    if not unused:
        return wrapped
    # to the top, which drops what is above, then down, which copies the sign bit of signed values
    shifted = np.left_shift(wrapped, unused_above)
    return np.right_shift(shifted, unused, out=shifted)


def syntax_name(syntax: str) -> str:
    """A transfer syntax in the words of the standard."""
    return _NAMES.get(syntax) or _NOT_READ.get(syntax) or UID(syntax).name


def _shown(syntax: str) -> str:
    known = UID(syntax).name
    return repr(known[:80] if known != syntax else shown_code(syntax[:80]))


def _native_pixels(name: str, image: ImagePixel, data: bytes, vr: str) -> NDArray[Any]:
    bits, expected = image.allocated, image.num_bytes
    if len(data) < expected:
        raise InputError(
            f"{name}: expected {expected} bytes of pixel data ({syntax_name(image.syntax)}, {bits} bits), "
            f"got {len(data)}"
        )
    big = image.syntax == BIG_ENDIAN
    if big and bits == 8 and vr == "OW":
        even = data + b"\0" * (len(data) % 2)
        data = np.frombuffer(even, ">u2").astype("<u2").tobytes()  # two pixels a word, swapped with it
    dtype = np.dtype(f"{'>' if big else '<'}{'i' if image.signed else 'u'}{image.cell_bytes}")
    values = np.frombuffer(data, dtype, count=image.rows * image.cols).reshape(image.rows, image.cols)
    return values.astype(dtype.newbyteorder("="), copy=False)


def _rle_pixels(name: str, image: ImagePixel, frame: bytes) -> NDArray[Any]:
    try:
        return decode_rle(frame, image.rows, image.cols, image.cell_bytes)
    except DamagedRLE as reason:
        raise InputError(
            f"{name}: its pixel data cannot be decoded (RLE Lossless, {image.stored} bits): {reason}"
        ) from None


def _codestream(name: str, image: ImagePixel, data: PixelData, frame: bytes, max_pixels: float) -> NDArray[Any]:
    kind = f"{syntax_name(image.syntax)}, {image.stored} bits"
    needed = NEEDED[image.syntax]
    shape = stream_shape(frame[:_HEAD_BYTES])
    if shape is None:
        raise InputError(f"{name}: its pixel data cannot be decoded ({kind}), they hold no stream of {needed}")
    check_shape(name, shape.rows, shape.cols, max_pixels)
    if (shape.rows, shape.cols) != (image.rows, image.cols):
        raise InputError(
            f"{name}: expected {image.rows} x {image.cols} pixels as its header says, "
            f"the stream has {shape.rows} x {shape.cols}"
        )
    if shape.components != 1:
        raise InputError(f"{name}: expected a greyscale image, its stream has {shape.components} components")
    if not 2 <= shape.bits <= image.allocated:
        raise InputError(
            f"{name}: expected at most {image.allocated} bits a pixel as its header says, its stream has {shape.bits}"
        )
    try:
        samples = decode_codestream(frame[shape.begin :], shape)
    except MissingDecoder as package:
        raise InputError(f"{name}: no installed package decodes its pixel data ({kind}), needs {package}") from None
    except Exception as error:  # every decoder has its own exceptions for damaged streams
        reason = f"the stream is damaged or {needed} cannot read it"
        if not data.complete:
            reason = "they are cut short"
        raise InputError(f"{name}: its pixel data cannot be decoded ({kind}), {reason}") from error
    return _cells_of_samples(image, samples)


def _cells_of_samples(image: ImagePixel, samples: Samples) -> NDArray[Any]:
    """Samples with the sign that the header or the stream gives them.

    Encoders write the two's complement of signed values as unsigned samples of as many bits (JPEG-LS knows no sign).
    """
    if not image.signed or samples.signed or samples.bits >= image.stored:
        return samples.values
    sign = 1 << (samples.bits - 1)
    values = samples.values.astype(np.int32)
    return (values ^ sign) - sign
