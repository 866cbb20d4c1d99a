"""The embedded sample as DICOM files, to be put into an archive."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
from PIL import Image

from monai_dgm.errors import InputError
from monai_dgm.labelling.dicom_objects.derived import encode_dicom
from monai_dgm.labelling.dicom_objects.digital_xray import ExaminedPatient, write_digital_xray
from monai_dgm.utils.atomic import atomic_write

__all__ = ["write_dicom_sample"]

FIELD_MM = 360.0  # side of what a detector sees of a chest


def write_dicom_sample(sample: str | os.PathLike[str], folder: str | os.PathLike[str]) -> list[Path]:
    """Write each image of a sample as a Digital X-Ray of a study of its own; the same sample gives the same UIDs.

    Args:
        sample: folder that ``write_sample`` wrote.
        folder: for the files; those that are there stay as they are.

    Returns:
        The files, in the manifest's order.

    Raises:
        InputError: no sample.
    """
    source, target = Path(sample), Path(folder)
    try:
        with open(source / "manifest.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise InputError(f"{source / 'manifest.csv'}: expected a sample ({error.strerror})") from error
    return [_write(source, target, row) for row in rows]


def _write(source: Path, target: Path, row: dict[str, str]) -> Path:
    path = target / f"{Path(row['image']).stem}.dcm"
    if path.exists():
        return path
    pixels = np.asarray(Image.open(source / row["image"])).astype(np.uint16)
    sex = row["sex"] if row["sex"] in ("M", "F") else "O"
    patient = ExaminedPatient(row["patient_id"], sex, int(float(row["age"] or 0)))
    spacing = FIELD_MM / pixels.shape[0]
    key = f"{row['patient_id']}/{path.stem}/{pixels.shape[0]}"
    image = write_digital_xray(pixels, patient, key, view=row["view"], pixel_spacing=(spacing, spacing))
    with atomic_write(path) as partial:
        partial.write_bytes(encode_dicom(image))
    return path
