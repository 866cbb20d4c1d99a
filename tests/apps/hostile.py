"""Hostile requests: names, damaged documents, and small files that declare huge images."""

from __future__ import annotations

import copy
import gzip
import io
import json
import struct
import zlib
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian

from monai_dgm.labelling.dicom_objects.derived import encode_dicom

MARK = "Zzyzx"  # in whatever is sent; may be in no answer and no log
NAMES = [
    f"../{MARK}",
    f"../../../../tmp/{MARK}",
    f"%2e%2e%2f{MARK}",
    f"%252e%252e%252f{MARK}",
    f"/etc/{MARK}",
    f"file:///etc/{MARK}",
    f"C:\\{MARK}",
    f"\\\\host\\{MARK}",
    f"{MARK}\0.png",
    f"{MARK}\r\nX-Evil: 1",
    f".monai_dgm/labels/{MARK}",
    f"{MARK}" * 1000,
    f"\u202e{MARK}\u2028",
    f"\u0665{MARK}\U0001fac1",
    f"$({MARK})",
    f"' OR 1=1 --{MARK}",
    f"{{{{{MARK}}}}}",
    f"~{MARK}",
]
MARKUPS = {
    "markups": [
        {
            "type": "ROI",
            "coordinateSystem": "LPS",
            "center": [20.0, 30.0, 0.0],
            "size": [10.0, 12.0, 1.0],
            "orientation": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
            "controlPoints": [{"label": MARK, "position": [20.0, 30.0, 0.0]}],
        }
    ]
}
BOXES = {"status": "boxes", "boxes": [{"box": [10, 20, 60, 70], "label": "lung_opacity", "score": 0.5}]}
COCO = {
    "images": [{"id": 1, "file_name": f"{MARK}.png", "image_id": "c", "width": 120, "height": 90}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 20, 30, 40]}],
    "categories": [{"id": 1, "name": "lung_opacity"}],
}
# what each document cannot do without
PLACES: list[tuple[dict[str, Any], list[tuple[Any, ...]]]] = [
    (MARKUPS, [("markups",), ("markups", 0), *((("markups", 0, "center", i)) for i in range(3))]),
    (
        BOXES,
        [("status",), ("boxes",), ("boxes", 0), ("boxes", 0, "box"), *((("boxes", 0, "box", i)) for i in range(4))],
    ),
    (
        COCO,
        [
            *((key,) for key in COCO),
            *((key, 0) for key in COCO),
            ("images", 0, "width"),
            ("annotations", 0, "bbox"),
            *((("annotations", 0, "bbox", i)) for i in range(4)),
        ],
    ),
]
WRONG: list[Any] = [None, True, 10**400, -1e300, float("nan"), float("inf"), MARK, f"../{MARK}", "\ud800", [[]]]
WRONG += [{"a": {}}, [None], [MARK] * 5000]


def malformed(kind: int, seed: int) -> bytes:
    """A document of :data:`PLACES`, damaged in one of six ways."""
    random = np.random.default_rng(seed)
    document, places = PLACES[kind]
    text = json.dumps(document).encode()
    way = seed % 6
    if way == 0:
        return text[: random.integers(0, len(text) - 1)]
    if way == 1:
        return random.bytes(int(random.integers(1, 3000)))
    if way == 2:
        depth = int(random.integers(2000, 50_000))
        return b'{"markups": ' + b'[{"a": ' * depth + b"0" + b"}]" * depth + b"}"
    if way == 3:  # a list or a number in the place of the object
        return json.dumps([[document], list(document.values()), MARK, 10**400, None][seed // 6 % 5]).encode()
    if way == 4:  # one key twice
        return text[:-1] + b', "' + next(iter(document)).encode() + b'": []}'
    return json.dumps(replaced(document, places[random.integers(len(places))], WRONG[seed // 6 % len(WRONG)])).encode()


def replaced(document: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """A copy with another value somewhere."""
    found: Any = copy.deepcopy(document)
    holder = found
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    return found


def png(rows: int, cols: int, *more: tuple[bytes, bytes]) -> bytes:
    """A PNG that declares rows x cols pixels and holds 100 bytes."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", cols, rows, 8, 0, 0, 0, 0)), *more]
    chunks += [(b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def jpeg(side: int) -> bytes:
    """A JPEG of 16 x 16 pixels that declares side x side."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(buffer, "JPEG")
    content = bytearray(buffer.getvalue())
    place = content.index(b"\xff\xc0") + 5
    content[place : place + 4] = struct.pack(">HH", side, side)
    return bytes(content)


def dicom(**tags: Any) -> bytes:
    """A radiograph of 4 x 4 pixels with other elements than it should have."""
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.PatientName = MARK
    dataset.Modality, dataset.PhotometricInterpretation = "DX", "MONOCHROME2"
    dataset.Rows = dataset.Columns = 4
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelData = bytes(16)
    for name, value in tags.items():
        setattr(dataset, name, value)
    return encode_dicom(dataset)


def nifti(shape: tuple[int, ...], inflated: int = 0) -> bytes:
    """A NIfTI-1 file, compressed, that declares a shape and has no pixels, or zeros that take nothing compressed."""
    header = bytearray(348)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, len(shape), *shape, *[1] * (7 - len(shape)))
    struct.pack_into("<hh", header, 70, 64, 64)
    struct.pack_into("<f", header, 108, 352.0)
    header[344:348] = b"n+1\0"
    return gzip.compress(bytes(header) + bytes(4) + bytes(inflated), 1)


def bombs() -> dict[str, bytes]:
    """Small files that would be huge, by file name."""
    return {
        "bomb1.png": png(60_000, 60_000),
        "bomb2.png": png(2**31 - 1, 2**31 - 1),
        "bomb3.png": png(64, 64, (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(200_000_000), 1))),
        "bomb4.jpg": jpeg(65_500),
        "bomb5.dcm": dicom(Rows=65_535, Columns=65_535),
        "bomb6.dcm": dicom(NumberOfFrames=1_000_000),
        "bomb7.dcm": dicom(Rows=0),
        "bomb8.nii.gz": nifti((30_000, 30_000)),
        "bomb9.nii.gz": nifti((32_767, 32_767, 1), 200_000_000),
        "bomb10.nii.gz": nifti((64, 64, 30_000, 30_000)),
    }
