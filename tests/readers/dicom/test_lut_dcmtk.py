"""Modality LUT, VOI LUT and window against DCMTK's ``dcm2pnm`` on generated files."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from scipy.stats import spearmanr

from monai_dgm.readers.dicom.data_set import BoundedFile, read_data_set
from monai_dgm.readers.dicom.image_pixel import read_image_pixel
from monai_dgm.readers.dicom.lut import modality_table, voi_table
from monai_dgm.readers.dicom.read import read_dicom

from .raw_files import EXPLICIT, IMPLICIT, Element, element, item, phantom, radiograph_bytes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("dcm2pnm") is None, reason="no dcm2pnm (package dcmtk)"),
]
FILES, PARTS = 600, 3
TOLERANCE = 1 / 255  # of the window
ENOUGH_LEVELS = 4
VOI_LUT = b"\x28\0\x10\x30"


def lut(generator: np.random.Generator, low: float, high: float, implicit: bool) -> bytes:
    """A random item of a LUT sequence that covers a good part of the values from ``low`` to ``high``."""
    span = int(min(high - low, 60000))
    number = int(generator.integers(max(span // 2, 2), span + 2))
    first = int(np.clip(round(low + generator.uniform(-0.1, 0.3) * span), -32768 if low < 0 else 0, 65535))
    if low < 0:
        first = min(first, 32767)
    bits = int(generator.choice([8, 8, 10, 12, 14, 16]))
    top = (1 << bits) - 1
    curve = np.linspace(0, 1, number) ** generator.uniform(0.5, 2)
    if generator.random() < 0.3:
        curve = curve[::-1]
    entries = np.rint(curve * top).astype("<u2")
    packed = bits == 8 and generator.random() < 0.5
    data = entries.astype("u1").tobytes() if packed else entries.tobytes()
    data += b"\0" * (len(data) % 2)
    vr = "SS" if low < 0 else "US"
    descriptor = struct.pack("<HHH", number & 0xFFFF, first & 0xFFFF, bits)
    return item(element(0x00283002, vr, descriptor, implicit), element(0x00283006, "OW", data, implicit))


def random_file(generator: np.random.Generator) -> bytes:
    """One radiograph with a random pixel description and random transformations."""
    stored = int(generator.integers(8, 17))
    allocated = 8 if stored == 8 and generator.random() < 0.5 else 16
    signed = int(generator.random() < 0.4)
    implicit = bool(generator.random() < 0.5)
    low, high = (-(1 << (stored - 1)), (1 << (stored - 1)) - 1) if signed else (0, (1 << stored) - 1)
    share = np.sort(generator.uniform(0, 1, 2)) if generator.random() < 0.5 else np.array([0.0, 1.0])
    share[1] = max(share[1], share[0] + 0.2)
    if stored >= 13:  # with fractions, dcm2pnm shows the very lowest value white
        share = 0.01 + 0.98 * share
    pixels = np.clip(np.rint(low + (share[0] + phantom(32) / 4095 * np.ptp(share)) * (high - low)), low, high)
    tags: dict[int, Element | None] = {0x00280004: ("CS", str(generator.choice(["MONOCHROME1", "MONOCHROME2"])))}
    modality_low, modality_high = float(low), float(high)
    kind = generator.choice(["none", "rescale", "rescale", "lut"])
    if kind == "rescale":
        # dcm2pnm rounds rescaled values to whole numbers: fractions only where that is finer than the tolerance
        slopes = [1, 2, 10, -1, -2, -10] + [0.1, 0.5, 1.5, -1.5] * (stored >= 13)
        slope = float(generator.choice(slopes))
        intercept = float(generator.integers(-3000, 3000))
        tags |= {0x00281052: ("DS", f"{intercept:g}"), 0x00281053: ("DS", f"{slope:g}")}
        modality_low, modality_high = sorted((low * slope + intercept, high * slope + intercept))
    elif kind == "lut":
        tags[0x00283000] = ("SQ", lut(generator, low, high, implicit))
        modality_low, modality_high = 0.0, None
    if modality_high is None:
        bits = struct.unpack_from("<H", tags[0x00283000][1], tags[0x00283000][1].index(b"\x28\0\2\x30") + 12)[0]
        modality_high = float((1 << bits) - 1)
    span = modality_high - modality_low
    voi = generator.choice(["none", "window", "window", "lut"])
    if voi == "lut" and "." in str(tags.get(0x00281053)):
        voi = "window"  # halves are rounded the other way by dcm2pnm, which is a step of a table of 8 bits
    if voi == "lut" and modality_low > -32768 and modality_high < 65536:
        tags[0x00283010] = ("SQ", lut(generator, modality_low, modality_high, implicit))
    elif voi != "none":
        width = generator.uniform(0.4, 1.5) * span
        center = modality_low + generator.uniform(0.3, 0.7) * span
        tags |= {0x00281050: ("DS", f"{center:.6g}"), 0x00281051: ("DS", f"{max(width, 2):.6g}")}
        tags[0x00281056] = [None, ("CS", ""), ("CS", "LINEAR"), ("CS", "SIGMOID")][generator.integers(4)]
    shape = [None, None, ("CS", "IDENTITY"), ("CS", "INVERSE")][generator.integers(4)]
    if shape is not None and (shape[1] == "INVERSE") == (tags[0x00280004][1] == "MONOCHROME1"):
        tags[0x20500020] = shape
    syntax = IMPLICIT if implicit else EXPLICIT
    return radiograph_bytes(pixels, tags, syntax, stored, allocated, signed, implicit=implicit)


def shown_by_dcmtk(path: Path, voi: list[str]) -> np.ndarray:
    """Display values of dcm2pnm in [0, 1]."""
    finished = subprocess.run(["dcm2pnm", "+opw", *voi, str(path)], capture_output=True, timeout=60)
    assert finished.returncode == 0, finished.stderr
    words = [line for line in finished.stdout.split(b"\n") if not line.startswith(b"#")]
    numbers = np.array(b" ".join(words).split()[1:], dtype=np.int64)
    cols, rows, top = numbers[:3]
    return numbers[3:].reshape(rows, cols) / top


def transformed(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Modality values and values of interest, each from 0 (black) to 1 (white) by the range they can take."""
    stored = pydicom.dcmread(path)
    with BoundedFile(str(path)) as stream:
        dataset = read_data_set("file", stream)
    image = read_image_pixel("file", dataset, 1e6)
    modality = modality_table(dataset, image)
    tables = (modality, voi_table(dataset, image, modality))
    dtype = f"<{'i' if image.signed else 'u'}{image.cell_bytes}"
    places = np.frombuffer(stored.PixelData, dtype, 32 * 32).reshape(32, 32).astype(int) - image.stored_range[0]
    modality_unit, voi_unit = (
        None if table is None else (table.values[places] - table.low) / (table.high - table.low) for table in tables
    )
    inverse = image.photometric == "MONOCHROME1" or dataset.get("PresentationLUTShape") == "INVERSE"
    assert modality_unit is not None
    if not inverse:
        return modality_unit, voi_unit
    return 1 - modality_unit, None if voi_unit is None else 1 - voi_unit


