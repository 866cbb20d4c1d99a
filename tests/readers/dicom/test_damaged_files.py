"""DICOM files that are damaged in rare ways: one clear error, or read without what is damaged."""

from __future__ import annotations

import io
import struct
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from monai_dgm.readers.dicom import data_set, lut
from monai_dgm.readers.dicom.codestream import MissingDecoder, Samples, decode_codestream
from monai_dgm.readers.dicom.data_set import BoundedFile, PixelData, read_data_set, read_pixel_data
from monai_dgm.readers.dicom.decoders import _cells_of_samples
from monai_dgm.readers.dicom.image_pixel import ImagePixel, single_value, whole_number
from monai_dgm.readers.dicom.patient_orientation import read_kind, read_orientation
from monai_dgm.readers.dicom.read import _text, dicom_shape, read_dicom, read_header
from monai_dgm.readers.dicom.rle import DamagedRLE, decode_rle
from monai_dgm.readers.dicom.stream import StreamShape, stream_shape
from tests.readers.dicom.raw_files import error_of, fragments, item, phantom, radiograph_bytes, saved

RLE, JPEG, J2K = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90"


class Damaged(pydicom.Dataset):
    """A data set whose elements fail when they are asked for, as pydicom's do in a damaged file."""

    def get(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("Doe^Jane")


def test_elements_that_cannot_be_read_are_named_without_their_content() -> None:
    assert "is damaged" in error_of(single_value, "file", Damaged(), "Rows")
    with pytest.raises(lut.UnusableLUT, match="is damaged"):
        lut._value(Damaged(), "VOILUTSequence")


def test_what_only_describes_an_image_is_left_out_where_it_is_damaged() -> None:
    assert read_orientation(Damaged()) == (1, ()) and read_kind(Damaged()) == ()


@pytest.mark.parametrize("value", ["a", "1.5", "inf"])
def test_a_whole_number_is_expected(value: str) -> None:
    dataset = pydicom.Dataset()
    dataset.add_new(0x00280010, "LO", value)
    assert "expected a whole number" in error_of(whole_number, "file", dataset, "Rows")


@pytest.mark.parametrize("rows", [("US", 0), ("LO", "-3")])
def test_a_shape_needs_rows_and_columns(tmp_path: Path, rows: tuple[str, Any]) -> None:
    path = saved(tmp_path, radiograph_bytes(phantom(), {0x00280010: rows}))
    assert "Rows and Columns" in error_of(dicom_shape, path)


def test_a_header_is_read_without_pixels(tmp_path: Path) -> None:
    path = saved(tmp_path, radiograph_bytes(phantom(20)))
    assert read_header(path).Rows == 20 and "PixelData" not in read_header(path)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    assert "expected a readable DICOM file" in error_of(read_header, tmp_path / "none")


class Failing:
    """A stream that fails as a disk does, or as ``struct`` does at the end of a file."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def read(self, size: int = -1) -> bytes:
        raise self.error


@pytest.mark.parametrize(
    ("error", "expected"),
    [(OSError(5, "Input/output error"), "Input/output error"), (struct.error("x"), "ends within an element")],
)
def test_streams_that_fail(error: Exception, expected: str) -> None:
    stream: Any = Failing(error)
    assert expected in error_of(read_data_set, "file", stream)


def test_rle_needs_a_header_and_does_nothing_at_128() -> None:
    with pytest.raises(DamagedRLE, match="RLE header"):
        decode_rle(bytes(63), 1, 4, 1)
    header = struct.pack("<16L", 1, 64, *[0] * 14)
    cells = decode_rle(header + bytes([128, 3, 9, 8, 7, 6, 128]), 1, 4, 1)
    assert cells.tolist() == [[9, 8, 7, 6]]


@given(values=st.lists(st.integers(0, 255), min_size=1, max_size=300), data=st.data())
def test_rle_runs_give_what_was_packed(values: list[int], data: st.DataObject) -> None:
    """Each run is written as literal bytes or, where all its bytes are equal, as one repeated byte."""
    packed, place = bytearray(), 0
    while place < len(values):
        run = values[place : place + data.draw(st.integers(1, 128))]
        place += len(run)
        if len(run) > 1 and len(set(run)) == 1:
            packed += bytes([257 - len(run), run[0]])
        else:
            packed += bytes([len(run) - 1, *run])
        packed += bytes([128]) * data.draw(st.integers(0, 2))
    frame = struct.pack("<16L", 1, 64, *[0] * 14) + bytes(packed)
    assert decode_rle(frame, 1, len(values), 1).tolist() == [values]
    with pytest.raises(DamagedRLE, match="cut short"):
        decode_rle(frame, 1, len(values) + 1, 1)


def test_fill_bytes_and_markers_without_a_length_stand_before_a_jpeg_frame() -> None:
    buffer = io.BytesIO()
    Image.new("L", (50, 30)).save(buffer, format="JPEG")
    whole = buffer.getvalue()
    for extra in (b"\xff", b"\xff\x01", b"\xff\xff\xff\xd0"):
        assert stream_shape(whole[:2] + extra + whole[2:]) == StreamShape(30, 50, 1)
    assert stream_shape(whole[:2] + b"\xff\xe0\0\2" + b"no marker" + bytes(40)) is None


@pytest.mark.parametrize(
    ("shape", "module", "package"),
    [
        (StreamShape(4, 4, 1), "openjpeg", "pylibjpeg-openjpeg"),
        (StreamShape(4, 4, 1, marker=0xF7), "jpeg_ls", "pyjpegls"),
        (StreamShape(4, 4, 1, bits=16, marker=0xC3), "gdcm", "python-gdcm"),
    ],
)
def test_a_decoder_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, shape: StreamShape, module: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDecoder, match=package):
        decode_codestream(b"", shape)


def test_a_kind_of_jpeg_that_nothing_reads() -> None:
    with pytest.raises(ValueError, match="no decoder reads"):
        decode_codestream(b"", StreamShape(4, 4, 1, bits=12, marker=0xC5))


def test_compressed_pixels_under_a_native_syntax_and_native_ones_under_another(tmp_path: Path) -> None:
    values = phantom(24)
    path = saved(tmp_path, radiograph_bytes(values, pixel_data=fragments(b"abcd")))
    assert "transfer syntax of compressed images" in error_of(read_dicom, path)
    decompressed = read_dicom(saved(tmp_path, radiograph_bytes(values, syntax=RLE)))
    assert np.array_equal(decompressed.pixels, read_dicom(saved(tmp_path, radiograph_bytes(values))).pixels)
    path = saved(tmp_path, radiograph_bytes(values, syntax=RLE, pixel_data=fragments()))
    assert "no fragments" in error_of(read_dicom, path)


def test_an_element_with_a_value_that_is_no_list_is_its_value() -> None:
    class Single(pydicom.Dataset):
        def get(self, *args: Any, **kwargs: Any) -> Any:
            return 3 + 4j

    assert single_value("file", Single(), "Rows") == 3 + 4j


@pytest.mark.parametrize("read", [read_header, dicom_shape])
def test_a_data_set_that_the_library_cannot_parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Any) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise KeyError("Doe^Jane")

    monkeypatch.setattr("monai_dgm.readers.dicom.data_set.read_dataset", fail)
    assert "it is damaged (KeyError)" in error_of(read, saved(tmp_path, radiograph_bytes(phantom())))


def test_pixel_data_that_end_in_their_head_or_go_beyond_the_limit(tmp_path: Path) -> None:
    def read(content: bytes, limit: int = 9) -> PixelData:
        with BoundedFile(str(saved(tmp_path, content))) as stream:
            assert stream.readable() and stream.seekable()
            return read_pixel_data("file", stream, 8, limit)

    head = b"\xe0\x7f\x10\x00OB\0\0"
    assert "no Pixel Data" in error_of(read, b"\x08\0\x08\0UI\4\0abcd")
    assert "ends within Pixel Data" in error_of(read, head + b"\4\0")
    assert read(head + b"\4\0\0\0abcd").value == b"abcd"
    assert read(fragments(b"12", b"3456")).fragments == (b"12", b"3456")
    assert "at most 9 bytes" in error_of(read, fragments(b"123456", b"7890"))


@pytest.mark.parametrize("bits", [8, 16])
def test_a_stream_of_another_size_or_depth_than_the_header_says(tmp_path: Path, bits: int) -> None:
    buffer = io.BytesIO()
    Image.fromarray(phantom(24, 255).astype(np.uint8)).save(buffer, format="JPEG2000", no_jp2=True)
    stream = bytearray(buffer.getvalue())
    stream[42] = bits  # one more bit than its place says, in the stream's component
    content = radiograph_bytes(phantom(24), None, J2K, 8, 8, pixel_data=fragments(bytes(stream)))
    assert "a pixel as its header says" in error_of(read_dicom, saved(tmp_path, content))


@given(stored=st.integers(3, 16), bits=st.integers(2, 15), data=st.data())
def test_unsigned_samples_of_signed_values_get_their_sign_back(stored: int, bits: int, data: st.DataObject) -> None:
    """Encoders write the two's complement of a signed value in as many bits as the stream has."""
    bits = min(bits, stored - 1)
    values = np.array([[data.draw(st.integers(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)) for _ in range(4)]])
    image = replace(DX, signed=True, stored=stored)
    samples = Samples((values & ((1 << bits) - 1)).astype(np.uint16), bits)
    assert np.array_equal(_cells_of_samples(image, samples), values)
    assert np.array_equal(_cells_of_samples(replace(image, signed=False), samples), samples.values)


DX = ImagePixel(1, 4, "MONOCHROME2", allocated=16, stored=12, high_bit=11, signed=False, syntax="")


def table(descriptor: Any, data: Any) -> lut.LookupTable | None:
    inner = pydicom.Dataset()
    inner.LUTDescriptor, inner.LUTData = [0, 0, 16], [0]
    outer = pydicom.Dataset()
    outer.VOILUTSequence = [inner]
    values = {"VOILUTSequence": outer.VOILUTSequence, "LUTDescriptor": descriptor, "LUTData": data}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lut, "_value", lambda dataset, keyword: values[keyword])
        return lut._first_table(outer, "VOILUTSequence", False, DX)


