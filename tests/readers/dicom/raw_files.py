"""DICOM files written byte by byte, for conditions that no library would write, and the one line that they end in."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monai_dgm.errors import InputError

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
Element = tuple[str, str | int | bytes]
_LONG = ("OB", "OW", "SQ", "UN", "UT")


# what other programs want in a file before they read it
IDS: dict[int, Element | None] = {
    0x0020000D: ("UI", "1.2.3"),
    0x0020000E: ("UI", "1.2.4"),
    0x00200010: ("SH", "1"),
    0x00281050: ("DS", "100"),
    0x00281051: ("DS", "90000"),
}


def phantom(side: int = 48, top: int = 4095) -> np.ndarray:
    """int64 (side, side), 0..top: bright borders and mediastinum, two dark lungs, without any symmetry."""
    y, x = np.mgrid[0:side, 0:side] / (side - 1.0)
    lungs = np.exp(-(((x - 0.3) / 0.14) ** 4) - ((y - 0.48) / 0.28) ** 4)
    lungs += np.exp(-(((x - 0.72) / 0.1) ** 4) - ((y - 0.52) / 0.22) ** 4)
    values = (1 - 0.7 * lungs) * (0.6 + 0.3 * y + 0.1 * x) + 0.01 * np.sin(37 * x + 11 * y)
    return np.rint((values - values.min()) / np.ptp(values) * top).astype(np.int64)


def element(tag: int, vr: str, value: str | int | bytes, implicit: bool = False) -> bytes:
    """One element in little endian, padded to even length."""
    if isinstance(value, str):
        value = value.encode("latin-1")
    if isinstance(value, int):
        value = struct.pack("<h" if vr == "SS" else "<H", value)
    if len(value) % 2:
        value += b"\0" if vr in ("UI", "OB", "OW", "UN") else b" "
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if implicit:
        return head + struct.pack("<I", len(value)) + value
    if vr in _LONG:
        return head + vr.encode() + b"\0\0" + struct.pack("<I", len(value)) + value
    return head + vr.encode() + struct.pack("<H", len(value)) + value


def item(*elements: bytes) -> bytes:
    """An item of a sequence."""
    body = b"".join(elements)
    return b"\xfe\xff\x00\xe0" + struct.pack("<I", len(body)) + body


def fragments(*parts: bytes, delimiter: bool = True) -> bytes:
    """Pixel Data of fragments, with an empty Basic Offset Table."""
    body = item() + b"".join(item(part + b"\0" * (len(part) % 2)) for part in parts)
    end = b"\xfe\xff\xdd\xe0\0\0\0\0" if delimiter else b""
    return b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + body + end


def radiograph_bytes(
    pixels: np.ndarray,
    changes: dict[int, Element | None] | None = None,
    syntax: str | bytes = EXPLICIT,
    stored: int = 12,
    allocated: int = 16,
    signed: int = 0,
    pixel_data: bytes | None = None,
    implicit: bool = False,
) -> bytes:
    """A DX radiograph.

    Args:
        pixels: (rows, cols), stored values.
        changes: elements by tag that are added, replaced, or with None left out.
        syntax: value of Transfer Syntax UID.
        stored, allocated, signed: Bits Stored, Bits Allocated, Pixel Representation.
        pixel_data: the whole element Pixel Data, instead of native pixels.
        implicit: write the data set in Implicit VR.
    """
    dtype = f"<{'i' if signed else 'u'}{allocated // 8}"
    elements: dict[int, Element | None] = {
        0x00080016: ("UI", "1.2.840.10008.5.1.4.1.1.1.1"),
        0x00080018: ("UI", "1.2.3.4"),
        0x00080060: ("CS", "DX"),
        0x00100010: ("PN", "Doe^Jane"),
        0x00180015: ("CS", "CHEST"),
        0x00185101: ("CS", "PA"),
        0x00280002: ("US", 1),
        0x00280004: ("CS", "MONOCHROME2"),
        0x00280010: ("US", pixels.shape[0]),
        0x00280011: ("US", pixels.shape[1]),
        0x00280100: ("US", allocated),
        0x00280101: ("US", stored),
        0x00280102: ("US", stored - 1),
        0x00280103: ("US", signed),
        0x7FE00010: ("OW", pixels.astype(dtype).tobytes()),
    }
    elements.update(changes or {})
    body = b""
    for tag, entry in sorted(elements.items()):
        if tag == 0x7FE00010 and pixel_data is not None:
            body += pixel_data
        elif entry is not None:
            body += element(tag, *entry, implicit=implicit)
    meta = element(0x00020001, "OB", b"\0\1") + element(0x00020002, "UI", "1.2.840.10008.5.1.4.1.1.1.1")
    meta += element(0x00020003, "UI", "1.2.3.4") + element(0x00020010, "UI", syntax)
    return bytes(128) + b"DICM" + element(0x00020000, "UL", struct.pack("<I", len(meta))) + meta + body


def lut_item(first: int, entries: np.ndarray, bits: int, implicit: bool = False, vr: str = "US") -> bytes:
    """An item of a Modality or VOI LUT Sequence."""
    descriptor = struct.pack("<HHH", len(entries) & 0xFFFF, first & 0xFFFF, bits)
    data = entries.astype("<u2").tobytes()
    return item(
        element(0x00283002, vr, descriptor, implicit),
        element(0x00283004, "LO", "US", implicit),
        element(0x00283006, "OW", data, implicit),
    )


def rle(cells: np.ndarray, cell_bytes: int = 2) -> bytes:
    """One frame in RLE Lossless, all literal runs."""
    words = (cells & 0xFFFF).astype("<u2")
    planes = [(words >> 8).astype(np.uint8), (words & 255).astype(np.uint8)][2 - cell_bytes :]
    segments = []
    for plane in planes:
        flat = plane.tobytes()
        runs = [flat[place : place + 128] for place in range(0, len(flat), 128)]
        packed = b"".join(bytes([len(run) - 1]) + run for run in runs)
        segments.append(packed + b"\0" * (len(packed) % 2))
    offsets = [64 + sum(map(len, segments[:place])) for place in range(len(segments))]
    return struct.pack("<16I", len(segments), *offsets, *[0] * (15 - len(offsets))) + b"".join(segments)


def saved(folder: Path, content: bytes, name: str = "file") -> Path:
    """A file of these bytes."""
    path = folder / name
    path.write_bytes(content)
    return path


def error_of(call: Any, *args: Any) -> str:
    """The InputError of a call: one line, without the patient's name that the files of the tests hold."""
    with pytest.raises(InputError) as caught:
        call(*args)
    assert "Doe" not in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)
