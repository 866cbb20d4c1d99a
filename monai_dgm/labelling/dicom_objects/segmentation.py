"""The saliency mask as a DICOM Segmentation (PS3.3 A.51), for radiographs with a position in the patient.

OHIF aligns a segmentation with its image by their positions in the patient, and waits without end if the image has
none, as nearly all radiographs. So segmentations are written only for images with Image Position and Orientation
(Patient), Frame of Reference UID and Pixel Spacing; all others have the overlay as Secondary Capture only.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.sr.coding import Code
from pydicom.uid import UID

from monai_dgm.errors import InputError
from monai_dgm.labelling.dicom_objects.derived import (
    Algorithm,
    copy_identity,
    known_sop_class,
    new_object,
    source_header,
)
from monai_dgm.readers.dicom.read import pixel_spacing
from monai_dgm.utils.optional_package import import_package

SERIES_NUMBER = 9103
_CATEGORY = Code("49755003", "SCT", "Morphologically Abnormal Structure")
_TYPE = Code("112001", "DCM", "Opacity")
_FAMILY = Code("123110", "DCM", "Artificial Intelligence")
_COLOUR = [43802, 53279, 41885]  # CIELab as 16-bit integers (C.10.7.1.1): orange


def segmentation_obstacle(source: pydicom.Dataset) -> str | None:
    """Reason why no segmentation of this image can be written, in one line; None if it can."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings on values can quote patient data
        missing = [
            keyword
            for keyword, count in (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6))
            if _numbers(source, keyword, count) is None
        ]
        if not UID(str(source.get("FrameOfReferenceUID") or "")).is_valid:
            missing.append("FrameOfReferenceUID")
        if pixel_spacing(source, ("PixelSpacing",)) is None:
            missing.append("PixelSpacing")
        if missing:
            return f"the image has no position in the patient: it lacks {', '.join(missing)}"
        axes = np.array(_numbers(source, "ImageOrientationPatient", 6)).reshape(2, 3)
        if not np.allclose(axes @ axes.T, np.eye(2), atol=1e-3):
            return "the image has no position in the patient: ImageOrientationPatient is not orthonormal"
    return None


def write_saliency_segmentation(
    source: pydicom.Dataset, mask: NDArray[np.bool_], *, algorithm: Algorithm, series_uid: str | None = None
) -> pydicom.Dataset:
    """A binary segmentation of one segment, *saliency*, in the study of the radiograph.

    Args:
        source: the radiograph; only its header is used.
        mask: bool (rows, cols) over its pixels, True inside.
        algorithm: that made the mask.
        series_uid: UID of the series to add to; a new one by default.

    Returns:
        Data set with file meta information, for saving or sending.

    Raises:
        InputError: highdicom is not installed, :func:`segmentation_obstacle` of the source, a mask of another shape
            than the source, an empty mask (a segmentation needs at least one frame), or an unknown SOP class.
    """
    obstacle = segmentation_obstacle(source)
    if obstacle is not None:
        raise InputError(f"segmentation: {obstacle}")
    header = source_header(source)
    if mask.shape != (header.Rows, header.Columns):
        raise InputError(f"segmentation: expected a mask of {header.Rows} x {header.Columns}, got {mask.shape}")
    if not mask.any():
        raise InputError("segmentation: expected a mask with at least one pixel, it is empty")
    hd = import_package("highdicom", "DICOM segmentations", "dicom")
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "FrameOfReferenceUID"):
        setattr(header, keyword, source.get(keyword))
    header.SliceThickness = "1"  # a projection has none, and highdicom asks for one
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with known_sop_class(header):
            segmentation = _segmentation(hd, header, np.asarray(mask, dtype=bool), algorithm, series_uid)
    copy_identity(source, segmentation)
    return segmentation


def _segmentation(
    hd: Any, header: pydicom.Dataset, mask: NDArray[np.bool_], algorithm: Algorithm, series_uid: str | None
) -> pydicom.Dataset:
    segment = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="saliency, not for diagnosis",
        segmented_property_category=_CATEGORY,
        segmented_property_type=_TYPE,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=algorithm.name, family=_FAMILY, version=algorithm.version
        ),
    )
    segment.RecommendedDisplayCIELabValue = _COLOUR
    segmentation: pydicom.Dataset = hd.seg.Segmentation(
        source_images=[header],
        pixel_array=mask,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[segment],
        content_label="SALIENCY",
        content_description="Saliency, not for diagnosis",
        **new_object(algorithm, SERIES_NUMBER, "saliency", series_uid),
    )
    return segmentation


def _numbers(source: pydicom.Dataset, keyword: str, count: int) -> list[float] | None:
    try:
        values = [float(value) for value in source.get(keyword) or ()]
    except (TypeError, ValueError):
        return None
    return values if len(values) == count and np.isfinite(values).all() else None
