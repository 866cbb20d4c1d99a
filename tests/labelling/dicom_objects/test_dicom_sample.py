from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from monai_dgm.errors import InputError
from monai_dgm.labelling.dicom_objects.dicom_sample import write_dicom_sample
from monai_dgm.readers.read import read_radiograph


def test_each_image_is_a_study_of_its_patient(sample_dir: Path, tmp_path: Path) -> None:
    files = write_dicom_sample(sample_dir, tmp_path)
    headers = [pydicom.dcmread(file, stop_before_pixels=True) for file in files]
    assert len({header.StudyInstanceUID for header in headers}) == len(files) == len(list(tmp_path.iterdir()))
    assert len({header.PatientID for header in headers}) == 24
    assert {header.Modality for header in headers} == {"DX"} and {header.BodyPartExamined for header in headers} == {
        "CHEST"
    }
    png = np.asarray(Image.open(sample_dir / "images" / f"{files[3].stem}.png"), dtype=np.float32)
    np.testing.assert_allclose(np.corrcoef(read_radiograph(files[3]).pixels.ravel(), png.ravel())[0, 1], 1, atol=1e-6)


def test_it_is_written_once(sample_dir: Path, tmp_path: Path) -> None:
    files = write_dicom_sample(sample_dir, tmp_path)
    before = [file.stat().st_mtime_ns for file in files]
    assert [file.stat().st_mtime_ns for file in write_dicom_sample(sample_dir, tmp_path)] == before


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a sample"):
        write_dicom_sample(tmp_path, tmp_path)
