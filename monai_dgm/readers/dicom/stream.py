"""What a compressed image says of itself before it is decoded: a few bytes can stand for gigabytes of pixels."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

_J2K_START = b"\xff\x4f\xff\x51"  # SOC, SIZ: ISO/IEC 15444-1 A.4.1, A.5.1
_JPEG_START = b"\xff\xd8\xff"
# SOF markers of ISO/IEC 10918-1 table B.1 without DHT, JPG and DAC; SOF55 is that of JPEG-LS (14495-1)
_SOF = (set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}) | {0xF7}
_STANDALONE = {0x01, *range(0xD0, 0xDA)}


@dataclass(frozen=True)
class StreamShape:
    """What a compressed image says of itself.

    Args:
        rows, cols: size in pixels.
        components: 1 for greyscale.
        bits: of a sample.
        signed: whether samples are signed; only JPEG 2000 says so.
        marker: second byte of JPEG's frame header, such as 0xC0; None for JPEG 2000.
        begin: place of the stream's first byte in the data.
    """

    rows: int
    cols: int
    components: int
    bits: int = field(default=8, compare=False)
    signed: bool = field(default=False, compare=False)
    marker: int | None = field(default=None, compare=False)
    begin: int = field(default=0, compare=False)


def stream_shape(data: bytes) -> StreamShape | None:
    """The shape that the first JPEG, JPEG-LS or JPEG 2000 stream in encapsulated pixel data declares.

    Args:
        data: value of Pixel Data (7FE0,0010), or its beginning.

    Returns:
        None when there is no such stream (RLE, or damaged), or one without dimensions.
    """
    places = [(data.find(start), start) for start in (_J2K_START, _JPEG_START)]
    found = sorted(place for place in places if place[0] >= 0)
    if not found:
        return None
    begin, start = found[0]
    try:
        return _j2k_shape(data, begin) if start == _J2K_START else _jpeg_shape(data, begin)
    except (struct.error, IndexError):
        return None


def _j2k_shape(data: bytes, begin: int) -> StreamShape:
    right, bottom, left, top = struct.unpack_from(">4I", data, begin + 8)
    components, depth = struct.unpack_from(">HB", data, begin + 40)
    return StreamShape(bottom - top, right - left, components, (depth & 0x7F) + 1, depth > 0x7F, None, begin)


def _jpeg_shape(data: bytes, begin: int) -> StreamShape | None:
    place = begin + 2
    while data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
            continue
        if marker in _STANDALONE:
            place += 2
            continue
        (length,) = struct.unpack_from(">H", data, place + 2)
        if marker in _SOF:
            bits, rows, cols, components = struct.unpack_from(">BHHB", data, place + 4)
            # 0 rows: told after the scan (DNL)
            return StreamShape(rows, cols, components, bits, False, marker, begin) if rows else None
        place += 2 + length
    return None
