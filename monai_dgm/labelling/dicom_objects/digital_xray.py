"""Radiographs of the package, real and simulated, as Digital X-Ray Images for presentation (PS3.3 A.26).

They are for trying an archive without patients of a hospital.
"""

from __future__ import annotations

import csv
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    PYDICOM_IMPLEMENTATION_UID,
    UID,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
)

from monai_dgm.errors import InputError
from monai_dgm.labelling.dicom_objects.derived import SOFTWARE, UTF8, check_text, encode_dicom
from monai_dgm.utils.atomic import write_bytes

FIELD_MM = 360.0  # side of the square that a detector shows of a chest
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "radiographs.monai-dgm")
_VIEWS = {"PA": ("272479007", "postero-anterior"), "AP": ("272460009", "antero-posterior")}  # CID 4010
_LEVELS = ("Study", "Series", "SOP")
_SEXES = ("M", "F", "O")


@dataclass(frozen=True)
class Origin:
    """Where a radiograph comes from, as its header says it.

    Args:
        family_name: of every patient; the patient id is the given name.
        study: study description.
        manufacturer, model: of the equipment; "" if unknown.
        spacing: how the pixel spacing is known.
        date: of study and image, YYYYMMDD; "" if unknown.
    """

    family_name: str
    study: str
    manufacturer: str
    model: str
    spacing: str
    date: str


SIMULATED = Origin("Simulated", "Chest radiograph, simulated", SOFTWARE, "simulator", "simulated", "20260101")
NIH = Origin("NIH ChestX-ray14", "Chest radiograph, NIH ChestX-ray14", "", "", "not known, 360 mm assumed", "")
ORIGINS = {"simulated": SIMULATED, "nih": NIH}  # by the manifest's column "source"


@dataclass(frozen=True)
class ExaminedPatient:
    """The patient of a radiograph.

    Args:
        patient_id: 1 to 64 characters.
        sex: "M", "F" or "O".
        age: years, 0 to 999; None if unknown.
    """

    patient_id: str
    sex: str = "O"
    age: int | None = None

    def __post_init__(self) -> None:
        check_text("patient id", self.patient_id)
        if self.sex not in _SEXES or not 0 <= (self.age or 0) <= 999:
            raise InputError("patient: expected a sex of M, F, O and an age of 0 to 999 years")


def digital_xray_uids(key: str) -> tuple[str, str, str]:
    """Study, Series and SOP Instance UID of :func:`write_digital_xray` for a key."""
    study, series, instance = (f"2.25.{uuid.uuid5(_NAMESPACE, f'{key}/{level}').int}" for level in _LEVELS)
    return study, series, instance


def write_digital_xray(
    pixels: NDArray[np.uint16],
    patient: ExaminedPatient,
    key: str,
    *,
    view: str = "PA",
    pixel_spacing: tuple[float, float] = (1.0, 1.0),
    origin: Origin = SIMULATED,
) -> pydicom.Dataset:
    """A chest radiograph, MONOCHROME2, uncompressed.

    Args:
        pixels: uint16 (rows, cols), bright = dense.
        patient: of the radiograph.
        key: of the examination; the same key gives the same UIDs.
        view: "PA" or "AP".
        pixel_spacing: (row, column) distance of pixel centres in mm, at the detector and in the patient.
        origin: where the radiograph comes from.

    Returns:
        Data set with file meta information, for saving or sending.

    Raises:
        InputError: pixels of another type or shape, or another view.
    """
    if pixels.dtype != np.uint16 or pixels.ndim != 2 or not pixels.size:
        raise InputError(f"digital x-ray: expected pixels uint16 (rows, cols), got {pixels.dtype} {pixels.shape}")
    if view not in _VIEWS:
        raise InputError(f"digital x-ray: expected a view of {', '.join(_VIEWS)}, got another")
    image = pydicom.Dataset()
    image.SpecificCharacterSet = UTF8
    image.SOPClassUID = DigitalXRayImageStorageForPresentation
    for level, uid in zip(_LEVELS, digital_xray_uids(key), strict=True):
        setattr(image, f"{level}InstanceUID", UID(uid))
    _add_patient(image, patient, origin)
    _add_acquisition(image, view, pixel_spacing, origin)
    _add_pixels(image, pixels)
    if not hasattr(image, "original_encoding"):  # pydicom 2
        image.is_little_endian, image.is_implicit_VR = True, False
    image.file_meta = FileMetaDataset()
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    return image


