"""Modality LUT, VOI LUT and window by the standard, where other readers go wrong."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from monai_dgm.errors import InputError
from monai_dgm.readers.dicom.lut import UnusableLUT, window
from monai_dgm.readers.dicom.read import read_dicom
from monai_dgm.readers.radiograph import Radiograph

from .raw_files import EXPLICIT, IMPLICIT, Element, element, item, lut_item, phantom, radiograph_bytes

SLOPE, INTERCEPT, CENTER, WIDTH, FUNCTION = 0x00281053, 0x00281052, 0x00281050, 0x00281051, 0x00281056
MODALITY_LUT, VOI_LUT = 0x00283000, 0x00283010


def read(tmp_path: Path, content: bytes) -> Radiograph:
    (tmp_path / "image.dcm").write_bytes(content)
    return read_dicom(tmp_path / "image.dcm")


def rank(one: np.ndarray, other: np.ndarray) -> float:
    return float(spearmanr(one.ravel(), other.ravel())[0])


def test_a_window_rises_with_the_modality_value_where_the_slope_is_negative(tmp_path: Path) -> None:
    stored = 255 - np.rint(phantom() / 4095 * 255).astype(int)  # high stored values are air
    rescale: dict[int, Element | None] = {INTERCEPT: ("DS", "3000"), SLOPE: ("DS", "-10")}
    shown = {**rescale, CENTER: ("DS", "1700"), WIDTH: ("DS", "2600")}
    for changes in (rescale, shown):
        pixels = read(tmp_path, radiograph_bytes(stored, changes, stored=8, allocated=8)).pixels
        assert rank(pixels, -stored) == pytest.approx(1)
    expected = np.clip((3000 - 10 * stored - 1699.5) / 2599 + 0.5, 0, 1) * 2550 + 450  # C.11.2.1.2
    np.testing.assert_allclose(pixels, expected, rtol=1e-5)


@pytest.mark.parametrize("function", [None, "", "LINEAR", " LINEAR ", "linear"])
def test_a_window_without_function_is_linear(tmp_path: Path, function: str | None) -> None:
    changes: dict[int, Element | None] = {CENTER: ("DS", "1600"), WIDTH: ("DS", "1800")}
    changes[FUNCTION] = None if function is None else ("CS", function)
    image = read(tmp_path, radiograph_bytes(phantom(), changes))
    expected = np.clip((phantom() - 1599.5) / 1799 + 0.5, 0, 1) * 4095
    np.testing.assert_allclose(image.pixels, expected, rtol=1e-5)
    assert image.remarks == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({CENTER: ("DS", "1600"), WIDTH: ("DS", "1800"), FUNCTION: ("CS", "CUBIC")}, "VOI LUT Function (0028,1056)"),
        ({CENTER: ("DS", "1600"), WIDTH: ("DS", "0.5")}, "Window Width (0028,1051)"),
        ({CENTER: ("DS", "1e30"), WIDTH: ("DS", "100")}, "Window Center (0028,1050)"),
        ({VOI_LUT: ("SQ", item(element(0x00283002, "US", struct.pack("<3H", 9, 0, 16))))}, "VOI LUT Sequence"),
        ({VOI_LUT: ("SQ", lut_item(0, np.arange(9), 32))}, "32 bits an entry"),
    ],
)
def test_a_voi_transformation_that_is_none_leaves_the_image_and_a_remark(
    tmp_path: Path, changes: dict[int, Element | None], words: str
) -> None:
    image = read(tmp_path, radiograph_bytes(phantom(), changes))
    assert np.array_equal(image.pixels, phantom())
    assert len(image.remarks) == 1 and image.remarks[0].startswith("VOI not used") and words in image.remarks[0]


@pytest.mark.parametrize("empty", [("SQ", b""), ("SQ", item())])
@pytest.mark.parametrize("sequence", [MODALITY_LUT, VOI_LUT])
def test_an_empty_lut_is_absent(tmp_path: Path, empty: Element, sequence: int) -> None:
    changes: dict[int, Element | None] = {sequence: empty, INTERCEPT: ("DS", "-1000"), SLOPE: ("DS", "2")}
    changes |= {CENTER: ("DS", ""), WIDTH: ("DS", "")}
    image = read(tmp_path, radiograph_bytes(phantom(), changes))
    assert np.array_equal(image.pixels, phantom() * 2 - 1000) and image.remarks == ()


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("vr", ["US", "SS"])
def test_first_value_mapped_is_signed_where_the_rescale_can_be_negative(
    tmp_path: Path, implicit: bool, vr: str
) -> None:
    curve = np.rint(65535 / (1 + np.exp(-(np.arange(4096) - 1600) / 500)))
    changes: dict[int, Element | None] = {INTERCEPT: ("DS", "-1024"), SLOPE: ("DS", "1")}
    changes[VOI_LUT] = ("SQ", lut_item(-1024, curve, 16, implicit, vr))
    syntax = IMPLICIT if implicit else EXPLICIT
    image = read(tmp_path, radiograph_bytes(phantom(), changes, syntax, implicit=implicit))
    assert np.array_equal(image.pixels, curve[phantom()].astype(np.float32))


def test_first_value_mapped_is_unsigned_where_it_cannot(tmp_path: Path) -> None:
    stored = phantom(top=20000) + 40000
    curve = np.arange(20001) * 3
    changes: dict[int, Element | None] = {VOI_LUT: ("SQ", lut_item(40000, curve, 16))}
    assert np.array_equal(read(tmp_path, radiograph_bytes(stored, changes, stored=16)).pixels, (stored - 40000) * 3)


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 16])
@pytest.mark.parametrize("signed", [0, 1])
def test_modality_lut_of_any_depth(tmp_path: Path, bits: int, signed: int) -> None:
    table = np.rint(np.linspace(0, (1 << bits) - 1, 4096))
    first = -2048 if signed else 0
    changes: dict[int, Element | None] = {MODALITY_LUT: ("SQ", lut_item(first, table, bits))}
    image = read(tmp_path, radiograph_bytes(phantom() + first, changes, signed=signed))
    assert np.array_equal(image.pixels, table[phantom()])


@pytest.mark.parametrize("number", [255, 256])
def test_voi_lut_of_bytes_packed_or_in_words(tmp_path: Path, number: int) -> None:
    table = (np.sqrt(np.arange(number) / (number - 1)) * 255).astype(np.uint8)
    stored = np.minimum(np.rint(phantom() / 4095 * 255).astype(int), number - 1)
    descriptor = element(0x00283002, "US", struct.pack("<3H", number, 0, 8))
    packed = item(descriptor, element(0x00283006, "OW", table.tobytes() + b"\0" * (number % 2)))
    words = item(descriptor, element(0x00283006, "OW", table.astype("<u2").tobytes()))
    short_words = item(descriptor, element(0x00283006, "US", table.astype("<u2").tobytes()))
    for lut in (packed, words, short_words):
        content = radiograph_bytes(stored, {VOI_LUT: ("SQ", lut)}, stored=8, allocated=8)
        assert np.array_equal(read(tmp_path, content).pixels, table[stored])


def test_a_lut_of_65536_entries_says_0(tmp_path: Path) -> None:
    table = 65535 - np.arange(65536)
    stored = phantom(top=65535)
    image = read(tmp_path, radiograph_bytes(stored, {MODALITY_LUT: ("SQ", lut_item(0, table, 16))}, stored=16))
    assert np.array_equal(image.pixels, 65535 - stored)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({MODALITY_LUT: ("SQ", lut_item(0, np.arange(9), 3))}, "3 bits an entry"),
        ({MODALITY_LUT: ("SQ", item(element(0x00283002, "US", struct.pack("<3H", 9, 0, 16))))}, "LUT Descriptor"),
        ({SLOPE: ("DS", "many"), INTERCEPT: ("DS", "0")}, "Rescale Slope (0028,1053)"),
    ],
)
def test_a_modality_transformation_that_is_none_is_named(
    tmp_path: Path, changes: dict[int, Element | None], words: str
) -> None:
    with pytest.raises(InputError, match="expected a modality LUT or rescale that is valid") as caught:
        read(tmp_path, radiograph_bytes(phantom(), changes))
    assert words in str(caught.value)


def test_window_of_width_1_is_a_step() -> None:
    assert window(np.array([98.0, 99.5, 99.6, 101.0]), 100, 1).tolist() == [0, 0, 1, 1]
    with pytest.raises(UnusableLUT):
        window(np.zeros(2), 0, 0, "SIGMOID")
