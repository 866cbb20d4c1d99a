"""Headers and pixel data as devices and archives write them: the right pixels, or one line that names the reason."""

from __future__ import annotations

import io
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monai_dgm.errors import InputError
from monai_dgm.readers.dicom.read import read_dicom

from .raw_files import EXPLICIT, IMPLICIT, Element, fragments, phantom, radiograph_bytes, rle

RLE, JPEG_LS, J2K, HTJ2K = (f"1.2.840.10008.1.2.{last}" for last in ("5", "4.80", "4.90", "4.201"))


def pixels_of(tmp_path: Path, content: bytes) -> np.ndarray:
    (tmp_path / "image.dcm").write_bytes(content)
    return read_dicom(tmp_path / "image.dcm").pixels


def refused(tmp_path: Path, content: bytes) -> str:
    with pytest.raises(InputError) as caught:
        pixels_of(tmp_path, content)
    message = str(caught.value)
    assert message.startswith(str(tmp_path)) and "\n" not in message and "Doe" not in message
    return message.replace(str(tmp_path), "")


def jpeg_ls(values: np.ndarray, bits: int) -> bytes:
    """A JPEG-LS stream of ``bits`` bits a sample."""
    module = pytest.importorskip("jpeg_ls")
    options = {"rows": values.shape[0], "columns": values.shape[1], "samples_per_pixel": 1, "bits_stored": bits}
    options |= {"bits_allocated": 16 if bits > 8 else 8, "photometric_interpretation": "MONOCHROME2"}
    data = values.astype("<u2" if bits > 8 else "u1").tobytes()
    return bytes(module.encode_pixel_data(data, **options))


