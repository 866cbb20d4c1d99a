from __future__ import annotations

import csv
import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from monai_dgm.data.examples import example_radiographs
from monai_dgm.errors import InputError
from monai_dgm.labelling.dicom_objects.derived import encode_dicom
from monai_dgm.labelling.dicom_objects.digital_xray import ExaminedPatient, write_dicom_sample, write_digital_xray
from monai_dgm.labelling.dicom_objects.secondary_capture import NORMAL, write_secondary_capture
from monai_dgm.readers.dicom.read import read_dicom
from monai_dgm.readers.read import read_radiograph
from monai_dgm.transforms.preparation import header_remarks

PATIENT = ExaminedPatient("sim-1", "F", 61)


@pytest.fixture
def pixels() -> np.ndarray:
    """uint16 (24, 32), every value once, up to the largest."""
    return (np.arange(24 * 32) * 85).astype(np.uint16).reshape(24, 32)


def test_our_reader_gets_the_pixels_and_what_goes_with_them(pixels: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(encode_dicom(write_digital_xray(pixels, PATIENT, "one", view="AP", pixel_spacing=(0.5, 0.25))))
    read = read_dicom(path)
    np.testing.assert_allclose(np.corrcoef(read.pixels.ravel(), pixels.ravel())[0, 1], 1, atol=1e-6)
    assert (read.pixel_spacing, read.modality, read.view, read.bits) == ((0.5, 0.25), "DX", "AP", 16)
    assert header_remarks(read) == ()


def test_one_examination_has_one_set_of_uids(pixels: np.ndarray) -> None:
    one, same, other = (write_digital_xray(pixels, PATIENT, key) for key in ("one", "one", "other"))
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        assert one[keyword] == same[keyword] != other[keyword]
    assert len({one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID}) == 3
    assert encode_dicom(one) == encode_dicom(same)


def test_results_can_be_derived_from_it(pixels: np.ndarray) -> None:
    from monai_dgm.labelling.dicom_objects.derived import Algorithm

    image = write_digital_xray(pixels, PATIENT, "one")
    capture = write_secondary_capture(image, np.zeros((24, 32), np.uint8), NORMAL, algorithm=Algorithm("a", "1"))
    assert capture.StudyInstanceUID == image.StudyInstanceUID and capture.PatientID == "sim-1"


def test_what_is_no_radiograph_is_refused(pixels: np.ndarray) -> None:
    for wrong in (pixels.astype(np.float32), pixels[None], pixels[:0]):
        with pytest.raises(InputError):
            write_digital_xray(wrong, PATIENT, "one")
    with pytest.raises(InputError):
        write_digital_xray(pixels, PATIENT, "one", view="LL")
    for patient in (("", "F", 1), ("a\\b", "F", 1), ("a", "female", 1), ("a", "F", -1)):
        with pytest.raises(InputError):
            ExaminedPatient(*patient)


def check_by_dciodvfy(path: Path) -> None:
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dciodvfy is not installed (Debian package dicom3tools)")
    done = subprocess.run([program, str(path)], capture_output=True, text=True, check=False)
    assert "Error" not in done.stderr and "DXImageForPresentation" in done.stderr + done.stdout


@pytest.mark.slow
def test_dciodvfy_has_nothing_to_say(pixels: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(encode_dicom(write_digital_xray(pixels, PATIENT, "one")))
    check_by_dciodvfy(path)
    assert pydicom.dcmread(io.BytesIO(path.read_bytes())).PatientAge == "061Y"


@pytest.mark.slow
def test_dciodvfy_accepts_the_real_radiographs(tmp_path: Path) -> None:
    for path in write_dicom_sample(example_radiographs(), tmp_path):
        check_by_dciodvfy(path)


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


def test_real_radiographs_are_not_called_simulated(tmp_path: Path) -> None:
    with open(example_radiographs() / "manifest.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    files = write_dicom_sample(example_radiographs(), tmp_path / "one")
    again = write_dicom_sample(example_radiographs(), tmp_path / "two")
    assert len(files) == 24 and [file.read_bytes() for file in files] == [file.read_bytes() for file in again]
    for row, path in zip(rows, files, strict=True):
        header = pydicom.dcmread(path)
        assert header.PatientName == f"NIH ChestX-ray14^{row['patient_id']}" and "simul" not in str(header).lower()
        assert header.ViewPosition == row["view"] and header.PatientAge == f"{int(row['age']):03d}Y"
        assert header.StudyDate == "" and header.Manufacturer == ""  # the source gives neither
        levels = np.asarray(Image.open(example_radiographs() / row["image"])).astype(np.uint16)
        np.testing.assert_array_equal(header.pixel_array, levels * 257)


def test_the_age_may_be_unknown(pixels: np.ndarray) -> None:
    assert "PatientAge" not in write_digital_xray(pixels, ExaminedPatient("a"), "one")


def test_an_unknown_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("image,source,patient_id,view,sex,age\na.png,elsewhere,1,PA,F,1\n")
    with pytest.raises(InputError, match="expected a source of"):
        write_dicom_sample(tmp_path, tmp_path)
