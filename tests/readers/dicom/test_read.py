"""The grayscale pipeline, one rule a test; then files that are none."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pydicom
import pytest

from monai_dgm.errors import InputError
from monai_dgm.readers.dicom.read import _plane_affine, dicom_shape, read_dicom
from monai_dgm.transforms.geometry import prepare_radiograph
from tests.dicom_files import PATIENT, DicomWriter, lut


def fails(path: Path, *expected: str) -> None:
    """Reading raises one line that names the file and holds the ``expected`` texts, and no patient."""
    with pytest.raises(InputError) as caught:
        read_dicom(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message and PATIENT not in message
    for text in expected:
        assert text in message


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME2", None, False),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME1", None, True),
        ("MONOCHROME1", "INVERSE", True),  # what a DX image for presentation must say: one inversion, not two
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", True),
    ],
)
def test_bright_is_dense_exactly_once(
    write_dicom: DicomWriter, ramp: np.ndarray, photometric: str, shape: str | None, inverted: bool
) -> None:
    path = write_dicom(ramp, PhotometricInterpretation=photometric, PresentationLUTShape=shape)
    expected = ramp.max() - ramp if inverted else ramp
    assert np.array_equal(read_dicom(path).pixels, expected.astype(np.float32))


@pytest.mark.parametrize(
    ("dtype", "stored", "low", "high"),
    [("u1", 8, 0, 255), ("u2", 10, 0, 1023), ("u2", 12, 0, 4095), ("u2", 16, 0, 65535), ("i2", 12, -2048, 2047)],
)
def test_bits_and_sign(write_dicom: DicomWriter, dtype: str, stored: int, low: int, high: int) -> None:
    pixels = np.linspace(low, high, 24 * 32).astype(dtype).reshape(24, 32)
    radiograph = read_dicom(write_dicom(pixels, BitsStored=stored))
    assert np.array_equal(radiograph.pixels, pixels.astype(np.float32))
    assert radiograph.pixels.dtype == np.float32 and radiograph.bits == stored


@pytest.mark.parametrize("dtype", ["u2", "i2"])
def test_bits_beside_the_value_are_removed(write_dicom: DicomWriter, dtype: str) -> None:
    pixels = (np.arange(24 * 32) - (384 if dtype == "i2" else 0)).astype(dtype).reshape(24, 32)
    overlay = np.zeros_like(pixels)
    overlay[:5] = 1 << 14  # an overlay plane in an unused bit
    raised = pixels ^ overlay
    assert np.array_equal(read_dicom(write_dicom(raised, BitsStored=12)).pixels, pixels)
    shifted = (pixels << 4).astype(dtype)
    assert np.array_equal(read_dicom(write_dicom(shifted, BitsStored=12, HighBit=15)).pixels, pixels)


def test_rescale(write_dicom: DicomWriter, ramp: np.ndarray) -> None:
    rescaled = read_dicom(write_dicom(ramp, RescaleSlope="-0.5", RescaleIntercept="100")).pixels
    assert np.allclose(rescaled, 100 - 0.5 * ramp.astype(np.float32))


def test_modality_lut(write_dicom: DicomWriter, ramp: np.ndarray) -> None:
    table = [int(value) for value in 1000 + np.arange(768)[::-1]]
    path = write_dicom(ramp, ModalityLUTSequence=pydicom.Sequence([lut(0, table)]))
    assert np.array_equal(read_dicom(path).pixels, np.asarray(table)[ramp])


def test_linear_window_clips_and_keeps_order(write_dicom: DicomWriter, ramp: np.ndarray) -> None:
    pixels = read_dicom(write_dicom(ramp, WindowCenter="384", WindowWidth="400")).pixels
    inside = (ramp > 190) & (ramp < 580)
    assert np.unique(pixels[ramp < 180]).size == 1 and np.unique(pixels[ramp > 590]).size == 1
    steps = np.diff(pixels[inside])
    assert (steps > 0).all() and np.allclose(steps, steps[0], rtol=1e-3)


@pytest.mark.parametrize("function", ["LINEAR_EXACT", "SIGMOID"])
def test_window_functions_agree_with_their_formulas(write_dicom: DicomWriter, ramp: np.ndarray, function: str) -> None:
    path = write_dicom(ramp, WindowCenter="384", WindowWidth="400", VOILUTFunction=function)
    x = (ramp.astype(np.float64) - 384) / 400
    unit = np.clip(x + 0.5, 0, 1) if function == "LINEAR_EXACT" else 1 / (1 + np.exp(-4 * x))  # PS3.3 C.11.2.1.3
    assert np.allclose(read_dicom(path).pixels, 65535 * unit, atol=0.1)


def test_voi_lut_goes_before_window_and_takes_rescaled_values(write_dicom: DicomWriter, ramp: np.ndarray) -> None:
    table = [int(value) for value in np.sqrt(np.arange(768)) * 1000]
    path = write_dicom(
        ramp,
        VOILUTSequence=pydicom.Sequence([lut(0, table)]),
        WindowCenter="384",
        WindowWidth="400",
        RescaleSlope="0.1",
        RescaleIntercept="0",
        BitsStored=12,
    )
    assert np.array_equal(read_dicom(path).pixels, np.asarray(table)[np.rint(ramp * 0.1).astype(int)])


@pytest.mark.parametrize(
    ("center", "width"), [("384", "20"), ("384", "0"), ("90000", "10"), ("384", "-5"), (["384", "1"], ["20", "2"])]
)
def test_a_window_that_shows_next_to_nothing_is_not_used(
    write_dicom: DicomWriter, ramp: np.ndarray, center: str, width: str
) -> None:
    assert np.array_equal(read_dicom(write_dicom(ramp, WindowCenter=center, WindowWidth=width)).pixels, ramp)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("value", "limit"), [(60000, None), (0, None), (59000, 60000), (60000, 59000)])
def test_padding_is_darkest_and_leaves_the_range_alone(
    write_dicom: DicomWriter, ramp: np.ndarray, photometric: str, value: int, limit: int | None
) -> None:
    pixels = ramp + 1000
    pixels[:, :6] = value
    pixels[:, 6:8] = value if limit is None else limit
    tags = {"PixelPaddingValue": value, "PixelPaddingRangeLimit": limit, "PhotometricInterpretation": photometric}
    radiograph = read_dicom(write_dicom(pixels, **tags))
    assert radiograph.valid is not None
    assert np.array_equal(~radiograph.valid, np.arange(32)[None].repeat(24, 0) < 8)
    inner = radiograph.pixels[:, 8:]
    assert np.unique(radiograph.pixels[:, :8]).tolist() == [inner.min()]
    assert inner.max() - inner.min() == ramp[:, 8:].max() - ramp[:, 8:].min()
    _, geometry = prepare_radiograph(radiograph.pixels, 32, "stretch", None, None, radiograph.valid)
    _, alone = prepare_radiograph(inner, 32, "stretch", None)
    assert geometry.high - geometry.low == pytest.approx(alone.high - alone.low, rel=0.05)


def test_signed_padding_written_as_unsigned(write_dicom: DicomWriter) -> None:
    pixels = np.arange(24 * 32, dtype=np.int16).reshape(24, 32)
    pixels[:4] = -2000
    path = write_dicom(pixels, PixelPaddingValue=None)
    dataset = pydicom.dcmread(path)
    dataset.add_new("PixelPaddingValue", "US", 65536 - 2000)
    dataset.save_as(str(path))
    valid = read_dicom(path).valid
    assert valid is not None and not valid[:4].any() and valid[4:].all()


def test_header_fields(write_dicom: DicomWriter, ramp: np.ndarray) -> None:
    radiograph = read_dicom(write_dicom(ramp, PixelSpacing=["0.2", "0.3"], ImagerPixelSpacing=["0.4", "0.4"]))
    assert radiograph.pixel_spacing == (0.2, 0.3)
    assert (radiograph.format, radiograph.modality, radiograph.body_part, radiograph.view) == (
        "dicom",
        "DX",
        "CHEST",
        "PA",
    )
    absurd = read_dicom(write_dicom(ramp, PixelSpacing=["0", "0"], BodyPartExamined=None))
    assert absurd.pixel_spacing is None and absurd.body_part is None
    assert read_dicom(write_dicom(ramp, ImagerPixelSpacing=["0.4", "0.5"])).pixel_spacing == (0.4, 0.5)
    assert dicom_shape(write_dicom(ramp)) == (24, 32)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"])
def test_without_file_meta(write_dicom: DicomWriter, ramp: np.ndarray, syntax: str) -> None:
    path = write_dicom(ramp, syntax=syntax, meta=False)
    assert path.read_bytes()[128:132] != b"DICM"
    assert np.array_equal(read_dicom(path).pixels, ramp)


def test_big_endian(write_dicom: DicomWriter, ramp: np.ndarray) -> None:
    data = ramp.astype(">u2").tobytes()
    assert np.array_equal(read_dicom(write_dicom(ramp, syntax="1.2.840.10008.1.2.2", PixelData=data)).pixels, ramp)
    small = (ramp % 256).astype(np.uint8)
    path = write_dicom(small, syntax="1.2.840.10008.1.2.2", PixelData=small.view(">u2").astype("<u2").tobytes())
    dataset = pydicom.dcmread(path)
    dataset["PixelData"].VR = "OW"
    pydicom.dcmwrite(str(path), dataset)
    assert np.array_equal(read_dicom(path).pixels, small)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"PixelData": None}, "no Pixel Data"),
        ({"Rows": None}, "lacks Rows"),
        ({"BitsStored": None, "HighBit": 15}, "lacks BitsStored"),
        (
            {"PhotometricInterpretation": "PALETTE COLOR"},
            "greyscale image (MONOCHROME1 or MONOCHROME2), got PALETTE COLOR",
        ),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "got RGB"),
        ({"PhotometricInterpretation": None}, "got nothing"),
        ({"NumberOfFrames": 3}, "expected a single image, got 3 frames"),
        ({"BitsAllocated": 32, "BitsStored": 32}, "expected 8 or 16 bits a pixel, got 32"),
        ({"BitsStored": 1, "HighBit": 0}, "expected 8 or 16 bits a pixel, got 1"),
        ({"Rows": 65535, "Columns": 65535}, "expected at most 64000000 pixels, got 65535 x 65535"),
        ({"Rows": 4}, "expected at least 16 x 16 pixels, got 4 x 32"),
        ({"Rows": 25}, "expected 1600 bytes of pixel data (Explicit VR Little Endian, 16 bits), got 1536"),
        ({"RescaleSlope": "0", "RescaleIntercept": "5"}, "no contrast"),
        ({"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 65535}, "all pixels are padding"),
        ({"Rows": 0}, "expected at least 16 x 16 pixels"),
    ],
)
def test_unusable_images(write_dicom: DicomWriter, ramp: np.ndarray, tags: dict[str, object], expected: str) -> None:
    fails(write_dicom(ramp, **tags), expected)


def test_deflated_is_refused_before_it_is_inflated(write_dicom: DicomWriter, ramp: np.ndarray) -> None:
    path = write_dicom(ramp)
    data = path.read_bytes()
    plain, deflated = b"\x14\0" + b"1.2.840.10008.1.2.1\0", b"\x16\0" + b"1.2.840.10008.1.2.1.99"
    assert data.count(plain) == 1
    longer = bytearray(data.replace(plain, deflated))
    group_length = int.from_bytes(longer[140:144], "little")  # (0002,0000), the first element after preamble and DICM
    longer[140:144] = (group_length + 2).to_bytes(4, "little")
    path.write_bytes(bytes(longer))
    fails(path, "not deflated")


def test_damaged_files_raise_one_line_or_read(write_dicom: DicomWriter, ramp: np.ndarray) -> None:
    whole = write_dicom(
        ramp, WindowCenter="384", WindowWidth="400", RescaleSlope="1", RescaleIntercept="0"
    ).read_bytes()
    generator = np.random.default_rng(0)
    path = write_dicom(ramp, name="damaged.dcm")
    for trial in range(150):
        damaged = bytearray(whole)
        if trial % 2:
            damaged = damaged[: generator.integers(1, len(whole))]
        else:
            for place in generator.integers(128, 700, size=4):
                damaged[place] = generator.integers(256)
        path.write_bytes(bytes(damaged))
        try:
            assert np.isfinite(read_dicom(path).pixels).all()
        except InputError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error) and PATIENT not in str(error)


def test_real_files(real_data: Path) -> None:
    with open(real_data / "dicom" / "manifest.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 10
    for row in rows:
        path = real_data / "dicom" / row["file"]
        if row["decode"].startswith("DECODE FAIL"):
            fails(path, "JPEG 2000", "cannot be decoded")
            continue
        try:
            radiograph = read_dicom(path)
        except InputError as error:
            assert "no installed package decodes its pixel data (JPEG Extended" in str(error)
            continue
        assert radiograph.pixels.shape == (int(row["rows"]), int(row["cols"]))
        assert (radiograph.bits, radiograph.modality, radiograph.body_part) == (
            int(row["bits_stored"]),
            row["modality"],
            row["body"],
        )
        if row["file"].startswith("chest/"):
            rows_, cols = radiograph.pixels.shape
            middle = radiograph.pixels[rows_ // 4 : rows_ // 2]
            spine = np.median(middle[:, int(0.46 * cols) : int(0.52 * cols)])
            right_lung = np.median(middle[:, int(0.2 * cols) : int(0.35 * cols)])
            assert right_lung < spine, f"{path}: lungs are dark where bright is dense"


def test_the_affine_is_that_of_the_image_plane_module(write_dicom: DicomWriter, ramp: np.ndarray) -> None:
    """A standing patient from the front: columns to the patient's left, rows to the feet; in RAS mm."""
    placed = {
        "PixelSpacing": [0.5, 0.25],
        "ImagePositionPatient": [10, -20, 30],
        "ImageOrientationPatient": [1, 0, 0, 0, 0, -1],
    }
    affine = read_dicom(write_dicom(ramp, **placed)).affine
    assert affine is not None
    np.testing.assert_allclose(affine @ [0, 0, 0, 1], [-10, 20, 30, 1])
    np.testing.assert_allclose(affine @ [4, 2, 0, 1], [-11, 20, 29, 1])
    for name, value in (
        ("ImageOrientationPatient", [0] * 6),
        ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]),
        ("ImageOrientationPatient", [1, 0, 0]),
        ("ImagePositionPatient", None),
        ("PixelSpacing", None),
    ):
        assert read_dicom(write_dicom(ramp, **{**placed, name: value})).affine is None, (name, value)