def write_dicom_sample(sample: str | os.PathLike[str], folder: str | os.PathLike[str]) -> list[Path]:
    """Write each image of a sample as a Digital X-Ray in a study of its own. The same sample gives the same UIDs.

    Images of 8 bits are scaled to 16. The field of view is taken to be 360 mm high.

    Args:
        sample: folder with ``manifest.csv``, written by ``write_sample`` or of ``example_radiographs``.
        folder: for the files; existing files are not changed.

    Returns:
        The files, in the manifest's order.

    Raises:
        InputError: the folder has no manifest.csv, or the manifest names another source than those of ``ORIGINS``.
    """
    source, target = Path(sample), Path(folder)
    try:
        with open(source / "manifest.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise InputError(f"{source / 'manifest.csv'}: expected a sample ({error.strerror})") from error
    return [_write_sample_image(source, target, row) for row in rows]


def _write_sample_image(source: Path, target: Path, row: dict[str, str]) -> Path:
    path = target / f"{Path(row['image']).stem}.dcm"
    if path.exists():
        return path
    if row["source"] not in ORIGINS:
        raise InputError(f"{source / 'manifest.csv'}: expected a source of {', '.join(ORIGINS)}, got another")
    levels = np.asarray(Image.open(source / row["image"]))
    pixels = levels.astype(np.uint16) * np.uint16(257 if levels.dtype == np.uint8 else 1)
    sex = row["sex"] if row["sex"] in ("M", "F") else "O"
    patient = ExaminedPatient(row["patient_id"], sex, int(float(row["age"])) if row["age"] else None)
    spacing = FIELD_MM / pixels.shape[0]
    key = f"{row['patient_id']}/{path.stem}/{pixels.shape[0]}"
    origin = ORIGINS[row["source"]]
    image = write_digital_xray(pixels, patient, key, view=row["view"], pixel_spacing=(spacing, spacing), origin=origin)
    write_bytes(path, encode_dicom(image))
    return path


def _add_patient(image: pydicom.Dataset, patient: ExaminedPatient, origin: Origin) -> None:
    image.PatientID, image.PatientName = patient.patient_id, f"{origin.family_name}^{patient.patient_id}"
    image.PatientSex, image.PatientBirthDate = patient.sex, ""
    if patient.age is not None:
        image.PatientAge = f"{patient.age:03d}Y"
    image.StudyID, image.AccessionNumber, image.ReferringPhysicianName = "1", "", ""
    image.StudyDescription, image.SeriesDescription = origin.study, "Chest"
    for event in ("Study", "Series", "Acquisition", "Content"):
        setattr(image, f"{event}Date", origin.date)
        setattr(image, f"{event}Time", "090000" if origin.date else "")


def _add_acquisition(image: pydicom.Dataset, view: str, pixel_spacing: tuple[float, float], origin: Origin) -> None:
    image.Modality, image.PresentationIntentType = "DX", "FOR PRESENTATION"
    image.SeriesNumber, image.InstanceNumber = 1, 1
    image.Manufacturer, image.ManufacturerModelName = origin.manufacturer, origin.model
    if origin.manufacturer:
        image.DeviceSerialNumber, image.SoftwareVersions = "none", "1"
    image.ImageType = ["DERIVED", "PRIMARY", ""]
    image.BodyPartExamined, image.ViewPosition, image.ImageLaterality = "CHEST", view, "U"
    image.PatientOrientation = ["L", "F"]
    image.AnatomicRegionSequence = [_code("51185008", "SCT", "Chest")]
    image.ViewCodeSequence = [_code(_VIEWS[view][0], "SCT", _VIEWS[view][1])]
    image.ViewCodeSequence[0].ViewModifierCodeSequence = []
    image.AcquisitionContextSequence = []
    image.DetectorType, image.PositionerType = "DIRECT", "NONE"
    spacing = [f"{value:.10g}" for value in pixel_spacing]
    image.ImagerPixelSpacing, image.PixelSpacing = spacing, list(spacing)
    image.PixelSpacingCalibrationType = "GEOMETRY"
    image.PixelSpacingCalibrationDescription = origin.spacing
    image.BurnedInAnnotation, image.LossyImageCompression = "NO", "00"


def _add_pixels(image: pydicom.Dataset, pixels: NDArray[np.uint16]) -> None:
    image.Rows, image.Columns = pixels.shape
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit, image.PixelRepresentation = 15, 0
    image.PixelIntensityRelationship, image.PixelIntensityRelationshipSign = "LOG", 1
    image.RescaleIntercept, image.RescaleSlope, image.RescaleType = "0", "1", "US"
    image.PresentationLUTShape = "IDENTITY"
    image.WindowCenter, image.WindowWidth = "32768", "65536"
    image.PixelData = pixels.astype("<u2").tobytes()
    image["PixelData"].VR = "OW"


def _code(value: str, scheme: str, meaning: str) -> pydicom.Dataset:
    item = pydicom.Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item
