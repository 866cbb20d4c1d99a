"""The study's identity travels as it stands, and nothing else of the patient."""

from __future__ import annotations

import io
import warnings

import pydicom
import pytest
from pydicom.config import IGNORE

from monai_dgm.errors import InputError
from monai_dgm.labelling.dicom_objects.derived import (
    Algorithm,
    check_text,
    copy_identity,
    encode_dicom,
    source_header,
)
from tests.dicom_files import DicomWriter

from .study import NAME, radiograph_header


def reread(dataset: pydicom.Dataset) -> pydicom.Dataset:
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    if not hasattr(dataset, "original_encoding"):
        dataset.is_little_endian, dataset.is_implicit_VR = True, False
    return pydicom.dcmread(io.BytesIO(encode_dicom(dataset)))


def test_only_the_identity_is_copied() -> None:
    source, target = radiograph_header(), pydicom.Dataset()
    copy_identity(source, target)
    result = reread(target)
    assert result.PatientName == NAME and result.SpecificCharacterSet == "ISO_IR 192"
    for keyword in ("PatientID", "StudyInstanceUID", "AccessionNumber", "StudyDate", "PatientBirthDate"):
        assert result[keyword].value == source[keyword].value
    for keyword in ("PatientAddress", "PatientComments", "OtherPatientIDs", "IssuerOfPatientID"):
        assert keyword not in result


def test_names_of_other_character_sets(write_dicom: DicomWriter, ramp: object) -> None:
    for charset, name in [("ISO_IR 100", "Müller^Jürgen"), ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎")]:
        path = write_dicom(ramp, SpecificCharacterSet=charset.split("\\"), PatientName=name, StudyInstanceUID="1.2")
        target = pydicom.Dataset()
        copy_identity(pydicom.dcmread(path), target)
        assert str(reread(target).PatientName) == name


def test_invalid_values_are_copied_without_a_warning() -> None:
    source = radiograph_header(PatientBirthDate=None, AccessionNumber=None, StudyDate=None)
    for keyword, vr in [("PatientBirthDate", "DA"), ("AccessionNumber", "SH"), ("StudyDate", "DA")]:
        tag = pydicom.datadict.tag_for_keyword(keyword)
        source[tag] = pydicom.DataElement(tag, vr, "d14a028c2a3a2bc9476102bb288234c4", validation_mode=IGNORE)
    target = pydicom.Dataset()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a warning would quote the value
        copy_identity(source, target)
    again = reread(target)
    for keyword in ("PatientBirthDate", "AccessionNumber", "StudyDate"):
        assert again.get_item(keyword).value.strip() == b"d14a028c2a3a2bc9476102bb288234c4"


def test_missing_values_become_empty_ones() -> None:
    source = pydicom.Dataset()
    source.StudyInstanceUID = "1.2.3"
    target = pydicom.Dataset()
    target.PatientName = "Somebody^Else"
    copy_identity(source, target)
    assert target.PatientName == "" and target.PatientID == "" and target.StudyInstanceUID == "1.2.3"


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "Rows"])
def test_what_a_source_must_have(keyword: str) -> None:
    with pytest.raises(InputError, match=keyword) as caught:
        source_header(radiograph_header(**{keyword: None}))
    assert "\n" not in str(caught.value)
    header = source_header(radiograph_header())
    assert header.PatientName == "" and header.PatientID == "" and "PatientAddress" not in header


def test_uids_of_real_files_are_taken_and_none_is_repeated() -> None:
    assert source_header(radiograph_header(StudyInstanceUID="1.2.03.4")).StudyInstanceUID == "1.2.03.4"
    with pytest.raises(InputError, match="expected a valid StudyInstanceUID") as caught:
        source_header(radiograph_header(StudyInstanceUID="1.2.Doe"))
    assert "Doe" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "a" * 65, "a\\b", "a\nb", "a\0"])
def test_text_that_is_no_value_of_an_element(text: str) -> None:
    with pytest.raises(InputError):
        check_text("name", text)
    with pytest.raises(InputError):
        Algorithm("name", text)


def test_several_values_stay_several() -> None:
    source, target = radiograph_header(), pydicom.Dataset()
    source.add_new("AccessionNumber", "SH", ["A1", "A2"])
    copy_identity(source, target)
    assert list(reread(target).AccessionNumber) == ["A1", "A2"]
