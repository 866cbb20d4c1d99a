"""Opacity boxes as a DICOM Structured Report, TID 1500 (PS3.16), which viewers show and OHIF can edit.

OHIF turns a measurement group into an editable rectangle when its tracking identifier is
``Cornerstone3DTools@^0.1.0:RectangleROI``, its region is an SCOORD POLYLINE of the corners top left, top right, bottom
right, bottom left and top left again, and it has no NUM without an SCOORD below it. The text at the rectangle is the
comment (121106, DCM), so label and score are written there. Coordinates are columns and rows of the image,
(0, 0) is the outer corner of the first pixel (PS3.3 C.18.6.1.1), as in our boxes.

A report without boxes states that there is no opacity: it has one group without a region, which evaluates opacity
(112001, DCM) as absent (272519000, SCT). A report without any group could also be one whose regions were lost. With the
name of a reader it is a confirmed negative, without one it is the model's prediction. OHIF 3.13 fails to open an
*Imaging Measurement Report* with such a group, but shows documents with other titles as text, so the title of this one
is *Diagnostic imaging study*.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pydicom
from numpy.typing import ArrayLike, NDArray
from pydicom.sr.coding import Code
from pydicom.uid import UID, ComprehensiveSRStorage

from monai_dgm.errors import InputError
from monai_dgm.labelling.dicom_objects.derived import (
    SOFTWARE,
    Algorithm,
    check_text,
    copy_identity,
    known_sop_class,
    new_object,
    new_uid,
    source_header,
)
from monai_dgm.utils.optional_package import import_package

RECTANGLE = "Cornerstone3DTools@^0.1.0:RectangleROI"
NO_OPACITY = "monai-dgm:NoOpacity"
OPACITY = Code("112001", "DCM", "Opacity")
ABSENT = Code("272519000", "SCT", "Absent")
COMMENT = Code("121106", "DCM", "Comment")
TITLE = Code("126000", "DCM", "Imaging Measurement Report")
TITLE_WITHOUT_BOXES = Code("18748-4", "LN", "Diagnostic imaging study")
PROCEDURE = Code("363679005", "SCT", "Imaging procedure")
SERIES_NUMBER = 9101
NO_OPACITY_TEXT = "no opacity"
# uuid5 of the DNS name space and "monai-dgm": the same for every installation and model
DEVICE_UID = "2.25.188968940098349719432593703859418639037"


def write_opacity_report(
    source: pydicom.Dataset,
    boxes: ArrayLike,
    scores: ArrayLike | None = None,
    *,
    algorithm: Algorithm,
    reader: str | None = None,
    label: str = "opacity",
    tracking_uids: Sequence[str] | None = None,
    series_uid: str | None = None,
    replaces: Sequence[tuple[str, str]] = (),
) -> pydicom.Dataset:
    """A Comprehensive SR (88.33) of the opacity boxes of one radiograph, in the study of the radiograph.

    Args:
        source: the radiograph; only its header is used. Optional attributes may be missing.
        boxes: (N, 4) in pixels of the radiograph, clipped to it. Without boxes the report states *no opacity*.
        scores: (N,) in [0, 1], NaN where there is none; written with two digits.
        algorithm: model that found the boxes, or whose boxes the reader saw.
        reader: name of the reader who drew the boxes, at most 63 characters; None for a model's prediction.
        label: text before each score.
        tracking_uids: (N,) one per box, if they are boxes of an earlier report.
        series_uid: UID of the series to add to; a new one by default.
        replaces: Series and SOP Instance UIDs of earlier reports in the same study, which this one replaces.

    Returns:
        Data set with file meta information, for saving or sending.

    Raises:
        InputError: highdicom is not installed, the source lacks UIDs or size, its SOP class is unknown, an
            invalid box, a box outside the image, or scores or UIDs that do not match the boxes.
    """
    hd = import_package("highdicom", "DICOM structured reports", "dicom")
    header = source_header(source)
    corners = _inside(boxes, header.Rows, header.Columns)
    comments = _comments(scores, len(corners), label)
    uids = _tracking_uids(tracking_uids, max(1, len(corners)))
    observers = _observers(hd, algorithm, reader)
    found_by = None if reader else algorithm
    with known_sop_class(header):
        groups = [
            _box_group(hd, header, box, comment, uid, found_by)
            for box, comment, uid in zip(corners, comments, uids, strict=bool(len(corners)))
        ]
        content = hd.sr.MeasurementReport(
            observation_context=observers,
            procedure_reported=PROCEDURE,
            title=TITLE if groups else TITLE_WITHOUT_BOXES,
            imaging_measurements=groups or [_absence_group(hd, uids[0], found_by)],
            referenced_images=[header],
        )
        report = _document(hd, header, content, algorithm, series_uid)
    copy_identity(source, report)
    if replaces:
        report.PredecessorDocumentsSequence = [_predecessors(header, replaces)]
    return report


def _predecessors(header: pydicom.Dataset, reports: Sequence[tuple[str, str]]) -> pydicom.Dataset:
    """Item of the Predecessor Documents Sequence (PS3.3 C.17.2)."""
    item = pydicom.Dataset()
    item.StudyInstanceUID = header.StudyInstanceUID
    item.ReferencedSeriesSequence = []
    for series_uid, instance_uid in reports:
        series, reference = pydicom.Dataset(), pydicom.Dataset()
        reference.ReferencedSOPClassUID = ComprehensiveSRStorage
        reference.ReferencedSOPInstanceUID = instance_uid
        series.SeriesInstanceUID, series.ReferencedSOPSequence = series_uid, [reference]
        item.ReferencedSeriesSequence.append(series)
    return item


def format_comment(label: str, score: float) -> str:
    """The text at a box: ``opacity 0.87``, or ``opacity`` for a score of NaN."""
    return label if np.isnan(score) else f"{label} {score:.2f}"


def _inside(boxes: ArrayLike, rows: int, cols: int) -> NDArray[np.float64]:
    array = np.asarray(boxes, dtype=np.float64)
    if array.size == 0:
        return np.zeros((0, 4))
    if array.ndim != 2 or array.shape[1] != 4:
        raise InputError(f"opacity report: expected boxes of shape (N, 4), got {array.shape}")
    if not np.isfinite(array).all() or (array[:, :2] >= array[:, 2:]).any():
        raise InputError("opacity report: expected finite boxes with xmin < xmax and ymin < ymax")
    clipped = np.clip(array, 0, [cols, rows, cols, rows])
    outside = (clipped[:, :2] >= clipped[:, 2:]).any(axis=1)
    if outside.any():
        raise InputError(
            f"opacity report: box {int(np.flatnonzero(outside)[0])} lies outside the image of {cols} x {rows} pixels"
        )
    return clipped


def _comments(scores: ArrayLike | None, count: int, label: str) -> list[str]:
    check_text("label of a box", label)
    if scores is None:
        return [label] * count
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != (count,) or not np.all(np.isnan(values) | ((values >= 0) & (values <= 1))):
        raise InputError(f"opacity report: expected {count} scores in [0, 1] or NaN, got shape {values.shape}")
    return [format_comment(label, float(score)) for score in values]


def _tracking_uids(uids: Sequence[str] | None, count: int) -> list[str]:
    if uids is None:
        return [new_uid() for _ in range(count)]
    if len(uids) != count or len(set(uids)) != count or not all(UID(uid).is_valid for uid in uids):
        raise InputError(f"opacity report: expected {count} different valid tracking UIDs, got {len(uids)}")
    return list(uids)


def _box_group(
    hd: Any, header: pydicom.Dataset, box: NDArray[np.float64], comment: str, uid: str, algorithm: Algorithm | None
) -> Any:
    xmin, ymin, xmax, ymax = box
    region = hd.sr.ImageRegion(
        graphic_type=hd.sr.GraphicTypeValues.POLYLINE,
        graphic_data=np.array([[xmin, ymin], [xmax, ymin], [xmax, ymax], [xmin, ymax], [xmin, ymin]]),
        source_image=hd.sr.SourceImageForRegion(header.SOPClassUID, header.SOPInstanceUID),
    )
    group = hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=uid, identifier=RECTANGLE),
        referenced_region=region,
        finding_type=OPACITY,
        algorithm_id=_algorithm_id(hd, algorithm),
    )
    return _with_comment(hd, group, comment)


def _absence_group(hd: Any, uid: str, algorithm: Algorithm | None) -> Any:
    group = hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=uid, identifier=NO_OPACITY),
        algorithm_id=_algorithm_id(hd, algorithm),
        qualitative_evaluations=[hd.sr.QualitativeEvaluation(name=OPACITY, value=ABSENT)],
    )
    return _with_comment(hd, group, NO_OPACITY_TEXT)


def _algorithm_id(hd: Any, algorithm: Algorithm | None) -> Any:
    return None if algorithm is None else hd.sr.AlgorithmIdentification(algorithm.name, algorithm.version)


def _with_comment(hd: Any, group: Any, comment: str) -> Any:
    item = hd.sr.TextContentItem(COMMENT, comment, relationship_type=hd.sr.RelationshipTypeValues.CONTAINS)
    group[0].ContentSequence.append(item)
    return group


def _document(hd: Any, header: pydicom.Dataset, content: Any, algorithm: Algorithm, series_uid: str | None) -> Any:
    return hd.sr.ComprehensiveSR(
        evidence=[header],
        content=content,
        is_complete=True,
        **new_object(algorithm, SERIES_NUMBER, "opacity boxes", series_uid),
    )


def _observers(hd: Any, algorithm: Algorithm, reader: str | None) -> Any:
    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=DEVICE_UID,
        name=SOFTWARE,
        manufacturer_name=SOFTWARE,
        model_name=algorithm.name,
        serial_number=algorithm.version,
    )
    person = None
    if reader is not None:
        check_text("reader", reader, longest=63)
        # a caret ends the family name; without one the name would be invalid
        name = reader if "^" in reader else f"{reader}^"
        person = hd.sr.ObserverContext(
            Code("121006", "DCM", "Person"), hd.sr.PersonObserverIdentifyingAttributes(name=name)
        )
    return hd.sr.ObservationContext(
        observer_person_context=person,
        observer_device_context=hd.sr.ObserverContext(Code("121007", "DCM", "Device"), device),
    )
