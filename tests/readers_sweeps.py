"""Every reader on files with one element changed; run as a command, or by the slow tests with fewer of them.

``python -m tests.readers_sweeps`` prints how many files were read, refused in one line, and raised anything else.
"""

from __future__ import annotations

import itertools
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel
import numpy as np

from monai_dgm.errors import InputError
from monai_dgm.readers.dicom.read import read_header
from monai_dgm.readers.read import image_shape, read_radiograph
from monai_dgm.transforms.geometry import prepare_radiograph
from monai_dgm.transforms.preparation import header_remarks
from tests.readers.dicom.raw_files import Element, fragments, lut_item, phantom, radiograph_bytes, rle

MAX_SECONDS = 2.0
Outcome = Callable[[Path], None]

_NUMBERS: list[Element] = [
    ("US", value)
    for value in (
        b"",
        *(struct.pack("<H", number) for number in (0, 1, 2, 3, 7, 8, 9, 11, 12, 15, 16, 17, 32, 255, 4096, 65535)),
        struct.pack("<HH", 1, 1),
        struct.pack("<HH", 48, 65535),
        b"\1",
        b"\1\0\2",
    )
]
_OTHER_VR: list[Element] = [("DS", "12"), ("CS", "TEXT"), ("OB", b"\1\2\3\4"), ("UN", b"\0\1"), ("SQ", b"")]
_OTHER_VR += [("FD", b"\0" * 8), ("AT", b"\0\1\2\3")]
_DECIMALS: list[Element] = [
    ("DS", text)
    for text in (
        "",
        " ",
        "0",
        "1",
        "-1",
        "1e300",
        "-1e300",
        "1e-300",
        "nan",
        "inf",
        "abc",
        "1\\2",
        "\\",
        "0.5\\",
        "1,5",
    )
]
_WORDS: list[Element] = [
    ("CS", text)
    for text in ("", "MONOCHROME1", "RGB", "LINEAR", "SIGMOID", "INVERSE", "A\\B", "L\\F", "R\\H", "\xe4\xf6", "x" * 70)
]
_SEQUENCES: list[Element] = [
    ("SQ", content)
    for content in (
        b"",
        b"\xfe\xff\0\xe0\0\0\0\0",
        b"\xfe\xff\0\xe0\xff\xff\xff\xff",
        lut_item(0, np.arange(16), 16),
        lut_item(0, np.arange(4096), 8),
        lut_item(65535, np.arange(2), 16),
        lut_item(0, np.arange(0), 16),
        lut_item(0, np.arange(4096), 0),
        lut_item(0, np.arange(300), 12)[:-50],
        b"\0\0\0\0",
        b"\xfe\xff\0\xe0\4\0\0\0\x28\0\2\x30",
    )
]
_SEQUENCES += [("CS", "no sequence"), ("OB", b"\0" * 10), ("US", b"\1\0")]
_WHOLE_NUMBERS = (0x280002, 0x280008, 0x280010, 0x280011, 0x280100, 0x280101, 0x280102, 0x280103, 0x280120, 0x280121)
_DECIMAL_STRINGS = (0x281050, 0x281051, 0x281052, 0x281053, 0x280030, 0x181164)
_CODE_STRINGS = (0x280004, 0x281056, 0x20500020, 0x080060, 0x180015, 0x185101, 0x200020, 0x080068, 0x080005)
_TAGS: dict[int, list[Element]] = {
    **dict.fromkeys(_WHOLE_NUMBERS, _NUMBERS + _OTHER_VR),
    **dict.fromkeys(_DECIMAL_STRINGS, _DECIMALS + _OTHER_VR),
    **dict.fromkeys(_CODE_STRINGS, _WORDS + _OTHER_VR),
    **dict.fromkeys((0x283000, 0x283010, 0x540220), _SEQUENCES),
}
_SYNTAXES = ["", "1.2", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"]
_SYNTAXES += [f"1.2.840.10008.1.2.4.{last}" for last in (50, 51, 57, 70, 80, 90, 91, 201, 110)] + ["a\\b", "\xff" * 10]


def dicom_files() -> Iterator[bytes]:
    """Radiographs with one element of the header changed, missing, or cut."""
    pixels = phantom()
    basis: dict[int, Element | None] = {0x00281050: ("DS", "2000"), 0x00281051: ("DS", "3000")}
    for tag, values in _TAGS.items():
        yield radiograph_bytes(pixels, {**basis, tag: None})
        for value in values:
            yield radiograph_bytes(pixels, {**basis, tag: value})
    for syntax, data in itertools.product(_SYNTAXES, (None, fragments(rle(pixels)), fragments())):
        yield radiograph_bytes(pixels, basis, syntax.encode("latin-1"), pixel_data=data)
    whole = radiograph_bytes(pixels, basis)
    for length in (0, 1, 131, 132, 133, 140, 200, 300, 400, 500, 560, len(whole) // 2, len(whole) - 1):
        yield whole[:length]
    for place in range(132, 640, 3):
        for value in (0, 255):
            yield whole[:place] + bytes([value]) + whole[place + 1 :]


def nifti_files() -> Iterator[bytes]:
    """NIfTI-1 images with one byte or one field of the header changed."""
    image = nibabel.Nifti1Image(phantom().astype(np.int16), np.diag([-0.3, -0.2, 1, 1]))
    whole = image.to_bytes()
    for place in range(348):
        for value in (0, 1, 2, 4, 16, 63, 127, 128, 254, 255, whole[place] ^ 1, whole[place] ^ 128, whole[place] ^ 64):
            yield whole[:place] + bytes([value]) + whole[place + 1 :]
    numbers = [struct.pack("<f", value) for value in (0, -1, float("nan"), float("inf"), 1e38, 1e-38)]
    for place, number in itertools.product(range(76, 124, 4), numbers):
        yield whole[:place] + number + whole[place + 4 :]
    for place, number, code in itertools.product(range(252, 328, 4), numbers, (0, 1)):
        changed = bytearray(whole)
        struct.pack_into("<2h", changed, 252, 1, code)
        changed[place : place + 4] = number
        yield bytes(changed)


def use_radiograph(path: Path) -> None:
    """All that a run does with a file before a network sees it."""
    radiograph = read_radiograph(path)
    assert np.isfinite(radiograph.pixels).all() and radiograph.pixels.shape == image_shape(path)
    prepare_radiograph(radiograph.pixels, 32, valid=radiograph.valid, orientation=radiograph.orientation)
    header_remarks(radiograph)
    if radiograph.format == "nifti":
        assert np.isfinite(radiograph.affine).all()
    elif radiograph.format == "dicom":
        read_header(path)


def sweep(files: Iterator[bytes], suffix: str, use: Outcome = use_radiograph, step: int = 1) -> Counter[str]:
    """Use every ``step``-th file; counts of "read", "refused", and each other kind of exception or a slow one."""
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"image.{suffix}")
        for content in itertools.islice(files, 0, None, step):
            path.write_bytes(content)
            begin = time.perf_counter()
            try:
                use(path)
                counts["read"] += 1
            except InputError as error:
                one_line = "\n" not in str(error) and str(error).startswith(str(path)) and "Doe" not in str(error)
                counts["refused" if one_line else f"message: {error}"] += 1
            except Exception as error:
                counts[f"foreign: {type(error).__name__}: {error}"] += 1
            if time.perf_counter() - begin > MAX_SECONDS:
                counts["slow"] += 1
    return counts


def main() -> int:
    """Both sweeps whole."""
    bad = 0
    for name, files, suffix in (("DICOM", dicom_files(), "dcm"), ("NIfTI", nifti_files(), "nii")):
        counts = sweep(files, suffix)
        print(f"{name}: {counts.total()} files, {dict(counts)}")
        bad += counts.total() - counts["read"] - counts["refused"]
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())