def rank(one: np.ndarray, other: np.ndarray) -> float:
    return float(spearmanr(one.ravel(), other.ravel())[0])


def rises_with(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two images are the same but for a scale above 0 and an offset."""
    unit = [(values.astype(np.float64) - values.min()) / np.ptp(values) for values in (one, other)]
    return bool(np.allclose(*unit, atol=1e-4))


@pytest.mark.parametrize("part", range(PARTS))
def test_generated_files(tmp_path: Path, part: int) -> None:
    """What is shown is what dcm2pnm shows, and what is read rises with it."""
    generator = np.random.default_rng(part)
    path = tmp_path / "image.dcm"
    with_voi = compared = 0
    for number in range(FILES // PARTS):
        content = random_file(generator)
        path.write_bytes(content)
        modality, voi = transformed(path)
        if min(len(np.unique(modality)), 9 if voi is None else len(np.unique(voi))) < ENOUGH_LEVELS:
            continue  # a random table that shows one grey
        image = read_dicom(path)
        assert image.remarks == ()
        # a VOI transformation that shows next to nothing is not used
        used = voi is not None and rises_with(image.pixels, voi)
        shown = shown_by_dcmtk(path, (["+Wl", "1"] if VOI_LUT in content else ["+Wi", "1"]) if used else [])
        expected = voi if used and voi is not None else modality
        where = f"part {part}, file {number}"
        assert np.abs(expected - shown).max() <= TOLERANCE, where
        with_voi += used
        assert rises_with(image.pixels, expected), where
        if np.ptp(shown) > 0.2:  # below, dcm2pnm's whole numbers make ties
            assert rank(image.pixels, shown) > 0.99, where
        compared += 1
    assert with_voi > 0.5 * FILES / PARTS and compared > 0.95 * FILES / PARTS  # else it would be a test of nothing
