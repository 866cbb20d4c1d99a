"""Compressed pixels: the same image out, or one line."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from monai_dgm.errors import InputError
from monai_dgm.readers.dicom.read import read_dicom
from tests.dicom_files import DicomWriter

from .raw_files import IDS, phantom, radiograph_bytes

JPEG, JPEG_LOSSLESS, JPEG_LS, J2K = (f"1.2.840.10008.1.2.4.{last}" for last in (50, 70, 80, 90))


@pytest.fixture
def smooth() -> np.ndarray:
    """uint8 (40, 56), a smooth image."""
    y, x = np.mgrid[:40, :56]
    return (100 + 60 * np.sin(x / 9) + 50 * np.cos(y / 7)).astype(np.uint8)


def encode(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=kind, **options)
    return buffer.getvalue()


def message(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_dicom(path)
    text = str(caught.value)
    assert text.startswith(str(path)) and "\n" not in text
    return text


def test_jpeg_2000(write_dicom: DicomWriter, smooth: np.ndarray) -> None:
    path = write_dicom(smooth, syntax=J2K, stream=encode(smooth, "JPEG2000", no_jp2=True, irreversible=False))
    assert np.array_equal(read_dicom(path).pixels, smooth)


def test_jpeg_ls(write_dicom: DicomWriter, ramp: np.ndarray) -> None:
    jpeg_ls = pytest.importorskip("jpeg_ls")
    path = write_dicom(ramp, syntax=JPEG_LS, BitsStored=16, stream=bytes(jpeg_ls.encode_array(ramp)))
    assert np.array_equal(read_dicom(path).pixels, ramp)


def test_rle(write_dicom: DicomWriter, ramp: np.ndarray) -> None:
    path = write_dicom(ramp)
    dataset = pydicom.dcmread(path)
    dataset.SOPInstanceUID = "1.2.3"
    dataset.compress(pydicom.uid.RLELossless)
    dataset.save_as(str(path))
    assert np.array_equal(read_dicom(path).pixels, ramp)


def test_jpeg_baseline(write_dicom: DicomWriter, smooth: np.ndarray) -> None:
    path = write_dicom(smooth, syntax=JPEG, stream=encode(smooth, "JPEG", quality=95))
    assert np.abs(read_dicom(path).pixels - smooth).max() <= 6


def compressed_by_gdcm(path: Path, syntax: str) -> Path:
    """The same image in another transfer syntax, as GDCM writes it."""
    gdcm = pytest.importorskip("gdcm", reason="python-gdcm is not installed")
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    target = path.with_name(f"{syntax}.dcm")
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(target))
    assert writer.Write()
    return target


@pytest.mark.parametrize("syntax", [JPEG_LOSSLESS, "1.2.840.10008.1.2.4.57"])
@pytest.mark.parametrize(("stored", "signed"), [(8, 0), (12, 0), (16, 0), (16, 1)])
def test_lossless_jpeg(tmp_path: Path, syntax: str, stored: int, signed: int) -> None:
    pixels = phantom(top=(1 << stored) - 1) - (1 << (stored - 1) if signed else 0)
    native = tmp_path / "native.dcm"
    native.write_bytes(radiograph_bytes(pixels, IDS, stored=stored, allocated=8 if stored == 8 else 16, signed=signed))
    compressed = compressed_by_gdcm(native, syntax)
    assert compressed.read_bytes() != native.read_bytes()
    assert np.array_equal(read_dicom(compressed).pixels, read_dicom(native).pixels)


def test_jpeg_of_12_bits(tmp_path: Path) -> None:
    native = tmp_path / "native.dcm"
    native.write_bytes(radiograph_bytes(phantom(), IDS, stored=12, allocated=16, signed=0))
    found = read_dicom(compressed_by_gdcm(native, "1.2.840.10008.1.2.4.51")).pixels
    wanted = read_dicom(native).pixels
    assert 0 < np.abs(found - wanted).max() < 0.02 * (wanted.max() - wanted.min())  # lossy, and close


def test_damaged_stream(write_dicom: DicomWriter, smooth: np.ndarray) -> None:
    stream = encode(smooth, "JPEG2000", no_jp2=True, irreversible=False)
    text = message(write_dicom(smooth, syntax=J2K, stream=stream[:120] + b"\xff\x00" * 20))
    assert "JPEG 2000 Image Compression (Lossless Only), 8 bits" in text and "pylibjpeg-openjpeg" in text
    assert "JPEG Baseline" in message(write_dicom(smooth, syntax=JPEG, stream=b"\xff\xd8\xff\xe0 no jpeg"))


def test_missing_decoder_is_named(write_dicom: DicomWriter, ramp: np.ndarray) -> None:
    text = message(write_dicom(ramp, syntax=JPEG_LOSSLESS, stream=b"\xff\xd8\xff\xd9"))
    assert "JPEG Lossless" in text and "python-gdcm" in text
    frame_header = b"\xff\xc3\x00\x0b\x10" + bytes([0, 24, 0, 32, 1, 1, 0x11, 0])  # 16 bits, 24 x 32, one component
    text = message(write_dicom(ramp, syntax=JPEG_LOSSLESS, stream=b"\xff\xd8" + frame_header + b"\xff\xda\0\x08"))
    assert "JPEG Lossless" in text and "python-gdcm" in text


@pytest.mark.parametrize(("shape", "expected"), [((24, 40), "24 x 40"), ((8, 32), "at least 16")])
def test_stream_of_another_size_is_refused(write_dicom: DicomWriter, shape: tuple[int, int], expected: str) -> None:
    other = np.zeros(shape, dtype=np.uint8)
    for syntax, kind, options in ((J2K, "JPEG2000", {"no_jp2": True}), (JPEG, "JPEG", {})):
        path = write_dicom(np.zeros((24, 32), np.uint8), syntax=syntax, stream=encode(other, kind, **options))
        assert expected in message(path)


def test_a_bomb_is_refused_by_what_its_stream_declares(write_dicom: DicomWriter, smooth: np.ndarray) -> None:
    stream = bytearray(encode(smooth, "JPEG2000", no_jp2=True))
    stream[8:16] = (60000).to_bytes(4, "big") * 2
    assert "expected at most 64000000 pixels, got 60000 x 60000" in message(
        write_dicom(smooth, syntax=J2K, stream=bytes(stream))
    )


def test_colour_in_a_grey_file_is_refused(write_dicom: DicomWriter, smooth: np.ndarray) -> None:
    colour = np.stack([smooth, smooth, smooth], -1)
    assert "3 components" in message(write_dicom(smooth, syntax=JPEG, stream=encode(colour, "JPEG")))


@pytest.mark.parametrize(
    ("syntax", "expected"),
    [
        ("1.2.840.10008.1.2.4.102", "expected a transfer syntax of still images"),  # MPEG-4
        ("1.2.3.4", "expected a transfer syntax of still images, got '1.2.3.4'"),
        ("1.2.840.10008.1.2.1", "expected a transfer syntax of compressed images, got Explicit VR Little Endian"),
    ],
)
def test_syntax_that_does_not_fit_its_pixels(
    write_dicom: DicomWriter, smooth: np.ndarray, syntax: str, expected: str
) -> None:
    path = write_dicom(smooth, syntax=JPEG, stream=encode(smooth, "JPEG"))
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    with open(path, "wb") as stream:  # pydicom would refuse to write this
        stream.write(b"\0" * 128 + b"DICM")
        pydicom.filewriter.write_file_meta_info(stream, dataset.file_meta)
        buffer = pydicom.filebase.DicomBytesIO()
        buffer.is_little_endian, buffer.is_implicit_VR = True, False
        pydicom.filewriter.write_dataset(buffer, dataset)
        stream.write(buffer.getvalue())
    assert expected in message(path)
