"""Pictures that we made, as Secondary Capture in the study (PS3.3 A.8.1): every viewer shows these.

Every picture says on itself that it is synthetic. It has its own series of modality OT, so that nobody who looks for
radiographs (CR, DX) takes it for one, and it tells which image it was derived from. Of the patient it holds the study's
identity and no more. Burned In Annotation (0028,0301) means words that identify the patient: it is NO unless the source
has such words, and left out where the source does not say, since its pixels may be in the picture.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import FileMetaDataset
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from monai_dgm.dicom.derived import SOFTWARE, Algorithm, check_text, copy_identity, new_uid, reference_item
from monai_dgm.dicom.derived import source_header as checked_header
from monai_dgm.dicom.read import pixel_spacing
from monai_dgm.errors import InputError

WARNING_WORDS = "synthetic - not for diagnosis"
LEAST_SIDE = 512  # of the shorter side: smaller pictures are enlarged, or the words could not be read
MOST_ASPECT = 8  # sides of a picture: in a narrower one there is no room for words
SERIES_NUMBER = 9102


@dataclass(frozen=True)
class CaptureKind:
    """What a picture shows.

    Args:
        title: series description, at most 64 characters.
        derivation: how it was made from the source, for the derivation description (ST).
    """

    title: str
    derivation: str

    def __post_init__(self) -> None:
        check_text("title of a capture", self.title)


NORMAL = CaptureKind(
    "Synthetic normal image, not for diagnosis",
    "Normal image synthesised from the source by a generative model: no structure in it was seen.",
)
RESIDUE = CaptureKind(
    "Residue overlay, not for diagnosis",
    "Source with the residue of a generative model over it: where it differs from its synthesised normal image.",
)


def write_secondary_capture(
    source: pydicom.Dataset,
    picture: NDArray[np.uint8],
    kind: CaptureKind,
    *,
    algorithm: Algorithm,
    series_uid: str | None = None,
    instance_number: int = 1,
) -> pydicom.Dataset:
    """A picture as Secondary Capture Image (7), uncompressed, with the warning burnt in.

    Args:
        source: radiograph it was made from; only its header is used. Optional attributes may be missing.
        picture: uint8 (rows, cols), bright = dense, or RGB (rows, cols, 3), over the whole source, of any size.
        kind: what it shows, such as ``NORMAL``.
        algorithm: what made it.
        series_uid: series to add to; a new one by default.
        instance_number: within the series, from 1.

    Returns:
        Data set with file meta information, ready to be saved or stored. Pictures whose shorter side is below 512 are
        enlarged by a whole number.

    Raises:
        InputError: the source lacks UIDs or size, or no such picture.
    """
    header = checked_header(source)
    pixels = burn_in(picture)
    capture = pydicom.Dataset()
    copy_identity(source, capture)
    _add_series(capture, kind, algorithm, series_uid, instance_number)
    _add_origin(capture, source, header, kind)
    _add_geometry(capture, source, header, pixels.shape[:2])
    _add_pixels(capture, pixels)
    if not hasattr(capture, "original_encoding"):  # pydicom 2
        capture.is_little_endian, capture.is_implicit_VR = True, False
    capture.file_meta = _file_meta(capture)
    return capture


def burn_in(picture: NDArray[np.uint8], words: str = WARNING_WORDS) -> NDArray[np.uint8]:
    """Write ``words`` on small plates at the upper and the lower edge, so that a crop keeps one of them.

    Args:
        picture: uint8 (rows, cols) or (rows, cols, 3).
        words: one line; broken in two where it would be too small otherwise.

    Returns:
        A copy, enlarged by a whole number where its shorter side was below 512.

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
    plate = _plate(words, canvas.size)
    left = (canvas.width - plate.width) // 2
    for top in (0, canvas.height - plate.height):
        canvas.paste(plate, (left, top))
    return np.asarray(canvas).copy()


