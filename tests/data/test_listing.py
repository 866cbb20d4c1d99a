"""Listing radiographs for inference."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_dgm.data.listing import list_radiographs, unique_ids
from monai_dgm.errors import InputError


def test_a_folder_recursively(tmp_path: Path) -> None:
    names = ["a.dcm", "b.PNG", "sub/c.jpg", "sub/d.jpeg", "sub/deep/e.nii", "f.nii.gz"]
    others = ["readme.txt", ".hidden.png", "sub/table.csv", "no_suffix", ".cache/x.png", "archive.gz"]
    for name in names + others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * 200)
    for name in ("DICOM_FILE", "1.2.840.113619.2"):
        (tmp_path / name).write_bytes(bytes(128) + b"DICM" + bytes(50))
    datalist = list_radiographs(tmp_path)
    found = {str(Path(item["image"]).relative_to(tmp_path)) for item in datalist}
    assert found == {*names, "DICOM_FILE", "1.2.840.113619.2"}
    assert {item["image_id"] for item in datalist} == {"a", "b", "c", "d", "e", "f", "DICOM_FILE", "1.2.840.113619.2"}
    assert datalist == list_radiographs(str(tmp_path))


def test_one_file_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "odd.bin").write_bytes(b"decided when it is read")
    assert list_radiographs(tmp_path / "odd.bin") == [{"image": str(tmp_path / "odd.bin"), "image_id": "odd.bin"}]


def test_nothing_found(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found none"):
        list_radiographs(tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        list_radiographs(tmp_path / "none")


@pytest.mark.parametrize(
    "paths",
    [
        ["a.png", "b.png"],
        ["x/1.png", "y/1.png"],
        ["1.png", "1.jpg"],
        ["A.png", "a.png"],
        ["x/1.png", "x_1.png", "x/1.jpg"],
        ["x/y_1.png", "x_y/1.png", "x/y/1.png"],
        [".png", "x/.png"],
    ],
)
def test_identifiers_are_unique_and_file_names(paths: list[str]) -> None:
    names = unique_ids(paths)
    assert len({name.casefold() for name in names}) == len(paths)
    assert all(name and "/" not in name for name in names)
