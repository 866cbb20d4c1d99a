"""Pictures and NIfTI files that are damaged in rare ways: one clear error, or read without what is damaged."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from monai_dgm.readers.dicom.read import read_dicom
from monai_dgm.readers.nifti import usable_affine
from monai_dgm.readers.radiograph import is_regular_affine
from monai_dgm.readers.read import image_shape, read_mask, read_radiograph
from tests.readers.dicom.raw_files import error_of, fragments, phantom, radiograph_bytes, saved

JPEG = "1.2.840.10008.1.2.4.50"


class Orientation:
    """A NIfTI header whose qform cannot be computed."""

    def __getitem__(self, name: str) -> int:
        return int(name == "qform_code")

    def get_qform(self) -> np.ndarray:
        raise ValueError("quaternion")


def test_affines_that_place_no_pixel() -> None:
    assert usable_affine(Orientation()) == (None, ("NIfTI qform is not finite or singular, not used",))
    for affine in (np.eye(3), np.zeros((4, 4)), np.full((4, 4), np.nan), np.diag([1e7, 1, 1, 1]), np.ones((4, 4))):
        assert not is_regular_affine(affine)
    assert is_regular_affine(np.diag([0.1, -0.1, 1, 1]))


def test_nifti_pixels_that_are_cut_or_too_far_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    nibabel.save(nibabel.Nifti1Image(phantom(16).astype(np.int16), np.eye(4)), path)
    whole = path.read_bytes()
    assert "expected a whole NIfTI image" in error_of(read_radiograph, saved(tmp_path, whole[:-9], "b.nii"))
    far = whole[:108] + struct.pack("<f", 1e12) + whole[112:]
    assert "its header says later" in error_of(read_radiograph, saved(tmp_path, far, "c.nii"))


@pytest.mark.parametrize("read", [read_radiograph, read_mask, image_shape])
def test_an_unforeseen_error_of_a_library_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Any
) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(phantom(16, 255).astype(np.uint8)).save(path)

    def fail(*args: Any) -> None:
        raise RuntimeError("of the library")

    monkeypatch.setattr("monai_dgm.readers.read._open_picture", fail)
    assert str(path) in error_of(read, path)


def test_a_mask_is_no_dicom_file(tmp_path: Path) -> None:
    assert "got DICOM" in error_of(read_mask, saved(tmp_path, radiograph_bytes(phantom())))


def test_a_picture_beyond_the_limit_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(phantom(40, 255).astype(np.uint8)).save(path)
    assert str(path) in error_of(read_radiograph, path, 100)


def test_a_progressive_jpeg_of_too_many_scans_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(phantom(16, 255).astype(np.uint8)).save(buffer, format="JPEG")
    stream = buffer.getvalue()[:-2] + b"\xff\xda" * 200
    assert "at most 100 scans" in error_of(read_radiograph, saved(tmp_path, stream))
    content = radiograph_bytes(phantom(16), None, JPEG, 8, 8, pixel_data=fragments(stream))
    assert "cannot be decoded" in error_of(read_dicom, saved(tmp_path, content, "dicom"))


def test_a_damaged_exif_block_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(picture: Image.Image) -> None:
        raise SyntaxError("damaged")

    Image.fromarray(phantom(16, 255).astype(np.uint8)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image.Image, "getexif", fail)
    assert read_radiograph(tmp_path / "a.png").orientation == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_nifti_values_are_those_of_the_file(tmp_path: Path, dtype: type) -> None:
    values = phantom(16, 200).astype(dtype)
    image = nibabel.Nifti1Image(values, np.diag([-1.0, -1, 1, 1]))
    nibabel.save(image, tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[112:120] = struct.pack("<2f", 0, 0)
    # neither a slope of NaN nor one of 0 scales the values
    for path in (tmp_path / "a.nii", saved(tmp_path, bytes(content), "b.nii")):
        assert np.array_equal(np.sort(read_radiograph(path).pixels.ravel()), np.sort(values.ravel()))


def test_a_mask_that_is_cut_is_named(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(phantom(64, 255).astype(np.uint8)).save(buffer, format="PNG")
    assert "expected a whole PNG image" in error_of(read_mask, saved(tmp_path, buffer.getvalue()[:300]))


def test_a_picture_with_colours_or_of_16_bits_in_rgb(tmp_path: Path) -> None:
    colours = np.zeros((16, 16, 3), np.uint8)
    colours[..., 0] = phantom(16, 255)
    Image.fromarray(colours).save(tmp_path / "a.png")
    assert "with colours" in error_of(read_radiograph, tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[24] = 16  # bit depth
    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    assert "RGB of 16 bits" in error_of(read_radiograph, saved(tmp_path, bytes(content), "b.png"))


def test_exif_says_how_a_picture_lies(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(phantom(16, 255).astype(np.uint8)).save(tmp_path / "a.png", exif=exif)
    radiograph = read_radiograph(tmp_path / "a.png")
    assert radiograph.orientation == 6 and radiograph.remarks[0].startswith("EXIF Orientation 6")
