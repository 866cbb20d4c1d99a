"""Headers of radiographs, and structured reports item by item, as viewers other than ours write them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pydicom
from pydicom.uid import generate_uid

from monai_dgm.labelling.dicom_objects.opacity_report import ReportedOpacity

DX = "1.2.840.10008.5.1.4.1.1.1.1"
NAME, PATIENT_ID = "Müller^Jürgen", "ID-4711"


def radiograph_header(**tags: Any) -> pydicom.Dataset:
    """A DX header of 2,000 x 1,600 pixels in a study of its own; None omits a tag."""
    header = pydicom.Dataset()
    values: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 100",
        "SOPClassUID": DX,
        "SOPInstanceUID": generate_uid(None),
        "SeriesInstanceUID": generate_uid(None),
        "StudyInstanceUID": generate_uid(None),
        "StudyID": "S1",
        "StudyDate": "20260102",
        "StudyTime": "101112",
        "AccessionNumber": "A1",
        "ReferringPhysicianName": "Roe^Ann",
        "PatientName": NAME,
        "PatientID": PATIENT_ID,
        "PatientBirthDate": "19500607",
        "PatientSex": "M",
        "PatientAddress": "Elm Street 1",
        "PatientComments": "private",
        "OtherPatientIDs": "OTHER-1",
        "Modality": "DX",
        "BodyPartExamined": "CHEST",
        "PatientOrientation": ["L", "F"],
        "BurnedInAnnotation": "NO",
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": 2000,
        "Columns": 1600,
        "PixelSpacing": [0.2, 0.2],
        **tags,
    }
    for keyword, value in values.items():
        if value is not None:
            setattr(header, keyword, value)
    return header


def boxes_of(opacities: Iterable[ReportedOpacity]) -> np.ndarray:
    """Boxes of regions, float32 (N, 4)."""
    return np.array([item.box for item in opacities], dtype=np.float32).reshape(-1, 4)


def code(value: str, scheme: str = "DCM", meaning: str = "words") -> pydicom.Dataset:
    """One code."""
    item = pydicom.Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def item(value_type: str, concept: pydicom.Dataset | None, *children: pydicom.Dataset, **tags: Any) -> pydicom.Dataset:
    """One content item."""
    content = pydicom.Dataset()
    content.ValueType = value_type
    content.RelationshipType = "CONTAINS"
    if concept is not None:
        content.ConceptNameCodeSequence = [concept]
    if children:
        content.ContentSequence = list(children)
    for keyword, value in tags.items():
        setattr(content, keyword, value)
    return content


def image(header: pydicom.Dataset, frame: Any = None) -> pydicom.Dataset:
    """The image below a region."""
    reference = pydicom.Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    if frame is not None:
        reference.ReferencedFrameNumber = frame
    return item("IMAGE", None, ReferencedSOPSequence=[reference])


def region(header: pydicom.Dataset | None, graphic_type: str, points: Any, frame: Any = None) -> pydicom.Dataset:
    """An SCOORD; without a header it does not say on which image."""
    below = [] if header is None else [image(header, frame)]
    data = [float(value) for value in np.ravel(points)]
    return item("SCOORD", None, *below, GraphicType=graphic_type, GraphicData=data)


def area(*children: pydicom.Dataset) -> pydicom.Dataset:
    """A NUM, with whatever hangs below it."""
    return item("NUM", code("42798000", "SCT", "Area"), *children)


def comment(text: str) -> pydicom.Dataset:
    """The words of a group."""
    return item("TEXT", code("121106"), TextValue=text)


def corners(xmin: float, ymin: float, xmax: float, ymax: float) -> list[tuple[float, float]]:
    """A closed rectangle."""
    return [(xmin, ymin), (xmax, ymin), (xmax, ymax), (xmin, ymax), (xmin, ymin)]


def group(*children: pydicom.Dataset, tool: str = "Cornerstone3DTools@^0.1.0:RectangleROI") -> pydicom.Dataset:
    """A measurement group with a tracking identifier and a UID."""
    tracking = item("TEXT", code("112039"), TextValue=tool)
    unique = item("UIDREF", code("112040"), UID=generate_uid(None))
    return item("CONTAINER", code("125007"), tracking, unique, *children)


def report(header: pydicom.Dataset, *groups: pydicom.Dataset, person: str = "", **tags: Any) -> pydicom.Dataset:
    """A TID 1500 report as another viewer writes it."""
    document = pydicom.Dataset()
    document.SOPClassUID, document.Modality = "1.2.840.10008.5.1.4.1.1.88.22", "SR"
    document.SOPInstanceUID, document.StudyInstanceUID = generate_uid(None), header.StudyInstanceUID
    document.ContentDate, document.ContentTime = "20260203", "111213.25"
    template, series, study = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    template.MappingResource, template.TemplateIdentifier = "DCMR", "1500"
    document.ContentTemplateSequence = [template]
    series.SeriesInstanceUID = header.SeriesInstanceUID
    series.ReferencedSOPSequence = image(header).ReferencedSOPSequence
    study.StudyInstanceUID, study.ReferencedSeriesSequence = header.StudyInstanceUID, [series]
    document.CurrentRequestedProcedureEvidenceSequence = [study]
    document.ConceptNameCodeSequence = [code("126000")]
    observers = [item("PNAME", code("121008"), PersonName=person)] if person else []
    document.ContentSequence = [*observers, item("CONTAINER", code("126010"), *groups)]
    for keyword, value in tags.items():
        setattr(document, keyword, value)
    return document
