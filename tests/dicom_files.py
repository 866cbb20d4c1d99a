"""A writer of small DICOM files: every test says only what is special about its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate

EXPLICIT = "1.2.840.10008.1.2.1"
PATIENT = "Doe^Jane"

DicomWriter = Callable[..., Path]


@pytest.fixture
def write_dicom(tmp_path: Path) -> DicomWriter:
    """write_dicom(pixels, **tags) -> path. ``stream`` stands in for pixels, encapsulated; None omits a tag."""

    def write(
        pixels: np.ndarray,
        name: str = "image.dcm",
        syntax: str = EXPLICIT,
        stream: bytes | None = None,
        meta: bool = True,
        **tags: Any,
    ) -> Path:
        path = tmp_path / name
        file_meta = FileMetaDataset()
        file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
        file_meta.MediaStorageSOPInstanceUID = "1.2.3"
        file_meta.TransferSyntaxUID = syntax
        dataset = FileDataset(
            str(path), {}, file_meta=file_meta if meta else None, preamble=b"\0" * 128 if meta else None
        )
        bits = 8 * pixels.dtype.itemsize
        values: dict[str, Any] = {
            "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1",
            "Modality": "DX",
            "PatientName": PATIENT,
            "PatientID": PATIENT,
            "BodyPartExamined": "CHEST",
            "ViewPosition": "PA",
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "Rows": pixels.shape[0],
            "Columns": pixels.shape[1],
            "BitsAllocated": bits,
            "BitsStored": bits,
            "HighBit": None,
            "PixelRepresentation": int(pixels.dtype.kind == "i"),
            "PixelData": pixels.tobytes() if stream is None else encapsulate([stream]),
            **tags,
        }
        if values["HighBit"] is None:
            values["HighBit"] = values["BitsStored"] - 1
        for keyword, value in values.items():
            if value is not None:
                setattr(dataset, keyword, value)
        if "PixelData" in dataset:
            dataset["PixelData"].VR = "OB" if bits == 8 or stream is not None else "OW"
            dataset["PixelData"].is_undefined_length = stream is not None
        dataset.is_little_endian = syntax != "1.2.840.10008.1.2.2"
        dataset.is_implicit_VR = syntax == "1.2.840.10008.1.2"
        pydicom.dcmwrite(str(path), dataset)
        return path

    return write


@pytest.fixture
def ramp() -> np.ndarray:
    """uint16 (24, 32), 0..767: every value once, rising along rows and columns, so that any transposition shows."""
    return np.arange(24 * 32, dtype=np.uint16).reshape(24, 32)


def lut(first: int, values: list[int]) -> pydicom.Dataset:
    """One item of a modality or VOI LUT sequence."""
    item = pydicom.Dataset()
    item.LUTDescriptor = [len(values), first, 16]
    item.LUTData = values
    item["LUTDescriptor"].VR = "US"
    item["LUTData"].VR = "US"
    return item
