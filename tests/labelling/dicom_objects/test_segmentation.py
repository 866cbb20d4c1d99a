"""Segmentations, and the radiographs that cannot have one."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest

pytest.importorskip("highdicom", reason="DICOM output needs the label extra")

from monai_dgm.errors import InputError
from monai_dgm.labelling.dicom_objects.derived import Algorithm, encode_dicom
from monai_dgm.labelling.dicom_objects.segmentation import segmentation_obstacle, write_saliency_segmentation

from .study import NAME, radiograph_header

ALGORITHM = Algorithm("dgm", "0.3.1")
PLACE = {
    "ImagePositionPatient": [-160.0, 0.0, 200.0],
    "ImageOrientationPatient": [1.0, 0, 0, 0, 0, -1],
    "FrameOfReferenceUID": "1.2.3",
}


@pytest.fixture
def mask() -> np.ndarray:
    inside = np.zeros((2000, 1600), dtype=bool)
    inside[100:300, 400:450] = True
    inside[1500, 7] = True
    return inside


def test_a_mask_comes_back(mask: np.ndarray) -> None:
    source = radiograph_header(**PLACE)
    made = write_saliency_segmentation(source, mask, algorithm=ALGORITHM)
    result = pydicom.dcmread(io.BytesIO(encode_dicom(made)))
    assert np.array_equal(result.pixel_array.reshape(mask.shape) != 0, mask)
    assert result.StudyInstanceUID == source.StudyInstanceUID and result.PatientName == NAME
    assert "PatientAddress" not in result and result.FrameOfReferenceUID == "1.2.3"
    references = result.ReferencedSeriesSequence[0]
    assert references.SeriesInstanceUID == source.SeriesInstanceUID
    assert references.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    (segment,) = result.SegmentSequence
    assert segment.SegmentAlgorithmType == "AUTOMATIC" and "not for diagnosis" in segment.SegmentLabel


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        *((keyword, None) for keyword in [*PLACE, "PixelSpacing"]),
        ("ImagePositionPatient", [1.0, 2.0]),
        ("ImageOrientationPatient", [1.0, 0, 0, 1, 0, 0]),
        ("PixelSpacing", [0.0, 0.0]),
        ("FrameOfReferenceUID", ""),
    ],
)
def test_an_image_without_a_place_has_none_and_says_why(mask: np.ndarray, keyword: str, value: object) -> None:
    source = radiograph_header(**{**PLACE, keyword: value})
    reason = segmentation_obstacle(source)
    assert reason is not None and keyword in reason and "\n" not in reason
    with pytest.raises(InputError, match=keyword):
        write_saliency_segmentation(source, mask, algorithm=ALGORITHM)


def test_an_image_with_a_place_has_no_obstacle() -> None:
    assert segmentation_obstacle(radiograph_header(**PLACE)) is None
    assert segmentation_obstacle(radiograph_header(**PLACE, PixelSpacing=[0.1, 0.2])) is None


def test_masks_that_are_none(mask: np.ndarray) -> None:
    source = radiograph_header(**PLACE)
    for wrong in (mask[:-1], np.zeros_like(mask)):
        with pytest.raises(InputError, match="mask"):
            write_saliency_segmentation(source, wrong, algorithm=ALGORITHM)
    with pytest.raises(InputError, match="SOP class"):
        write_saliency_segmentation(radiograph_header(**PLACE, SOPClassUID="1.2.3"), mask, algorithm=ALGORITHM)


def test_a_position_that_is_no_number_is_none() -> None:
    source = radiograph_header(**PLACE)
    source.add_new("ImagePositionPatient", "LO", ["x", "y", "z"])
    assert "ImagePositionPatient" in (segmentation_obstacle(source) or "")
