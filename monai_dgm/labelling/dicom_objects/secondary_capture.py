"""Generated pictures as Secondary Capture images in the study (PS3.3 A.8.1), which every viewer shows.

Every picture has a burnt-in warning that it is synthetic. It is in a series of its own with modality OT, so that it is
not found as a radiograph (CR, DX), and it refers to its source image. Of the patient it has the identity only. Burned
In Annotation (0028,0301) states whether text in the pixels identifies the patient: it is the value of the source, and
absent where the source does not have one, since the source's pixels may be in the picture.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from monai_dgm.errors import InputError
from monai_dgm.labelling.dicom_objects.derived import (
    Algorithm,
    check_text,
    copy_identity,
    new_object,
    reference_item,
    source_header,
)
from monai_dgm.readers.dicom.read import pixel_aspect_of, pixel_spacing
from monai_dgm.utils.optional_package import import_package

WARNING_TEXT = "synthetic - not for diagnosis"
LEAST_SIDE = 512  # pixels of the shorter side: smaller pictures are enlarged to make the warning readable
MOST_ASPECT = 8  # ratio of the sides: a narrower picture has no room for the warning
SERIES_NUMBER = 9102


@dataclass(frozen=True)
class CaptureKind:
    """The kind of a picture.

    Args:
        title: start of the series description, at most 20 characters.
        derivation: how it was made from the source, for the Derivation Description (ST).
    """

    title: str
    derivation: str

    def __post_init__(self) -> None:
        check_text("title of a capture", self.title, longest=20)


NORMAL = CaptureKind(
    "synthetic normal",
    "Normal image synthesised from the source by a generative model: no structure in it was seen.",
)
RESIDUE = CaptureKind(
    "residue overlay",
    "Source with the residue of a generative model over it: where it differs from its synthesised normal image.",
)


def write_secondary_capture(
    source: pydicom.Dataset,
    picture: NDArray[np.uint8],
    kind: CaptureKind,
    *,
    algorithm: Algorithm,
    series_uid: str | None = None,
) -> pydicom.Dataset:
    """A picture as Secondary Capture image, uncompressed, with the warning burnt in.

    Args:
        source: radiograph it was made from; only its header is used. Optional attributes may be missing.
        picture: uint8 (rows, cols), bright = dense, or RGB (rows, cols, 3), over the whole source, of any size.
        kind: of the picture, such as ``NORMAL``.
        algorithm: that made it.
        series_uid: UID of the series to add to; a new one by default.

    Returns:
        Data set with file meta information, for saving or sending. Pictures whose shorter side is below 512 pixels are
        enlarged by a whole factor.

    Raises:
        InputError: highdicom is not installed, the source lacks UIDs or size, or an invalid picture.
    """
    hd = import_package("highdicom", "DICOM secondary captures", "dicom")
    header = source_header(source)
    pixels = burn_in(picture)
    series = new_object(algorithm, SERIES_NUMBER, kind.title, series_uid)
    del series["device_serial_number"]  # of a scanner that captured film
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # highdicom advises against values that copy_identity replaces
        capture: pydicom.Dataset = hd.sc.SCImage(
            pixel_array=pixels,
            photometric_interpretation="MONOCHROME2" if pixels.ndim == 2 else "RGB",
            bits_allocated=8,
            coordinate_system="PATIENT",
            study_instance_uid=header.StudyInstanceUID,
            patient_orientation=("L", "F"),
            **series,
        )
    copy_identity(source, capture)
    _add_origin(capture, source, header, kind)
    _add_geometry(capture, source, header, pixels.shape[:2])
    return capture


def burn_in(picture: NDArray[np.uint8], text: str = WARNING_TEXT) -> NDArray[np.uint8]:
    """Write ``text`` on small plates at the upper and the lower edge, so that a cropped picture keeps one of them.

    Args:
        picture: uint8 (rows, cols) or (rows, cols, 3).
        text: of the warning; written in two lines if one line would be too small.

    Returns:
        A copy, enlarged by a whole factor if its shorter side is below 512 pixels.

    Raises:
        InputError: another shape or type, or one side more than 8 times the other.
    """
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or picture.shape[2:] not in ((), (3,)):
        raise InputError(f"secondary capture: expected uint8 grey or RGB, got {picture.dtype} {picture.shape}")
    shorter, longer = sorted(picture.shape[:2])
    if not 0 < longer <= MOST_ASPECT * shorter:
        raise InputError(f"secondary capture: expected sides of at most {MOST_ASPECT} : 1, got {picture.shape}")
    factor = -(-LEAST_SIDE // shorter)
    enlarged = picture if factor == 1 else picture.repeat(factor, axis=0).repeat(factor, axis=1)
    canvas = Image.fromarray(np.ascontiguousarray(enlarged))
    plate = _plate(text, canvas.size)
    left = (canvas.width - plate.width) // 2
    for top in (0, canvas.height - plate.height):
        canvas.paste(plate, (left, top))
    return np.asarray(canvas).copy()


def _plate(text: str, size: tuple[int, int]) -> Image.Image:
    """White text on black, as a picture narrower than ``size``."""
    height = max(16, round(max(size) / 34))  # readable where a viewer fits the picture to its pane
    broken = _length(text, height) > 0.9 * size[0]
    lines = _halves(text) if broken else [text]
    if broken:
        height = min(height, *(int(0.9 * height * size[0] / _length(line, height)) for line in lines))
    width = round(max(_length(line, height) for line in lines)) + height
    plate = Image.new("L", (min(width, size[0]), round(1.3 * height * len(lines) + 0.2 * height)))
    draw = ImageDraw.Draw(plate)
    for i, line in enumerate(lines):
        center = (plate.width / 2, 0.1 * height + 1.3 * height * (i + 0.5))
        draw.text(center, line, font=ImageFont.load_default(height), anchor="mm", fill=255)
    return plate


def _length(line: str, height: int) -> float:
    return ImageFont.load_default(height).getlength(line)


def _halves(text: str) -> list[str]:
    parts = text.split()
    return [" ".join(parts[: len(parts) // 2]), " ".join(parts[len(parts) // 2 :])]


def _add_origin(capture: pydicom.Dataset, source: pydicom.Dataset, header: pydicom.Dataset, kind: CaptureKind) -> None:
    capture.ImageType = ["DERIVED", "SECONDARY"]
    capture.ConversionType = "SYN"
    capture.SeriesDate, capture.SeriesTime = capture.ContentDate, capture.ContentTime
    if capture.SamplesPerPixel == 1:  # black and white of the picture, not of a range that the viewer chooses
        capture.WindowCenter, capture.WindowWidth = "128", "256"
    capture.DerivationDescription = kind.derivation
    item, purpose = reference_item(header), pydicom.Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "121322", "DCM"
    purpose.CodeMeaning = "Source image for image processing operation"
    item.PurposeOfReferenceCodeSequence = [purpose]
    capture.SourceImageSequence = [item]
    annotated = str(source.get("BurnedInAnnotation") or "")
    if annotated in ("YES", "NO"):
        capture.BurnedInAnnotation = annotated


def _add_geometry(
    capture: pydicom.Dataset, source: pydicom.Dataset, header: pydicom.Dataset, shape: tuple[int, ...]
) -> None:
    capture.PatientOrientation = _patient_orientation(source)
    part = str(source.get("BodyPartExamined") or "")
    if not re.fullmatch("[A-Z0-9_ ]{0,16}", part):
        part = ""  # no code string: free words of a device
    capture.BodyPartExamined = part
    if part != "CHEST":  # which is not one of a pair (C.7.3.1)
        side = str(source.get("Laterality") or "")
        capture.Laterality = side if side in ("R", "L") else ""
    in_patient = pixel_spacing(source, ("PixelSpacing",))
    spacing = in_patient or pixel_spacing(source) or (pixel_aspect_of(source), 1.0)
    row, column = spacing[0] * header.Rows / shape[0], spacing[1] * header.Columns / shape[1]
    if in_patient:
        capture.PixelSpacing = [f"{row:.10g}", f"{column:.10g}"]
    elif abs(row / column - 1) > 1e-3:  # no size is known, only the shape of a pixel (C.7.6.3.1.7)
        capture.PixelAspectRatio = [round(10_000 * row / column), 10_000]


def _patient_orientation(source: pydicom.Dataset) -> list[str]:
    """The two directions of the source (PS3.3 C.7.6.1.1.1); none where it has others, or the text "LF"."""
    value = source.get("PatientOrientation")
    directions = [] if value is None or isinstance(value, str) else [str(direction) for direction in value]
    known = len(directions) == 2 and all(re.fullmatch("[LRAPHF]{1,3}", direction) for direction in directions)
    return directions if known else []
