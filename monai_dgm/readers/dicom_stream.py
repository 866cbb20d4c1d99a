"""What a compressed image says of itself before it is decoded: a few bytes can stand for gigabytes of pixels."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_J2K_START = b"\xff\x4f\xff\x51"  # SOC, SIZ: ISO/IEC 15444-1 A.4.1, A.5.1
_JPEG_START = b"\xff\xd8\xff"
# SOF markers of ISO/IEC 10918-1 table B.1 without DHT, JPG and DAC; SOF55 is that of JPEG-LS (14495-1)
_SOF = (set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}) | {0xF7}
_STANDALONE = {0x01, *range(0xD0, 0xDA)}


@dataclass(frozen=True)
class StreamShape:
    """Rows, columns and components of a compressed image."""

    rows: int
    cols: int
    components: int


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
        return _j2k_shape(data, begin) if start == _J2K_START else _jpeg_shape(data, begin + 2)
    except (struct.error, IndexError):
        return None


def _j2k_shape(data: bytes, begin: int) -> StreamShape:
    right, bottom, left, top = struct.unpack_from(">4I", data, begin + 8)
    (components,) = struct.unpack_from(">H", data, begin + 40)
    return StreamShape(bottom - top, right - left, components)


def _jpeg_shape(data: bytes, place: int) -> StreamShape | None:
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
            _, rows, cols, components = struct.unpack_from(">BHHB", data, place + 4)
            return StreamShape(rows, cols, components) if rows else None  # 0: told after the scan (DNL)
        place += 2 + length
    return None