@given(st.lists(st.integers(0, 255), min_size=2, max_size=40))
def test_entries_of_8_bits_are_the_same_in_each_way_that_they_are_stored(entries: list[int]) -> None:
    packed = bytes(entries) + b"\0" * (len(entries) % 2)
    descriptor = struct.pack("<3H", len(entries), 0, 8)
    words = np.frombuffer(packed, "<u2").tolist()
    for data in (packed, words, entries, np.array(entries, "<u2").tobytes()):
        found = table(descriptor, data)
        assert found is not None and found.entries.tolist() == entries


@pytest.mark.parametrize(
    ("descriptor", "data", "words"),
    [
        ([3, 0], [1, 2, 3], "other than three whole numbers"),
        ("abc", [1, 2, 3], "other than three whole numbers"),
        ([3, 0, 16], ["a", "b", "c"], "no whole numbers"),
        ([3, 0, 16], [1, 2], "2 entries, its descriptor says 3"),
    ],
)
def test_a_lookup_table_that_contradicts_itself(descriptor: Any, data: Any, words: str) -> None:
    with pytest.raises(lut.UnusableLUT, match=words):
        table(descriptor, data)


def test_a_sequence_is_expected() -> None:
    dataset = pydicom.Dataset()
    dataset.VOILUTSequence = []
    with pytest.MonkeyPatch.context() as patch, pytest.raises(lut.UnusableLUT, match="is no sequence"):
        patch.setattr(lut, "_value", lambda dataset, keyword: "text")
        lut._first_table(dataset, "VOILUTSequence", False, DX)


