"""The RSNA challenge on a folder of five patients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monai_dgm.data.rsna import hold_out, load_rsna, parse_boxes, read_boxes
from monai_dgm.errors import InputError
from tests.readers.dicom.raw_files import phantom, radiograph_bytes

LABELS = """patientId,x,y,width,height,Target
d,,,,,0
b,10.0,20.0,30.0,40.5,1
b,50.0,20.0,10.0,10.0,1
c,,,,,0
e,1,2,3,4,1
a,,,,,0
"""
CLASSES = """patientId,class
a,Normal
b,Lung Opacity
b,Lung Opacity
c,No Lung Opacity / Not Normal
d,Normal
e,Lung Opacity
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "stage_2_train_images").mkdir()
    for name in "abcde":
        (tmp_path / "stage_2_train_images" / f"{name}.dcm").write_bytes(b"not looked at here")
    (tmp_path / "stage_2_train_labels.csv").write_text(LABELS)
    (tmp_path / "stage_2_detailed_class_info.csv").write_text(CLASSES)
    return tmp_path


def test_items(folder: Path) -> None:
    datalist = load_rsna(folder, num_hold_out=2)
    assert [item["patient_id"] for item in datalist] == ["d", "b", "c", "e", "a"]
    assert [item["section"] for item in datalist] == ["development"] * 3 + ["hold_out"] * 2
    assert [item["label"] for item in datalist] == [0, 1, 1, 1, 0]
    assert [item["category"] for item in datalist][:3] == ["normal", "lung_opacity", "other_abnormal"]
    assert datalist[1]["opacity_boxes"].tolist() == [[10, 20, 40, 60.5], [50, 20, 60, 30]]
    assert datalist[0]["opacity_boxes"].shape == (0, 4) and datalist[0]["opacity_boxes"].dtype == np.float32
    assert datalist[0]["image"] == str(folder / "stage_2_train_images" / "d.dcm")
    assert datalist[0]["label_source"] == "RSNA radiologists"


def test_boxes_outside_an_image_are_refused(folder: Path) -> None:
    """Images that were made smaller, with the boxes of the original size beside them."""
    for side, inside in ((64, True), (48, False)):
        content = radiograph_bytes(phantom(side))
        (folder / "stage_2_train_images" / "b.dcm").write_bytes(content)
        if inside:
            assert load_rsna(folder, num_hold_out=2)[1]["opacity_boxes"].shape == (2, 4)
        else:
            expected = "labels.csv, b: expected boxes inside the image of 48 x 48 pixels"
            with pytest.raises(InputError, match=expected):
                load_rsna(folder, num_hold_out=2)


def test_a_toy_folder_has_no_thousand_patients(folder: Path) -> None:
    with pytest.raises(InputError, match="expected more than 1000 patients, to hold 1000 out, got 5"):
        load_rsna(folder)
    assert hold_out(["c", "a", "b"], 2) == {"a", "b"}


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("labels", "patientId,x,", "patient,x,", "missing: patientId"),
        ("labels", ",Target", ",target", "missing: Target"),
        ("labels", "d,,,,,0", "d,,,,,2", "row 2: expected Target 0 or 1"),
        ("labels", "10.0,20.0", "ten,20.0", "row 3: expected a box as x, y, width and height"),
        ("labels", "10.0,20.0", "-10.0,20.0", "row 3: expected a box inside the image"),
        ("labels", "30.0,40.5", "0,40.5", "row 3: expected a box inside the image"),
        ("labels", "30.0,40.5", "inf,40.5", "row 3: expected a box inside the image"),
        ("labels", "e,1,2,3,4,1", "e,,,,,0", "expected boxes where"),
        ("classes", "a,Normal", "a,Pneumonia", 'row 2: expected a class of "Normal", "Lung Opacity"'),
        ("classes", "b,Lung Opacity\nb,Lung Opacity", "b,Lung Opacity\nb,Normal", "expected one class a patient"),
        ("classes", "d,Normal\n", "", "expected a class for every patient"),
        ("classes", CLASSES, "", "missing: patientId, class"),
        ("classes", CLASSES, "patientId,class\n", "expected rows"),
    ],
)
def test_unusable_label_files(folder: Path, file: str, old: str, new: str, expected: str) -> None:
    name = {"labels": "stage_2_train_labels.csv", "classes": "stage_2_detailed_class_info.csv"}[file]
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))
    with pytest.raises(InputError) as caught:
        load_rsna(folder, num_hold_out=2)
    assert expected in str(caught.value) and name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["stage_2_train_labels.csv", "stage_2_detailed_class_info.csv", "stage_2_train_images/c.dcm"]
)
def test_missing_files(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(InputError, match="expected"):
        load_rsna(folder, num_hold_out=2)


@pytest.mark.parametrize(
    "content", [b"patientId,x\n\xff\xfe", b'patientId,x,y,width,height,Target\n"' + b"a" * 200_000 + b'"\n']
)
def test_a_file_that_is_no_csv_in_utf_8_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    for read in (lambda: read_boxes(path), lambda: parse_boxes(content, str(path))):
        with pytest.raises(InputError, match="expected a CSV file in UTF-8"):
            read()
