"""RLE Lossless of DICOM: byte planes, each packed as PackBits (PS3.5 annex G)."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

_HEADER_BYTES = 64


class DamagedRLE(ValueError):
    """What is wrong with an RLE frame; without file names."""


def decode_rle(frame: bytes, rows: int, cols: int, cell_bytes: int) -> NDArray[np.unsignedinteger]:
    """The pixel cells (rows, cols) of one frame of a greyscale image, uint8 or uint16.

    Args:
        frame: the compressed frame.
        rows, cols: size in pixels.
        cell_bytes: 1 or 2, the number of byte planes; the most significant comes first.

    Raises:
        DamagedRLE: another number of planes, or a plane that ends before its last pixel.
    """
    if len(frame) < _HEADER_BYTES:
        raise DamagedRLE(f"expected an RLE header of {_HEADER_BYTES} bytes, got {len(frame)}")
    number, *offsets = struct.unpack("<16L", frame[:_HEADER_BYTES])
    if number != cell_bytes:
        raise DamagedRLE(f"expected {cell_bytes} RLE segments, got {number}")
    ends = [*offsets[1:number], len(frame)]
    cells = np.zeros((rows * cols, cell_bytes), dtype=np.uint8)
    for plane, (begin, end) in enumerate(zip(offsets[:number], ends, strict=True)):
        values = _unpack(frame[begin:end], rows * cols)
        cells[:, cell_bytes - 1 - plane] = np.frombuffer(values, dtype=np.uint8)  # little endian
    return cells.view("<u2" if cell_bytes == 2 else "u1").reshape(rows, cols).astype(f"u{cell_bytes}")


def _unpack(segment: bytes, size: int) -> bytes:
    values = bytearray()
    place, end = 0, len(segment)
    while place < end and len(values) < size:
        control = segment[place]
        if control < 128:
            values += segment[place + 1 : place + control + 2]
            place += control + 2
        elif control > 128:
            values += segment[place + 1 : place + 2] * (257 - control)
            place += 2
        else:  # 128 does nothing
            place += 1
    if len(values) < size:
        raise DamagedRLE(f"its pixel data are cut short: expected {size} bytes of an RLE segment, got {len(values)}")
    return bytes(values[:size])