def _plate(words: str, size: tuple[int, int]) -> Image.Image:
    """White words on black, as a picture narrower than ``size``."""
    height = max(16, round(max(size) / 34))  # readable where a viewer fits the picture to its pane
    broken = _length(words, height) > 0.9 * size[0]
    lines = _halves(words) if broken else [words]
    if broken:
        height = min(height, *(int(0.9 * height * size[0] / _length(line, height)) for line in lines))
    width = round(max(_length(line, height) for line in lines)) + height
    plate = Image.new("L", (min(width, size[0]), round(1.3 * height * len(lines) + 0.2 * height)))
    draw = ImageDraw.Draw(plate)
    for i, line in enumerate(lines):
        place = (plate.width / 2, 0.1 * height + 1.3 * height * (i + 0.5))
        draw.text(place, line, font=ImageFont.load_default(height), anchor="mm", fill=255)
    return plate


def _length(line: str, height: int) -> float:
    return ImageFont.load_default(height).getlength(line)


def _halves(words: str) -> list[str]:
    parts = words.split()
    return [" ".join(parts[: len(parts) // 2]), " ".join(parts[len(parts) // 2 :])]


def _add_series(
    capture: pydicom.Dataset, kind: CaptureKind, algorithm: Algorithm, series_uid: str | None, instance_number: int
) -> None:
    now = datetime.now()
    capture.SOPClassUID, capture.SOPInstanceUID = SecondaryCaptureImageStorage, new_uid()
    capture.SeriesInstanceUID = series_uid or new_uid()
    capture.SeriesNumber, capture.InstanceNumber = SERIES_NUMBER, instance_number
    capture.SeriesDescription = kind.title
    capture.Modality, capture.ConversionType = "OT", "SYN"
    capture.Manufacturer, capture.ManufacturerModelName = SOFTWARE, algorithm.name
    capture.SoftwareVersions = algorithm.version
    date, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    capture.SeriesDate = capture.ContentDate = capture.InstanceCreationDate = date
    capture.SeriesTime = capture.ContentTime = capture.InstanceCreationTime = time


def _add_origin(capture: pydicom.Dataset, source: pydicom.Dataset, header: pydicom.Dataset, kind: CaptureKind) -> None:
    capture.ImageType = ["DERIVED", "SECONDARY"]
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
    orientation = source.get("PatientOrientation") or []
    capture.PatientOrientation = list(orientation) if len(orientation) == 2 else []
    part = str(source.get("BodyPartExamined") or "")
    if not re.fullmatch("[A-Z0-9_ ]{0,16}", part):
        part = ""  # no code string: free words of a device
    capture.BodyPartExamined = part
    if part != "CHEST":  # which is not one of a pair (C.7.3.1)
        capture.Laterality = str(source.get("Laterality") or "")
    in_patient = pixel_spacing(source, ("PixelSpacing",))
    spacing = in_patient or pixel_spacing(source) or (1.0, 1.0)
    row, column = spacing[0] * header.Rows / shape[0], spacing[1] * header.Columns / shape[1]
    if in_patient:
        capture.PixelSpacing = [f"{row:.10g}", f"{column:.10g}"]
    elif abs(row / column - 1) > 1e-3:  # no size is known, only the shape of a pixel (C.7.6.3.1.7)
        capture.PixelAspectRatio = [round(10_000 * row / column), 10_000]


def _add_pixels(capture: pydicom.Dataset, pixels: NDArray[np.uint8]) -> None:
    capture.Rows, capture.Columns = pixels.shape[:2]
    capture.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    capture.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        capture.PlanarConfiguration = 0
    else:  # black and white as they are meant, instead of the range that a viewer finds
        capture.WindowCenter, capture.WindowWidth = "128", "256"
    capture.BitsAllocated = capture.BitsStored = 8
    capture.HighBit, capture.PixelRepresentation = 7, 0
    data = pixels.tobytes()
    capture.PixelData = data + b"\0" * (len(data) % 2)
    capture["PixelData"].VR = "OB"


def _file_meta(capture: pydicom.Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = capture.SOPClassUID
    meta.MediaStorageSOPInstanceUID = capture.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    return meta