def test_an_image_plane_that_is_damaged_places_nothing() -> None:
    class Damaged(dict):
        def get(self, name: str, default: object = None) -> object:
            if name.startswith("Image"):
                raise ValueError("a damaged element")
            return default

    assert _plane_affine(Damaged(), (0.5, 0.5)) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tags", "aspect"),
    [
        ({}, 1),
        ({"PixelSpacing": [0.14, 0.28]}, 0.5),
        ({"ImagerPixelSpacing": [0.3, 0.2]}, 1.5),
        ({"PixelSpacing": [0.2, 0.2], "PixelAspectRatio": [1, 2]}, 1),  # the spacing says more
        ({"NominalScannedPixelSpacing": [0.1, 0.2]}, 0.5),
        ({"PixelSpacing": "", "PixelAspectRatio": [1, 2]}, 0.5),
        ({"PixelAspectRatio": [0, 2]}, 1),
        ({"PixelSpacing": [0.143, 0.1435]}, 1),  # rounded
        ({"PixelSpacing": [0.1, 10]}, 1),  # no pixel is so
    ],
)
def test_pixels_that_are_not_square_are_told(
    write_dicom: DicomWriter, ramp: np.ndarray, tags: dict[str, object], aspect: float
) -> None:
    assert read_dicom(write_dicom(ramp, **tags)).aspect == pytest.approx(aspect)
