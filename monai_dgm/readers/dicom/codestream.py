"""One frame of compressed pixel data to samples, with whatever decoder is installed.

Each decoder is called for itself and not through pydicom, whose versions 2 and 3 differ in what they do to its output.
Which one is told by the codestream's own markers: files that name another compression of the same family are read.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from monai_dgm.readers.dicom.stream import StreamShape

_END_OF_IMAGE = b"\xff\xd9"
MAX_SCANS = 100  # of a progressive JPEG; each costs a pass over the whole image
_GDCM_SYNTAX = {0xC0: "50", 0xC1: "51", 0xC3: "70"}  # by frame header: baseline, extended, lossless


class MissingDecoder(ImportError):
    """No installed package decodes a stream; the message names one that would."""


@dataclass(frozen=True)
class Samples:
    """What a codestream holds.

    Args:
        values: (rows, cols), integers.
        bits: of a sample, as the stream says.
        signed: whether the stream says that samples are signed.
    """

    values: NDArray[Any]
    bits: int
    signed: bool = False


def decode_codestream(stream: bytes, shape: StreamShape) -> Samples:
    """Decode one greyscale frame.

    Args:
        stream: the codestream, from its first marker.
        shape: of it, from :func:`monai_dgm.readers.dicom.stream.stream_shape`.

    Raises:
        MissingDecoder: no installed package decodes it.
        Exception: what the decoder raises where the stream is damaged.
    """
    decode: Callable[[bytes, StreamShape], Samples]
    if shape.marker is None:
        decode = _decode_jpeg_2000
    elif shape.marker == 0xF7:
        decode = _decode_jpeg_ls
    elif shape.bits == 8 and shape.marker in (0xC0, 0xC1, 0xC2):
        decode = _decode_jpeg
    else:
        decode = _decode_with_gdcm
    return decode(stream, shape)


def _decode_jpeg_2000(stream: bytes, shape: StreamShape) -> Samples:
    try:
        import openjpeg
    except ImportError:
        raise MissingDecoder("pylibjpeg-openjpeg") from None
    return Samples(np.asarray(openjpeg.decode(stream, 0)), shape.bits, shape.signed)


def _decode_jpeg_ls(stream: bytes, shape: StreamShape) -> Samples:
    try:
        from jpeg_ls import decode_buffer
    except ImportError:
        raise MissingDecoder("pyjpegls") from None
    if not stream.rstrip(b"\0").endswith(_END_OF_IMAGE):
        stream += _END_OF_IMAGE  # CharLS searches for seconds where a stream that is cut short has none
    data, _ = decode_buffer(stream)
    dtype = "u1" if shape.bits <= 8 else "<u2"
    return Samples(np.frombuffer(data, dtype, shape.rows * shape.cols).reshape(shape.rows, shape.cols), shape.bits)


def _decode_jpeg(stream: bytes, shape: StreamShape) -> Samples:
    if count_scans(stream) > MAX_SCANS:
        raise ValueError(f"expected at most {MAX_SCANS} scans")
    with Image.open(io.BytesIO(stream), formats=["JPEG"]) as picture:
        return Samples(np.asarray(picture), 8)


def count_scans(stream: bytes) -> int:
    """Start of Scan markers of a JPEG stream; compressed data hold none, for a zero follows each FF there."""
    return stream.count(b"\xff\xda")


def _decode_with_gdcm(stream: bytes, shape: StreamShape) -> Samples:
    """JPEG lossless, and JPEG of 12 bits."""
    ending = _GDCM_SYNTAX.get(shape.marker or 0)
    if ending is None:
        raise ValueError("a kind of JPEG that no decoder reads")
    try:
        import gdcm
    except ImportError:
        raise MissingDecoder("python-gdcm") from None
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(stream + b"\0" * (len(stream) % 2))
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((shape.cols, shape.rows, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(
        gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2"))
    )
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(f"1.2.840.10008.1.2.4.{ending}")))
    allocated = 8 if shape.bits <= 8 else 16
    image.SetPixelFormat(gdcm.PixelFormat(1, allocated, shape.bits, shape.bits - 1, 0))
    buffer = image.GetBuffer()
    data = buffer.encode("utf-8", "surrogateescape") if isinstance(buffer, str) else bytes(buffer)
    values = np.frombuffer(data, f"<u{allocated // 8}", shape.rows * shape.cols)
    return Samples(values.reshape(shape.rows, shape.cols), shape.bits)
