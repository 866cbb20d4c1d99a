"""Pictures as DICOM: what they say of themselves, on the picture and in the header."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest

from monai_dgm.errors import InputError
from monai_dgm.labelling.dicom_objects.derived import Algorithm, encode_dicom
from monai_dgm.labelling.dicom_objects.secondary_capture import (
    NORMAL,
    RESIDUE,
    CaptureKind,
    burn_in,
    write_secondary_capture,
)

from .study import NAME, radiograph_header

ALGORITHM = Algorithm("dgm", "0.3.1")


def capture(source: pydicom.Dataset, picture: np.ndarray, kind: CaptureKind = NORMAL) -> pydicom.Dataset:
    """As it comes back from a PACS."""
    return pydicom.dcmread(
        io.BytesIO(encode_dicom(write_secondary_capture(source, picture, kind, algorithm=ALGORITHM)))
    )


def grey(rows: int, cols: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (rows, cols)).astype(np.uint8)


def changed_rows(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return np.flatnonzero((before != after).any(axis=tuple(range(1, before.ndim))))


@pytest.mark.parametrize("shape", [(512, 512), (2000, 1600), (600, 1300), (1024, 700)])
@pytest.mark.parametrize("channels", [(), (3,)])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_the_warning_stands_out_on_every_picture(shape: tuple[int, int], channels: tuple[int], level: int) -> None:
    before = np.full((*shape, *channels), level, dtype=np.uint8)
    after = burn_in(before)
    assert after.shape == before.shape
    upper, lower = after[: shape[0] // 8], after[-shape[0] // 8 :]
    for edge in (upper, lower):
        assert (edge > 250).sum() > 200 and (edge < 5).sum() > 400  # white letters on black
    letters = np.flatnonzero((after > 250).reshape(shape[0], -1).any(axis=1)) if level < 128 else None
    if letters is not None:  # as high as a fiftieth of the longer side: 10 pixels when 500 of them are on the screen
        assert np.flatnonzero(np.diff(letters) > 1)[0] + 1 >= max(shape) / 50
    middle = slice(shape[0] // 8, -shape[0] // 8)
    assert np.array_equal(after[middle], before[middle])


def test_on_a_narrow_picture_the_warning_has_two_lines() -> None:
    after = burn_in(np.zeros((4000, 520), dtype=np.uint8))
    assert after.shape == (4000, 520)
    upper = (after[:300] > 128).any(axis=1)
    assert np.count_nonzero(np.diff(np.flatnonzero(upper)) > 8) == 1  # one gap between two lines of letters
    letters = np.flatnonzero((after > 128).any(axis=0))
    assert letters[0] > 5 and letters[-1] < 515 and np.ptp(letters) > 400


@pytest.mark.parametrize("shape", [(64, 64), (16, 100), (300, 511)])
def test_small_pictures_are_enlarged_until_words_can_be_read(shape: tuple[int, int]) -> None:
    before = grey(*shape)
    after = burn_in(before)
    factor = after.shape[0] // shape[0]
    assert after.shape == (shape[0] * factor, shape[1] * factor) and 512 <= min(after.shape) < 512 + min(shape)
    middle = slice(after.shape[0] // 3, -after.shape[0] // 3)
    assert np.array_equal(after[middle], before.repeat(factor, 0).repeat(factor, 1)[middle])


@pytest.mark.parametrize(
    "picture",
    [
        grey(20, 20).astype(np.float32),
        np.zeros((20, 20, 4), np.uint8),
        np.zeros(20, np.uint8),
        np.zeros((0, 20), np.uint8),
        np.zeros((20, 200), np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(picture: np.ndarray) -> None:
    with pytest.raises(InputError, match="secondary capture"):
        burn_in(picture)


def test_a_grey_picture_comes_back() -> None:
    source, picture = radiograph_header(), grey(1000, 800)
    result = capture(source, picture)
    assert np.array_equal(result.pixel_array, burn_in(picture))
    assert result.SOPClassUID == pydicom.uid.SecondaryCaptureImageStorage and result.SamplesPerPixel == 1
    assert (result.PhotometricInterpretation, result.BitsStored) == ("MONOCHROME2", 8)
    assert (float(result.WindowCenter), float(result.WindowWidth)) == (128, 256)


def test_a_coloured_picture_comes_back() -> None:
    picture = np.stack([grey(601, 513), grey(601, 513)[::-1], grey(601, 513)[:, ::-1]], axis=-1)
    result = capture(radiograph_header(), picture, RESIDUE)
    assert np.array_equal(result.pixel_array, burn_in(picture)) and result.PhotometricInterpretation == "RGB"
    assert len(result.PixelData) % 2 == 0 and result.SeriesDescription.startswith(RESIDUE.title)


def test_it_joins_the_study_in_a_series_of_its_own_and_tells_its_source() -> None:
    source = radiograph_header()
    result = capture(source, grey(512, 512))
    assert result.StudyInstanceUID == source.StudyInstanceUID and result.PatientName == NAME
    assert result.SeriesInstanceUID != source.SeriesInstanceUID and result.SOPInstanceUID != source.SOPInstanceUID
    (origin,) = result.SourceImageSequence
    assert origin.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert origin.ReferencedSOPClassUID == source.SOPClassUID
    assert result.ImageType[:2] == ["DERIVED", "SECONDARY"] and "synthesised" in result.DerivationDescription
    assert result.ConversionType == "SYN" and "not for diagnosis" in result.SeriesDescription
    assert (result.ManufacturerModelName, result.SoftwareVersions) == (ALGORITHM.name, ALGORITHM.version)


def test_nobody_who_looks_for_radiographs_finds_it() -> None:
    assert capture(radiograph_header(), grey(512, 512)).Modality == "OT"


def test_of_the_patient_it_holds_the_study_s_identity_only() -> None:
    result = capture(radiograph_header(), grey(512, 512))
    assert {"PatientAddress", "PatientComments", "OtherPatientIDs"}.isdisjoint(result.dir())


@pytest.mark.parametrize(("said", "expected"), [("NO", "NO"), ("YES", "YES"), (None, None), ("", None)])
def test_burnt_in_identity_is_what_the_source_says(said: str | None, expected: str | None) -> None:
    assert capture(radiograph_header(BurnedInAnnotation=said), grey(512, 512)).get("BurnedInAnnotation") == expected


def test_a_pixel_is_as_large_as_what_it_shows() -> None:
    result = capture(radiograph_header(PixelSpacing=[0.1, 0.2]), grey(1000, 1600))
    assert np.allclose([float(value) for value in result.PixelSpacing], [0.2, 0.2])
    at_detector = radiograph_header(PixelSpacing=None, ImagerPixelSpacing=[0.1, 0.2])
    result = capture(at_detector, grey(2000, 1600))
    assert "PixelSpacing" not in result and np.allclose(np.divide(*map(float, result.PixelAspectRatio)), 0.5)
    for unknown in (None, [0.0, 0.0]):
        result = capture(radiograph_header(PixelSpacing=unknown), grey(1000, 800))
        assert "PixelSpacing" not in result and "PixelAspectRatio" not in result


def test_pixels_keep_the_shape_that_the_source_says() -> None:
    source = radiograph_header(PixelSpacing=None, PixelAspectRatio=[1, 2])
    result = capture(source, grey(1000, source.Columns * 1000 // source.Rows))
    assert np.allclose(np.divide(*map(float, result.PixelAspectRatio)), 0.5, atol=1e-2)


@pytest.mark.parametrize(
    ("said", "copied"), [(["L", "F"], ["L", "F"]), ("LF", []), (["left", "feet"], []), (["", ""], []), (["L"], [])]
)
def test_directions_and_sides_that_are_none_are_left_out(said: object, copied: list[str]) -> None:
    result = capture(radiograph_header(PatientOrientation=said, BodyPartExamined="", Laterality="X"), grey(512, 512))
    assert list(result.PatientOrientation or []) == copied and result.Laterality == ""


def test_a_source_without_optional_attributes() -> None:
    bare = dict.fromkeys(
        ["PatientOrientation", "BodyPartExamined", "PatientID", "PatientName", "StudyDate", "Modality"]
    )
    result = capture(radiograph_header(**bare, PixelSpacing=None, BurnedInAnnotation=None), grey(512, 512))
    assert not result.PatientOrientation and result.PatientID == ""
    with pytest.raises(InputError):
        capture(radiograph_header(StudyInstanceUID=None), grey(512, 512))