def jpeg_2000(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(buffer, format="JPEG2000", no_jp2=True, irreversible=False)
    return buffer.getvalue()


def test_8_bits_in_cells_of_16(tmp_path: Path) -> None:
    values = phantom(top=255)
    for syntax, stream in ((JPEG_LS, jpeg_ls(values, 8)), (J2K, jpeg_2000(values))):
        content = radiograph_bytes(values, syntax=syntax, stored=8, pixel_data=fragments(stream))
        assert np.array_equal(pixels_of(tmp_path, content), values)


@pytest.mark.parametrize("signed", [0, 1])
def test_bits_beside_the_value_are_removed_from_compressed_pixels(tmp_path: Path, signed: int) -> None:
    values = phantom() - (2048 if signed else 0)
    overlay = (np.indices(values.shape).sum(0) % 7 == 0).astype(int) << 12
    for cells in (values & 0xFFF, (values & 0xFFF) | overlay, values & 0xFFFF):
        for syntax, stream in ((RLE, rle(cells)), (JPEG_LS, jpeg_ls(cells, 16)), (EXPLICIT, None)):
            data = None if stream is None else fragments(stream)
            content = radiograph_bytes(cells, None, syntax, signed=0, pixel_data=data)
            content = content.replace(b"\x28\0\x03\1US\2\0\0\0", b"\x28\0\x03\1US\2\0" + struct.pack("<H", signed))
            assert np.array_equal(pixels_of(tmp_path, content), values), syntax


@pytest.mark.parametrize("bits", [12, 16])
def test_signed_jpeg_ls(tmp_path: Path, bits: int) -> None:
    half = 1 << (bits - 1)
    values = phantom(top=2 * half - 1) - half
    stream = jpeg_ls(values & (2 * half - 1), bits)
    content = radiograph_bytes(values, None, JPEG_LS, bits, signed=1, pixel_data=fragments(stream))
    assert np.array_equal(pixels_of(tmp_path, content), values)


def test_high_throughput_jpeg_2000_is_one_of_still_images(tmp_path: Path) -> None:
    """Nothing at hand encodes it; a part 1 stream takes the same way, and what is none is told as damaged."""
    values = phantom(top=255)
    content = radiograph_bytes(values, None, HTJ2K, 8, 8, pixel_data=fragments(jpeg_2000(values)))
    assert np.array_equal(pixels_of(tmp_path, content), values)
    content = radiograph_bytes(values, None, HTJ2K, 8, 8, pixel_data=fragments(b"\xff\x4f\xff\x51 no stream"))
    assert "High-Throughput JPEG 2000" in refused(tmp_path, content)


@pytest.mark.parametrize(
    ("syntax", "name"),
    [("4.110", "JPEG XL Lossless"), ("4.112", "JPEG XL"), ("8.1", "Deflated Image Frame Compression")],
)
def test_compression_that_nothing_decodes_is_named(tmp_path: Path, syntax: str, name: str) -> None:
    content = radiograph_bytes(phantom(), None, f"1.2.840.10008.1.2.{syntax}", pixel_data=fragments(b"\0" * 64))
    assert f"no installed package decodes its pixel data ({name})" in refused(tmp_path, content)


def test_encapsulated_uncompressed(tmp_path: Path) -> None:
    data = phantom().astype("<u2").tobytes()
    content = radiograph_bytes(phantom(), None, "1.2.840.10008.1.2.1.98", pixel_data=fragments(data[:998], data[998:]))
    assert np.array_equal(pixels_of(tmp_path, content), phantom())


def test_rle_that_looks_like_jpeg(tmp_path: Path) -> None:
    values = phantom()
    values[3, :4] = [0xFFD8 & 0xFFF, 0xFFF, 0xFFC, 0x4F]
    values = values | (0xFF << 8 & 0x0F00)
    stream = rle(values)
    marked = radiograph_bytes(values, None, RLE, pixel_data=fragments(stream))
    assert np.array_equal(pixels_of(tmp_path, marked), values)
    bytes_like_markers = np.tile(np.array([0xFF, 0xD8, 0xFF, 0xC0, 0, 8, 0, 1], np.int64), (48, 6))
    content = radiograph_bytes(bytes_like_markers, None, RLE, 8, 8, pixel_data=fragments(rle(bytes_like_markers, 1)))
    assert np.array_equal(pixels_of(tmp_path, content), bytes_like_markers)


def test_rle_that_is_cut_or_of_other_planes(tmp_path: Path) -> None:
    stream = rle(phantom())
    content = radiograph_bytes(phantom(), None, RLE, pixel_data=fragments(stream[:-500]))
    assert "cut short" in refused(tmp_path, content)
    content = radiograph_bytes(phantom(), None, RLE, pixel_data=fragments(rle(phantom(top=255), 1)))
    assert "expected 2 RLE segments, got 1" in refused(tmp_path, content)


def test_compressed_pixels_without_delimiter(tmp_path: Path) -> None:
    stream = jpeg_2000(phantom(top=255))
    whole = radiograph_bytes(phantom(), None, J2K, 8, 8, pixel_data=fragments(stream, delimiter=False))
    assert np.array_equal(pixels_of(tmp_path, whole), phantom(top=255))
    assert "its pixel data cannot be decoded" in refused(tmp_path, whole[: -len(stream) // 2])
    assert "got no fragments" in refused(tmp_path, radiograph_bytes(phantom(), None, J2K, 8, 8, pixel_data=fragments()))


def test_jpeg_ls_that_is_cut_is_refused_at_once(tmp_path: Path) -> None:
    """From fuzzing: CharLS took ten seconds for a stream without its end."""
    stream = jpeg_ls(phantom(24, top=255), 8)
    for length in (len(stream) // 3, len(stream) // 2, len(stream) - 2):
        data = fragments(stream[:length], delimiter=False)
        content = radiograph_bytes(phantom(24), None, JPEG_LS, 8, 8, pixel_data=data)
        begin = time.perf_counter()
        assert "cut short" in refused(tmp_path, content)
        assert time.perf_counter() - begin < 1


@pytest.mark.parametrize("implicit", [False, True])
def test_empty_and_cut_pixel_data(tmp_path: Path, implicit: bool) -> None:
    syntax = IMPLICIT if implicit else EXPLICIT
    for value, number in ((b"", 0), (b"\0" * 100, 100)):
        content = radiograph_bytes(phantom(), {0x7FE00010: ("OW", value)}, syntax, implicit=implicit)
        words = f"plicit VR Little Endian, 16 bits), got {number}"
        message = refused(tmp_path, content)
        assert "expected 4608 bytes of pixel data (" in message and words in message
    whole = radiograph_bytes(phantom(), None, syntax, implicit=implicit)
    assert "got 4600" in refused(tmp_path, whole[:-8])
    assert ("no Pixel Data" if implicit else "ends within") in refused(tmp_path, whole[: -4608 - 2])


@pytest.mark.parametrize("syntax", ["", "1.2.840.10008.1.2.1\\1.2.840.10008.1.2", "\0\0"])
def test_transfer_syntax_without_a_single_value(tmp_path: Path, syntax: str) -> None:
    assert np.array_equal(pixels_of(tmp_path, radiograph_bytes(phantom(), syntax=syntax)), phantom())


def test_transfer_syntax_empty_in_implicit_vr(tmp_path: Path) -> None:
    assert np.array_equal(pixels_of(tmp_path, radiograph_bytes(phantom(), syntax="", implicit=True)), phantom())


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        (0x00280002, "Samples per Pixel (0028,0002)"),
        (0x00280010, "Rows (0028,0010)"),
        (0x00280011, "Columns (0028,0011)"),
        (0x00280100, "Bits Allocated (0028,0100)"),
        (0x00280101, "Bits Stored (0028,0101)"),
        (0x00280102, "High Bit (0028,0102)"),
        (0x00280103, "Pixel Representation (0028,0103)"),
        (0x00280120, "Pixel Padding Value (0028,0120)"),
    ],
)
def test_two_values_where_one_is_due(tmp_path: Path, tag: int, name: str) -> None:
    content = radiograph_bytes(phantom(), {tag: ("US", struct.pack("<HH", 1, 1))})
    assert f"expected one value of {name}, got 2" in refused(tmp_path, content)


@pytest.mark.parametrize("value", ["MONO\nCHROME", "Doe^Jane", "\xe4\xf6", "MONOCHROME2\\RGB"])
def test_words_of_a_header_are_not_repeated(tmp_path: Path, value: str) -> None:
    """From fuzzing: a line break within a code string."""
    message = refused(tmp_path, radiograph_bytes(phantom(), {0x00280004: ("CS", value)}))
    assert "other characters" in message or "expected one value" in message
    message = refused(tmp_path, radiograph_bytes(phantom(), syntax=b"1.2\n3"))
    assert "other characters" in message


def test_missing_samples_and_high_bit(tmp_path: Path) -> None:
    for value in (None, ("US", b"")):
        content = radiograph_bytes(phantom(), {0x00280002: value, 0x00280102: value})
        assert np.array_equal(pixels_of(tmp_path, content), phantom())


@pytest.mark.parametrize("value", [None, ("US", b"")])
def test_without_pixel_representation_only_what_has_no_sign_bit_is_read(tmp_path: Path, value: Element | None) -> None:
    low = phantom(top=2047)
    assert np.array_equal(pixels_of(tmp_path, radiograph_bytes(low, {0x00280103: value})), low)
    padding: Element = ("SS", -2000)
    content = radiograph_bytes(phantom() - 2000, {0x00280103: value, 0x00280120: padding}, signed=1)
    assert "its header lacks PixelRepresentation" in refused(tmp_path, content)


def test_big_endian_of_odd_length(tmp_path: Path) -> None:
    """8 bits in words of 16, as Explicit VR Big Endian writes them, with an odd number of pixels."""
    values = phantom(side=17, top=255)
    flat = np.append(values.ravel(), 0).astype(np.uint8)
    swapped = flat.reshape(-1, 2)[:, ::-1].tobytes()

    def element(tag: int, vr: str, value: bytes) -> bytes:
        length = struct.pack(">HI", 0, len(value)) if vr == "OW" else struct.pack(">H", len(value))
        return struct.pack(">HH", tag >> 16, tag & 0xFFFF) + vr.encode() + length + value

    def number(value: int) -> bytes:
        return struct.pack(">H", value)

    body = element(0x00080060, "CS", b"DX") + element(0x00280002, "US", number(1))
    body += element(0x00280004, "CS", b"MONOCHROME2 ")
    for tag, value in ((0x10, 17), (0x11, 17), (0x100, 8), (0x101, 8), (0x102, 7), (0x103, 0)):
        body += element(0x00280000 + tag, "US", number(value))
    whole = radiograph_bytes(values, syntax="1.2.840.10008.1.2.2")
    head = whole[: whole.index(b"\x08\0\x16\0UI")]
    assert np.array_equal(pixels_of(tmp_path, head + body + element(0x7FE00010, "OW", swapped)), values)
    assert "got 288" in refused(tmp_path, head + body + element(0x7FE00010, "OW", swapped[:288]))


def test_a_directory_and_a_report_are_no_images(tmp_path: Path) -> None:
    records = radiograph_bytes(phantom(), {0x00041220: ("SQ", b""), 0x7FE00010: None})
    assert "has no Pixel Data (7FE0,0010)" in refused(tmp_path, records)


def test_lengths_beyond_the_file_reserve_no_memory(tmp_path: Path) -> None:
    head = radiograph_bytes(phantom(), {0x7FE00010: None})
    assert "no Pixel Data" in refused(tmp_path, head + b"\x29\0\x10\0OB\0\0\xf0\xff\xff\xff" + bytes(64))
    assert "got 64" in refused(tmp_path, head + b"\xe0\x7f\x10\0OW\0\0\xf0\xff\xff\xff" + bytes(64))
    big = head + b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff" + b"\xfe\xff\0\xe0\0\0\0\0" + b"\xfe\xff\0\xe0\xf0\xff\xff\xff"
    big = big.replace(EXPLICIT.encode() + b"\0", J2K.encode()[:20].ljust(20, b"\0"))
    assert "expected" in refused(tmp_path, big + bytes(64))
