"""Attributes common to all DICOM objects that are added to a study: identity, source image and algorithm.

The identity of patient and study is copied without any change, even where a value breaks DICOM's rules: with another
value the archive would file the object elsewhere. No other patient data are copied.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pydicom
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.multival import MultiValue
from pydicom.uid import generate_uid

from monai_dgm.errors import InputError

SOFTWARE = "monai-dgm"
UTF8 = "ISO_IR 192"
# Patient and General Study modules (PS3.3 C.7.1.1, C.7.2.1): what archives match by, and elements of type 2.
IDENTITY = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
)
_SEXES = ("M", "F", "O", "")
_OPTIONAL = ("IssuerOfPatientID", "StudyDescription")
_UID = re.compile(r"[0-9]+(\.[0-9]+){1,31}")  # PS3.5 9.1, and leading zeros
_REFERENCE = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")


@dataclass(frozen=True)
class Algorithm:
    """The algorithm that made an object.

    Args:
        name: name of the model, 1 to 64 characters.
        version: version of the model, 1 to 64 characters.

    Raises:
        InputError: empty, too long, or with a backslash or control character (PS3.5 6.2, LO).
    """

    name: str
    version: str

    def __post_init__(self) -> None:
        check_text("the algorithm's name", self.name)
        check_text("the algorithm's version", self.version)


def check_text(name: str, text: str, longest: int = 64) -> str:
    """Return ``text`` if it is a valid value of a DICOM element of VR LO or PN.

    Raises:
        InputError: empty, longer than ``longest``, or with a backslash or control character.
    """
    if not 0 < len(text) <= longest or "\\" in text or not text.isprintable():
        raise InputError(
            f"{name}: expected 1 to {longest} printable characters without a backslash, got {text[:longest]!r}"
        )
    return text


@contextmanager
def known_sop_class(header: pydicom.Dataset) -> Iterator[None]:
    """Context in which highdicom's errors about an unknown SOP class become an InputError of one line.

    Raises:
        InputError: the SOP class is in none of highdicom's tables.
    """
    try:
        yield
    except (KeyError, ValueError) as error:
        raise InputError(
            f"source image: expected the SOP class of an image that highdicom knows, got {header.SOPClassUID}"
        ) from error


def new_object(algorithm: Algorithm, series_number: int, content: str, series_uid: str | None = None) -> dict[str, Any]:
    """Arguments of highdicom's constructors for series, instance and equipment (PS3.3 C.7.3.1, C.7.5.1, C.12.1).

    Args:
        algorithm: that made the object.
        series_number: the same for all objects of one kind.
        content: of the series, for its description.
        series_uid: UID of the series to add to; a new one by default.
    """
    return {
        "series_instance_uid": series_uid or new_uid(),
        "series_number": series_number,
        "series_description": series_description(content, algorithm),
        "sop_instance_uid": new_uid(),
        "instance_number": 1,
        "manufacturer": SOFTWARE,
        "manufacturer_model_name": algorithm.name,
        "software_versions": algorithm.version,
        "device_serial_number": "none",
    }


def series_description(content: str, algorithm: Algorithm) -> str:
    """What is in a series, by which version, made when: "opacity boxes feaa9f4c 2026-11-27 18:31, not for diagnosis".

    The version is shortened to 8 characters after its last hyphen, the first digits of the weights' SHA-256 in this
    package's versions; Software Versions (0018,1020) has all of it. The time is local. At most 64 characters (LO).
    """
    version = algorithm.version.rsplit("-", 1)[-1][:8]
    return f"{content} {version} {datetime.now():%Y-%m-%d %H:%M}, not for diagnosis"


def source_header(source: pydicom.Dataset) -> pydicom.Dataset:
    """Header of an image with the attributes that highdicom needs, and without patient data.

    Args:
        source: one radiograph; its pixels are not needed.

    Raises:
        InputError: no UID of study, series, instance or SOP class, or no size.
    """
    header = pydicom.Dataset()
    for keyword in IDENTITY:
        setattr(header, keyword, "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings can quote patient data
        for keyword in _REFERENCE:
            value = str(source.get(keyword) or "")
            if not is_uid(value):
                raise InputError(f"source image: expected a valid {keyword}, got {'another' if value else 'none'}")
            setattr(header, keyword, value)
        try:
            header.Rows, header.Columns = int(source.Rows), int(source.Columns)
        except Exception as error:  # a damaged element raises when it is read, errors of many types
            raise InputError("source image: expected Rows and Columns") from error
    header.Modality = "OT"
    return header


def copy_identity(source: pydicom.Dataset, target: pydicom.Dataset) -> None:
    """Copy the identity of patient and study (``IDENTITY``) from ``source`` to ``target``, in UTF-8.

    Values that break DICOM's rules are copied, too: with other values the object would not be found with its study. A
    sex that the standard does not know is left empty, because nothing is found by it.
    """
    target.SpecificCharacterSet = UTF8
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for keyword in IDENTITY:
            value = _text(source.get(keyword))
            if keyword == "PatientSex" and value not in _SEXES:
                value = ""
            if keyword in target:
                del target[keyword]
            if value or keyword not in _OPTIONAL:
                tag = tag_for_keyword(keyword)
                assert tag is not None
                target[tag] = pydicom.DataElement(tag, dictionary_VR(tag), value, validation_mode=IGNORE)


def encode_dicom(dataset: pydicom.Dataset) -> bytes:
    """The bytes of a DICOM file (PS3.10) from a data set with file meta information, with pydicom 2 and 3."""
    buffer = io.BytesIO()
    complete: dict[str, Any] = {"write_like_original": False}
    if hasattr(dataset, "original_encoding"):  # pydicom 3
        complete = {"enforce_file_format": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pydicom.dcmwrite(buffer, dataset, **complete)
    return buffer.getvalue()


def new_uid() -> str:
    """A new unique UID, with the prefix 2.25."""
    return str(generate_uid(prefix=None))


def is_uid(value: Any) -> bool:
    """Whether a value is a UID, which can then be part of an address; real files have some with leading zeros."""
    return isinstance(value, str) and len(value) <= 64 and _UID.fullmatch(value) is not None


def reference_item(source: pydicom.Dataset) -> pydicom.Dataset:
    """Sequence item that refers to ``source``."""
    item = pydicom.Dataset()
    item.ReferencedSOPClassUID = str(source.SOPClassUID)
    item.ReferencedSOPInstanceUID = str(source.SOPInstanceUID)
    return item


def _text(value: Any) -> str:
    if value is None:
        return ""
    return "\\".join(map(str, value)) if isinstance(value, MultiValue) else str(value)
