"""Whose radiograph a file is, and of which day: of its own header or a manifest, and never a guess."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from monai_dgm.labelling.dicom_objects.derived import encode_dicom
from monai_dgm.labelling.server.examinations import Examination, Examinations
from monai_dgm.labelling.server.studies import StudyFolder
from tests.labelling.fake_archive import radiograph


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "images" / "sub").mkdir(parents=True)
    return tmp_path / "images"


def add_dicom(root: Path, name: str, **tags: Any) -> None:
    (root / f"{name}.dcm").write_bytes(encode_dicom(radiograph(name, 20, 30, **tags)))


def add_png(root: Path, name: str) -> None:
    Image.fromarray(np.arange(600, dtype=np.uint8).reshape(20, 30)).save(root / f"{name}.png")


def examinations(root: Path) -> dict[str, Examination]:
    studies, found = StudyFolder(root), Examinations(root)
    return {name: found.of(studies.find(name)) for name in studies.ids()}


def test_a_dicom_file_says_it_itself(root: Path) -> None:
    add_dicom(root, "one", PatientID="7", PatientName="Roe^Jane=x", StudyDate="20240305", StudyTime="101500.25")
    add_dicom(root, "two", PatientID="7", PatientName="", StudyDate="", SeriesDate="20230101", StudyTime="10")
    add_dicom(root, "none", PatientID="", PatientName="", StudyDate="", SeriesDate="", AcquisitionDate="")
    assert examinations(root) == {
        "one": Examination("7", "Roe^Jane", "20240305", "101500"),
        "two": Examination("7", "7", "20230101", ""),
        "none": Examination("none", "none"),
    }


def test_nothing_is_guessed_from_names_folders_or_the_files_time(root: Path) -> None:
    for name in ("roe_20240305", "sub/roe_1", "sub/roe_2"):
        add_png(root, name)
    (root / "damaged.dcm").write_bytes(b"\0" * 128 + b"DICM\x10\x00\x20\x00LO\xff")
    found = examinations(root)
    assert {one.date for one in found.values()} == {""}
    assert [one.patient_id for one in found.values()] == list(found)


@pytest.mark.parametrize("beside", [False, True])
def test_a_manifest_says_it_for_pictures(root: Path, beside: bool) -> None:
    for name in ("a", "b", "sub/c"):
        add_png(root, name)
    add_dicom(root, "d", PatientID="own", PatientName="own", StudyDate="20200101", StudyTime="")
    before, folder = ("images/", root.parent) if beside else ("", root)
    lines = ["image,patient_id,study_date,more", f"{before}a.png,p1,2024-03-05,x", f"{before}sub/c.png,p1,20230101"]
    lines += [f"{before}d.dcm,p1,20230101", "../secret.png,p1,20230101", f"{before}b.png,p2,yesterday"]
    (folder / "manifest.csv").write_text("\n".join(lines))
    assert examinations(root) == {
        "a": Examination("p1", "a", "20240305"),
        "b": Examination("p2", "b"),
        "d": Examination("own", "own", "20200101"),
        "sub__c": Examination("p1", "sub__c", "20230101"),
    }


def test_changes_of_files_and_manifest_are_followed(root: Path) -> None:
    add_png(root, "a")
    studies, found = StudyFolder(root), Examinations(root)
    assert found.of(studies.find("a")).date == ""
    (root / "manifest.csv").write_text("image,patient_id,study_date\na.png,p,20240305\n")
    assert found.of(studies.find("a")) == Examination("p", "a", "20240305")
    (root / "manifest.csv").write_bytes(b"image,patient_id\n\xff\xfe,x\n")  # not UTF-8
    assert found.of(studies.find("a")) == Examination("a", "a")


def test_values_fit_into_dicom(root: Path) -> None:
    add_png(root, "a")
    (root / "manifest.csv").write_text(f"image,patient_id\na.png,{'x' * 80}^\\=\n")
    (one,) = examinations(root).values()
    assert len(one.patient_id) == 64 and not set("^\\=") & set(one.patient_id)
