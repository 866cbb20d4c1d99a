"""Small files that stand for gigabytes, or for minutes of work: one line, in under a second."""

from __future__ import annotations

import gzip
import io
import struct
import time
import tracemalloc
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from monai_dgm.errors import InputError
from monai_dgm.readers.read import read_radiograph
from tests.readers.dicom.raw_files import fragments, phantom, radiograph_bytes, rle

MAX_SECONDS, MAX_BYTES = 1.0, 1 << 28


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(side: int, *more: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + b"".join(more)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


def jpeg(side: int, scans: int = 0) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(phantom(32, top=255).astype(np.uint8)).save(stream, format="JPEG", progressive=scans > 0)
    content = bytearray(stream.getvalue())
    place = content.index(b"\xff\xc2" if scans else b"\xff\xc0")
    content[place + 5 : place + 9] = struct.pack(">HH", side, side)
    last = content.rindex(b"\xff\xda")
    return bytes(content[:-2] + content[last:-2] * scans + content[-2:])


def nifti(side: int, offset: float = 352) -> bytes:
    header = nibabel.Nifti1Image(np.zeros((20, 20), np.uint8), np.eye(4)).header
    header.set_data_shape((side, side))
    header["vox_offset"] = offset
    return bytes(header.binaryblock)


def dicom(side: int, **options: object) -> bytes:
    changes = {0x00280010: ("US", side), 0x00280011: ("US", side)}
    return radiograph_bytes(phantom(24), changes, **options)  # type: ignore[arg-type]


def jpeg_2000(side: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(phantom(24, top=255).astype(np.uint8)).save(stream, format="JPEG2000", no_jp2=True)
    content = bytearray(stream.getvalue())
    content[8:16] = struct.pack(">II", side, side)
    return bytes(content)


J2K, BASELINE, RLE = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.5"
BOMBS = {
    "png, sides": lambda: png(60000),
    "png, below Pillow's own limit": lambda: png(9000),
    "png, compressed words": lambda: png(64, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 26), 9))),
    "png, pixels that end": lambda: png(7900),
    "jpeg, sides": lambda: jpeg(60000),
    "jpeg, scans": lambda: jpeg(7900, scans=4000),
    "nifti, sides": lambda: nifti(30000),
    "nifti, pixels that are not there": lambda: nifti(7900),
    "nifti, far pixels": lambda: nifti(64, offset=1e9),
    "nifti, zeros": lambda: gzip.compress(nifti(64, offset=1e9) + bytes(1 << 27), 9),
    "dicom, sides": lambda: dicom(65535),
    "dicom, pixels that are not there": lambda: dicom(7900),
    "dicom, frames": lambda: radiograph_bytes(phantom(24), {0x00280008: ("IS", "100000")}),
    "dicom, jpeg 2000": lambda: dicom(60000, syntax=J2K, stored=8, allocated=8, pixel_data=fragments(jpeg_2000(60000))),
    "dicom, jpeg": lambda: dicom(7900, syntax=BASELINE, stored=8, allocated=8, pixel_data=fragments(jpeg(7900, 4000))),
    "dicom, rle": lambda: dicom(7900, syntax=RLE, pixel_data=fragments(rle(phantom(24)))),
    "dicom, deflated": lambda: radiograph_bytes(phantom(24), syntax="1.2.840.10008.1.2.1.99"),
}


def test_nested_items_are_not_looked_into(tmp_path: Path) -> None:
    nested = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + b"\x40\x00\x60\x0a" + b"SQ\0\0\xff\xff\xff\xff"
    path = tmp_path / "image"
    path.write_bytes(radiograph_bytes(phantom(24), {0x00400555: ("SQ", nested * 20000)}))
    begin = time.process_time()
    assert np.array_equal(read_radiograph(path).pixels, phantom(24))
    assert time.process_time() - begin < MAX_SECONDS


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_ends_in_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / "image"
    path.write_bytes(BOMBS[name]())
    assert path.stat().st_size < 2_000_000
    read_radiograph(_small(tmp_path))  # what is imported late is no part of it
    tracemalloc.start()
    begin = time.process_time()
    with pytest.raises(InputError) as caught:
        read_radiograph(path)
    seconds = time.process_time() - begin
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "\n" not in str(caught.value) and str(caught.value).startswith(str(path))
    assert seconds < MAX_SECONDS and peak < MAX_BYTES, (seconds, peak)


def _small(folder: Path) -> Path:
    image = nibabel.Nifti1Image(phantom(24).astype(np.int16), np.eye(4))
    image.to_filename(folder / "small.nii")
    return folder / "small.nii"
