"""Formats told by content, arrays the right way round, and one line for whatever is no radiograph."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from monai_dgm.errors import InputError
from monai_dgm.readers.read import image_shape, read_mask, read_radiograph, sniff_format


@pytest.fixture
def grey() -> np.ndarray:
    """uint8 (24, 32), no symmetry."""
    return (np.arange(24 * 32) % 251).astype(np.uint8).reshape(24, 32)


def fails(path: Path, *expected: str) -> None:
    with pytest.raises(InputError) as caught:
        read_radiograph(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message
    for text in expected:
        assert text in message


def save(path: Path, array: np.ndarray, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return path


def save_nifti(path: Path, array: np.ndarray, affine: np.ndarray | None) -> Path:
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


def test_png_of_8_and_16_bits(tmp_path: Path, grey: np.ndarray) -> None:
    eight = read_radiograph(save(tmp_path / "a.png", grey))
    assert np.array_equal(eight.pixels, grey) and (eight.format, eight.bits) == ("png", 8)
    wide = grey.astype(np.uint16) * 256 + 7
    sixteen = read_radiograph(save(tmp_path / "b.png", wide))
    assert np.array_equal(sixteen.pixels, wide) and (sixteen.format, sixteen.bits) == ("png", 16)
    assert sixteen.pixels.dtype == np.float32 and sixteen.pixel_spacing is None


def test_jpeg_and_grey_stored_as_rgb(tmp_path: Path) -> None:
    y, x = np.mgrid[:24, :32]
    smooth = (4 * x + 3 * y).astype(np.uint8)
    plain = read_radiograph(save(tmp_path / "a.jpg", smooth, quality=95))
    assert plain.format == "jpeg" and np.abs(plain.pixels - smooth).max() < 5
    threefold = np.stack([smooth] * 3, -1)
    assert np.array_equal(read_radiograph(save(tmp_path / "b.png", threefold)).pixels, smooth)


def test_content_decides_not_the_name(tmp_path: Path, grey: np.ndarray) -> None:
    png = save(tmp_path / "a.png", grey)
    renamed = png.rename(tmp_path / "a.dcm")
    assert sniff_format(renamed) == "png" and np.array_equal(read_radiograph(renamed).pixels, grey)


def test_image_shape_is_rows_and_columns(tmp_path: Path, grey: np.ndarray) -> None:
    assert image_shape(save(tmp_path / "a.png", grey)) == (24, 32)
    assert image_shape(save_nifti(tmp_path / "a.nii", grey.T, np.diag([-1, -1, 1, 1]))) == (24, 32)


@pytest.mark.parametrize(
    ("columns", "rows", "flips"),
    [(-1, -1, (False, False)), (1, -1, (False, True)), (-1, 1, (True, False)), (1, 1, (True, True))],
)
def test_nifti_affine_decides_what_is_left_and_up(
    tmp_path: Path, grey: np.ndarray, columns: int, rows: int, flips: tuple[bool, bool]
) -> None:
    """NIfTI's x grows to the patient's right and y forwards; columns shall grow to the left and rows downwards."""
    stored = grey[::-1] if flips[0] else grey
    stored = stored[:, ::-1] if flips[1] else stored
    affine = np.diag([columns * 0.3, rows * 0.2, 1, 1])
    radiograph = read_radiograph(save_nifti(tmp_path / "a.nii.gz", stored.T[..., None], affine))
    assert np.array_equal(radiograph.pixels, grey)
    assert radiograph.pixel_spacing == pytest.approx((0.2, 0.3)) and radiograph.format == "nifti"


def test_nifti_coronal_plane_and_swapped_axes(tmp_path: Path, grey: np.ndarray) -> None:
    coronal = np.eye(4)[[0, 2, 1, 3]] * np.array([[-0.3], [1.0], [-0.2], [1.0]])  # axis 0: left, axis 1: down
    assert np.array_equal(read_radiograph(save_nifti(tmp_path / "a.nii", grey.T[..., None], coronal)).pixels, grey)
    swapped = np.eye(4)[[1, 0, 2, 3]] * np.array([[-0.3], [-0.2], [1.0], [1.0]])  # axis 0: down, axis 1: left
    radiograph = read_radiograph(save_nifti(tmp_path / "b.nii", grey[..., None], swapped))
    assert np.array_equal(radiograph.pixels, grey) and radiograph.pixel_spacing == pytest.approx((0.2, 0.3))


def test_nifti_without_affine_is_x_then_y(tmp_path: Path, grey: np.ndarray) -> None:
    image = nibabel.Nifti1Image(grey.T, None)
    image.header["sform_code"] = image.header["qform_code"] = 0
    path = tmp_path / "a.nii"
    path.write_bytes(image.to_bytes())
    assert np.array_equal(read_radiograph(path).pixels, grey)


def test_unusable_niftis(tmp_path: Path, grey: np.ndarray) -> None:
    volume = np.stack([grey] * 5, -1)
    fails(save_nifti(tmp_path / "a.nii.gz", volume, np.eye(4)), "expected one slice", "(24, 32, 5)")
    for name, value in (("nan", np.nan), ("inf", np.inf)):
        holed = grey.astype(np.float32)
        holed[3, 4] = value
        fails(save_nifti(tmp_path / f"{name}.nii", holed, np.eye(4)), "expected finite pixel values")
    colour = np.zeros((24, 32, 1), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    fails(save_nifti(tmp_path / "rgb.nii", colour, np.eye(4)), "expected one real number a pixel")
    fails(save_nifti(tmp_path / "c.nii", grey.astype(np.complex64), np.eye(4)), "expected one real number a pixel")
    whole = save_nifti(tmp_path / "d.nii.gz", grey, np.eye(4)).read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(whole[:-60])
    fails(tmp_path / "cut.nii.gz", "expected")


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("RGB", "RGB image with colours"),
        ("P", "a colour palette"),
        ("RGBA", "an alpha channel"),
        ("LA", "an alpha channel"),
        ("1", "1 bit"),
    ],
)
def test_other_than_grey_is_refused(tmp_path: Path, grey: np.ndarray, mode: str, expected: str) -> None:
    colour = np.stack([grey, grey[::-1], grey], -1)
    fails(save(tmp_path / "a.png", colour, mode), "expected a greyscale image", expected)


def test_missing_empty_folder_and_foreign_files(tmp_path: Path) -> None:
    fails(tmp_path / "none.png", "no such file")
    fails(tmp_path, "is a folder")
    contents = {"empty.png": b"", "text.png": b"not an image at all", "gif.jpg": b"GIF89a" + bytes(500)}
    contents |= {"text.nii.gz": gzip.compress(b"no header"), "broken.gz": b"\x1f\x8b\x08 nothing"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        fails(tmp_path / name, "expected DICOM, PNG, JPEG or NIfTI")
    fails(tmp_path / "empty.png", "empty file")
    (tmp_path / "text.dcm").write_bytes(b"no DICOM either" * 20)
    fails(tmp_path / "text.dcm", "expected")


@pytest.mark.parametrize("suffix", ["png", "jpg", "nii", "nii.gz"])
def test_damaged_files_raise_one_line_or_read(tmp_path: Path, grey: np.ndarray, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    save_nifti(path, grey, np.eye(4)) if "nii" in suffix else save(path, grey)
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    for trial in range(60):
        damaged = bytearray(whole)
        if trial % 2:
            damaged = damaged[: generator.integers(0, len(whole))]
        else:
            for place in generator.integers(0, min(len(whole), 600), size=3):
                damaged[place] = generator.integers(256)
        path.write_bytes(bytes(damaged))
        try:
            assert np.isfinite(read_radiograph(path).pixels).all()
        except InputError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_truncated_pictures_are_refused(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    path = save(tmp_path / f"a.{suffix}", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    fails(path, "expected a whole")


def test_bombs_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for side in (9000, 30000):  # below and above where Pillow itself refuses
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
        path = tmp_path / f"{side}.png"
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
        )
        fails(path, "expected")
    header = nibabel.Nifti1Image(np.zeros((20, 20), np.uint8), np.eye(4)).header
    header.set_data_shape((30000, 30000))
    (tmp_path / "a.nii").write_bytes(header.binaryblock + bytes(1000))
    fails(tmp_path / "a.nii", "expected at most 64000000 pixels, got 30000 x 30000")


def test_no_contrast_and_too_small(tmp_path: Path) -> None:
    fails(save(tmp_path / "a.png", np.full((24, 24), 9, np.uint8)), "no contrast", "all pixels are 9")
    fails(save(tmp_path / "b.png", np.eye(8, dtype=np.uint8)), "expected at least 16 x 16 pixels")


@pytest.mark.parametrize("high", [1, 255, 65535])
def test_masks_of_any_scale(tmp_path: Path, high: int) -> None:
    mask = np.zeros((24, 32), dtype=bool)
    mask[3:9, 20:] = True
    stored = (mask * high).astype(np.uint16 if high > 255 else np.uint8)
    assert np.array_equal(read_mask(save(tmp_path / "m.png", stored)), mask)


def test_a_label_map_is_no_mask(tmp_path: Path) -> None:
    """Right and left lung as 1 and 2: above half of the largest value is one lung alone."""
    labels = np.zeros((24, 32), np.uint8)
    labels[3:20, 3:12], labels[3:20, 20:29] = 1, 2
    with pytest.raises(InputError, match=r"m\.png: expected a mask of two values, got 2 labels besides 0"):
        read_mask(save(tmp_path / "m.png", labels))


def test_smooth_edges_are_no_labels(tmp_path: Path) -> None:
    mask = np.zeros((96, 96), np.uint8)
    mask[20:70, 30:60] = 255
    image = Image.fromarray(mask)
    image.save(tmp_path / "m.jpg", quality=40)
    assert np.array_equal(read_mask(tmp_path / "m.jpg"), mask > 0)
    image.resize((24, 24), Image.Resampling.BOX).save(tmp_path / "small.png")
    assert read_mask(tmp_path / "small.png").sum() in range(80, 110)


def test_a_mask_with_nan_is_refused(tmp_path: Path) -> None:
    """NaN is above nothing, so that such a mask would be empty."""
    values = np.zeros((24, 32), np.float32)
    values[3:9, 20:], values[0, 0] = 1, np.nan
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "m.nii")
    with pytest.raises(InputError, match=r"m\.nii: expected a mask of finite values, got NaN"):
        read_mask(tmp_path / "m.nii")


def test_an_empty_mask_is_a_mask(tmp_path: Path) -> None:
    assert not read_mask(save(tmp_path / "m.png", np.zeros((24, 32), np.uint8))).any()
