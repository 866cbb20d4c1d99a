"""What dciodvfy (Debian's dicom3tools) says of every object that we write: no errors."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

pytest.importorskip("highdicom", reason="DICOM output needs the label extra")

from monai_dgm.labelling.dicom_objects.derived import Algorithm, encode_dicom
from monai_dgm.labelling.dicom_objects.secondary_capture import NORMAL, RESIDUE, write_secondary_capture
from monai_dgm.labelling.dicom_objects.segmentation import write_saliency_segmentation
from monai_dgm.labelling.dicom_objects.structured_report import write_opacity_report

from .study import radiograph_header
from .test_segmentation import PLACE

pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy is not installed (apt install dicom3tools)"),
]
ALGORITHM = Algorithm("dgm", "0.3.1")
GREY = np.zeros((600, 513), dtype=np.uint8)
SOURCES = {
    "DX": {},
    "CR": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1", "Modality": "CR"},
    "oblong pixels": {"PixelSpacing": None, "ImagerPixelSpacing": [0.1, 0.2]},
    "mirrored": {"PatientOrientation": ["R", "F"]},
    "upside down": {"PatientOrientation": ["L", "H"]},
    "lateral": {"PatientOrientation": ["A", "F"]},
    "orientation of one value": {"PatientOrientation": "L"},
    "empty orientation": {"PatientOrientation": ""},
    "for processing": {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1.1",
        "PresentationIntentType": "FOR PROCESSING",
    },
    "secondary capture": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "Modality": "OT"},
    "fluoroscopy": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.12.2", "Modality": "RF"},
    "empty": dict.fromkeys(["PatientName", "PatientID", "PatientBirthDate", "StudyID", "StudyDate"], ""),
    "other scripts": {"SpecificCharacterSet": "ISO_IR 192", "PatientName": "\u5c71\u7530^\u592a\u90ce"},
    "sex in words": {"PatientSex": "male"},
    "body part in words": {"BodyPartExamined": "thorax p.a. and lateral"},
    "laterality": {"Laterality": "L"},
    "burned in": {"BurnedInAnnotation": "YES"},
    "MONOCHROME1": {"PhotometricInterpretation": "MONOCHROME1"},
    "bare": dict.fromkeys(["PatientOrientation", "PixelSpacing", "BurnedInAnnotation", "PatientSex", "StudyTime"]),
}
WRITERS: dict[str, Callable[[pydicom.Dataset], pydicom.Dataset]] = {
    "boxes": lambda source: write_opacity_report(source, [[1, 2, 30, 40.5]], [0.5], algorithm=ALGORITHM),
    "a reader's boxes": lambda source: write_opacity_report(
        source, [[1, 2, 3, 4]], algorithm=ALGORITHM, reader="Doe^J"
    ),
    "no opacity": lambda source: write_opacity_report(source, [], algorithm=ALGORITHM, reader="Doe^J"),
    "normal": lambda source: write_secondary_capture(source, GREY, NORMAL, algorithm=ALGORITHM),
    "residue": lambda source: write_secondary_capture(source, np.stack([GREY] * 3, -1), RESIDUE, algorithm=ALGORITHM),
    "segmentation": lambda source: write_saliency_segmentation(
        source, np.ones((source.Rows, source.Columns), dtype=bool), algorithm=ALGORITHM
    ),
}


@pytest.mark.parametrize("tags", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_no_errors(
    write: Callable[[pydicom.Dataset], pydicom.Dataset], tags: dict[str, object], tmp_path: Path
) -> None:
    if write is WRITERS["segmentation"]:
        tags = {**tags, **PLACE, "PixelSpacing": [0.2, 0.2]}
    path = tmp_path / "object.dcm"
    path.write_bytes(encode_dicom(write(radiograph_header(**tags))))
    said = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False).stderr
    assert said.strip(), "dciodvfy said nothing: it names at least the object's kind"
    assert not [line for line in said.splitlines() if line.startswith(("Error", "Abort"))], said
