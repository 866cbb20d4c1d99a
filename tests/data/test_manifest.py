"""Manifests: what is read, what is filled in, and what is refused with file and row."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monai_dgm.data.manifest import load_manifest
from monai_dgm.errors import InputError

from .conftest import ManifestWriter

BOX = json.dumps([[2, 3, 20, 30.5]])


def test_minimal_manifest(write_manifest: ManifestWriter) -> None:
    folder = write_manifest([{"image": "a.png", "label": "normal"}, {"image": "b/c.png", "label": "other_abnormal"}])
    first, second = load_manifest(folder)
    assert first["image"] == str(folder / "a.png") and second["image"] == str(folder / "b" / "c.png")
    assert (first["label"], first["category"]) == (0, "normal")
    assert (second["label"], second["category"]) == (1, "other_abnormal")
    assert first["image_id"] == first["patient_id"] == "a"
    assert first["opacity_boxes"].shape == (0, 4) and first["opacity_boxes"].dtype == np.float32
    for key in ("label_source", "source", "view", "sex", "age", "fold", "lung_mask", "normal", "opacity_mask"):
        assert first[key] is None


def test_columns_that_are_nearly_ours_are_told(write_manifest: ManifestWriter) -> None:
    row = {
        "image": "a.png",
        "label": "normal",
        "PatientID": "p",
        "Opacity Boxes": "",
        "finding_boxes": "",
        "findings": "x",
    }
    with pytest.warns(UserWarning, match="not used") as caught:
        load_manifest(write_manifest([row]))
    (said,) = {str(one.message).partition("used: ")[2] for one in caught}
    assert said == "'PatientID' (is it patient_id?), 'Opacity Boxes' (is it opacity_boxes?)"
    folder = write_manifest([{"image": "a.png", "Label": "normal"}])
    with pytest.raises(InputError, match=r"missing: label; got 'Label' \(is it label\?\)$"):
        load_manifest(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_manifest(write_manifest([{"image": "a.png", "label": "normal", "patient_id": "p", "patient": "Doe"}]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image,label,label\na.png,normal,other_abnormal", "expected each column once, got label more often"),
        ("image;label\na.png;normal", "missing: image, label, separated by commas"),
    ],
)
def test_a_table_with_other_columns_is_refused(write_manifest: ManifestWriter, text: str, words: str) -> None:
    folder = write_manifest([{"image": "a.png", "label": "normal"}])
    (folder / "manifest.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words):
        load_manifest(folder)


def test_values_that_were_moved_are_told(write_manifest: ManifestWriter) -> None:
    path = write_manifest([{"image": "a.png", "label": "normal"}]) / "manifest.csv"
    path.write_text("image,label,findings,patient_id\na.png,normal,none, old,p1\n", encoding="utf-8")
    with pytest.warns(UserWarning, match="1 rows have more values than columns, first row 2"):
        load_manifest(path.parent)
    path.write_text("image,label\na.png,normal,,\n", encoding="utf-8")  # of spreadsheets
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load_manifest(path.parent)) == 1


def test_what_an_abnormal_image_is_taken_for_is_told(write_manifest: ManifestWriter) -> None:
    rows = [{"image": "a.png", "label": "1"}, {"image": "b.png", "label": "1", "opacity_boxes": BOX}]
    with pytest.warns(UserWarning, match="1 images of label 1 without category and opacity_boxes"):
        found = load_manifest(write_manifest(rows))
    assert [item["category"] for item in found] == ["other_abnormal", "lung_opacity"]


def test_full_manifest(write_manifest: ManifestWriter) -> None:
    row = {
        "image": "a.png",
        "label": "lung_opacity",
        "patient_id": "p",
        "opacity_boxes": BOX,
        "width": 32,
        "height": 40,
    }
    row |= {
        "fold": "3",
        "view": "PA",
        "sex": "F",
        "age": "060Y",
        "source": "here",
        "lung_mask": "m.png",
        "normal": "n.png",
    }
    folder = write_manifest(
        [
            row,
            {"image": "m.png", "label": "0", "patient_id": "p"},
            {"image": "n.png", "label": "1", "patient_id": "p", "opacity_boxes": BOX},
        ]
    )
    item, zero, one = load_manifest(folder)
    assert np.array_equal(item["opacity_boxes"], np.asarray([[2, 3, 20, 30.5]], np.float32))
    assert (item["fold"], item["age"], item["patient_id"], item["view"], item["sex"]) == (3, 60, "p", "PA", "F")
    assert item["lung_mask"] == str(folder / "m.png") and item["normal"] == str(folder / "n.png")
    assert (zero["label"], zero["category"]) == (0, "normal")
    assert (one["label"], one["category"]) == (1, "lung_opacity")


def test_identifiers_are_unique_whatever_the_folders(write_manifest: ManifestWriter) -> None:
    rows = [{"image": name, "label": "normal"} for name in ("a/1.png", "b/1.png", "a_b/1.png")]
    names = [item["image_id"] for item in load_manifest(write_manifest(rows))]
    assert len(set(names)) == 3 and not any("/" in name for name in names)


def test_images_that_are_not_upright_are_left_out_with_a_warning(write_manifest: ManifestWriter) -> None:
    rows = [{"image": f"{i}.png", "label": "normal", "upright_ok": str(i != 1)} for i in range(3)]
    with pytest.warns(UserWarning, match="1 images left out"):
        assert [item["image_id"] for item in load_manifest(write_manifest(rows))] == ["0", "2"]


def test_images_without_a_patient_among_others_are_counted(write_manifest: ManifestWriter) -> None:
    rows = [{"image": f"{i}.png", "label": "normal", "patient_id": "p" * (i > 1)} for i in range(4)]
    with pytest.warns(UserWarning, match="2 images without patient_id, each counts as a patient's only one"):
        assert [item["patient_id"] for item in load_manifest(write_manifest(rows))] == ["0", "1", "p", "p"]


def test_boxes_a_rounding_outside_are_clipped(write_manifest: ManifestWriter) -> None:
    box = json.dumps([[-0.3, 3, 32.4, 40.2]])
    (item,) = load_manifest(write_manifest([{"image": "a.png", "label": "lung_opacity", "opacity_boxes": box}]))
    assert item["opacity_boxes"].tolist() == [[0, 3, 32, 40]]


@pytest.mark.parametrize("text", ["", "[]", "[[]]"])
def test_an_empty_list_of_boxes_is_no_box(write_manifest: ManifestWriter, text: str) -> None:
    (item,) = load_manifest(write_manifest([{"image": "a.png", "label": "normal", "opacity_boxes": text}]))
    assert np.asarray(item["opacity_boxes"]).shape == (0, 4)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"label": "pneumonia"}, "expected a label of normal, lung_opacity, other_abnormal, 0 or 1, got 'pneumonia'"),
        ({"label": ""}, "expected a label of"),
        ({"label": "1", "category": "ill"}, "expected a category of"),
        ({"label": "normal", "category": "lung_opacity"}, "expected label and category to agree"),
        ({"label": "normal", "opacity_boxes": BOX}, "expected no opacity_boxes on a normal image"),
        ({"opacity_boxes": "[[1, 2, 3]]"}, "expected opacity_boxes as a JSON list"),
        ({"opacity_boxes": "[[1, 2,"}, "expected opacity_boxes as a JSON list"),
        ({"opacity_boxes": "[[1, 2, NaN, 4]]"}, "expected opacity_boxes as a JSON list"),
        ({"opacity_boxes": '[["a", 2, 3, 4]]'}, "expected opacity_boxes as a JSON list"),
        ({"opacity_boxes": "[[1, 2], [3]]"}, "expected opacity_boxes as a JSON list"),
        ({"opacity_boxes": "[[20, 3, 2, 30]]"}, "expected xmin < xmax"),
        ({"opacity_boxes": "[[2, 3, 33, 30]]"}, "expected boxes inside the image of 32 x 40 pixels"),
        ({"opacity_boxes": "[[2, 3, 20, 41]]"}, "expected boxes inside the image of 32 x 40 pixels"),
        ({"opacity_boxes": "[[-2, 3, 20, 30]]"}, "expected boxes inside"),
        (
            {"opacity_boxes": "[[2, 3, 20, 30]]", "width": 10, "height": 40},
            "expected boxes inside the image of 10 x 40",
        ),
        ({"image": "none.jpg"}, "expected a file in the column image, there is no 'none.jpg'"),
        ({"image": ""}, "expected a path in the column image"),
        ({"lung_mask": "masks/none.png"}, "expected a file in the column lung_mask"),
        ({"fold": "two"}, "expected a fold as a whole number"),
        ({"upright_ok": "Flase"}, "expected upright_ok as True or False, got 'Flase'"),
        ({"image": "first.png"}, "expected each image once, first.png is also in row 2"),
        ({"image": "./first.png"}, "expected each image once"),
    ],
)
def test_unusable_rows(write_manifest: ManifestWriter, change: dict[str, Any], expected: str) -> None:
    rows = [{"image": "first.png", "label": "normal"}, {"image": "second.png", "label": "lung_opacity", **change}]
    folder = write_manifest(rows)
    with pytest.raises(InputError) as caught:
        load_manifest(folder)
    message = str(caught.value)
    assert message.startswith(f"{folder / 'manifest.csv'}, row 3: ") and expected in message and "\n" not in message


def test_unusable_files(write_manifest: ManifestWriter, tmp_path: Path) -> None:
    def fails(expected: str) -> None:
        with pytest.raises(InputError) as caught:
            load_manifest(tmp_path)
        assert str(tmp_path / "manifest.csv") in str(caught.value) and expected in str(caught.value)

    fails("expected a CSV manifest")
    write_manifest([{"image": "a.png", "label": "normal"}], columns=["image"])
    fails("expected the columns image, label, missing: label")
    (tmp_path / "manifest.csv").write_bytes(b"")
    fails("missing: image, label")
    write_manifest([], columns=["image", "label"])
    fails("expected at least one usable row")
    (tmp_path / "manifest.csv").write_bytes(b"image,label\n\xff\xfe\x00,normal\n")
    fails("UTF-8")
    write_manifest([{"image": f"{i}.png", "label": "normal", "image_id": "same"} for i in range(2)])
    fails("expected each image_id once")
    write_manifest([{"image": f"{i}.png", "label": "normal", "image_id": "x" * i} for i in range(2)])
    fails("expected an image_id in every row or in none")


def test_short_and_long_rows(tmp_path: Path, write_manifest: ManifestWriter) -> None:
    write_manifest([{"image": "a.png", "label": "normal", "view": "PA"}])
    (tmp_path / "manifest.csv").write_text("\ufeffimage,label,view\na.png,normal\n", encoding="utf-8")
    assert load_manifest(tmp_path)[0]["view"] is None
    (tmp_path / "manifest.csv").write_text("image,label\na.png,normal,PA,more\n", encoding="utf-8")
    assert load_manifest(tmp_path)[0]["label"] == 0


def test_real_manifest(real_data: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        datalist = load_manifest(real_data / "cxr")
    assert len(datalist) == len({item["image_id"] for item in datalist}) == 9737
    assert sum(len(item["opacity_boxes"]) > 0 for item in datalist) > 100
    assert {item["fold"] for item in datalist} == set(range(5))