def test_text_of_a_damaged_element_is_unknown(tmp_path: Path) -> None:
    assert _text(Damaged(), "Modality") is None


def test_native_pixels_of_another_length_under_a_compressed_syntax(tmp_path: Path) -> None:
    values = phantom(24)
    pixel_data = b"\xe0\x7f\x10\x00OW\0\0" + struct.pack("<I", 48) + bytes(48)
    path = saved(tmp_path, radiograph_bytes(values, syntax=RLE, pixel_data=pixel_data))
    assert "bytes without items" in error_of(read_dicom, path)


def test_a_data_set_without_pixel_data(tmp_path: Path) -> None:
    path = saved(tmp_path, radiograph_bytes(phantom(24), {0x7FE00010: None}))
    assert "has no Pixel Data" in error_of(read_dicom, path)


def test_a_directory_of_dicom_files_is_no_image(tmp_path: Path) -> None:
    path = saved(tmp_path, radiograph_bytes(phantom(24), {0x7FE00010: None, 0x00041220: ("SQ", item(b""))}))
    assert "DICOMDIR" in error_of(read_dicom, path)


def test_a_transfer_syntax_that_cannot_be_read_is_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, radiograph_bytes(phantom(24)))
    whole = read_dicom(path).pixels
    parse = data_set.read_dataset

    def damaged_meta(*args: Any, **kwargs: Any) -> Any:
        found = parse(*args, **kwargs)
        return Damaged(found) if "TransferSyntaxUID" in found else found

    monkeypatch.setattr(data_set, "read_dataset", damaged_meta)
    assert np.array_equal(read_dicom(path).pixels, whole)


def test_a_decoder_that_gives_another_shape_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    Image.fromarray(phantom(16, 255).astype(np.uint8)).save(buffer, format="JPEG")
    content = radiograph_bytes(phantom(16), None, JPEG, 8, 8, pixel_data=fragments(buffer.getvalue()))
    path = saved(tmp_path, content)
    assert read_dicom(path).pixels.shape == (16, 16)
    wrong = Samples(np.zeros((16, 8), np.uint8), 8)
    monkeypatch.setattr("monai_dgm.readers.dicom.decoders.decode_codestream", lambda stream, shape: wrong)
    assert "expected 16 x 16 pixels as its header says" in error_of(read_dicom, path)
