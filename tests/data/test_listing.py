"""Listing radiographs for inference."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_dgm.data.listing import list_folder, list_radiographs, unique_ids
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


def test_a_folder_as_from_a_cd(tmp_path: Path) -> None:
    """DICOM is told by its content, whatever its suffix; what is not taken is told with the reason."""
    whole = bytes(128) + b"DICM" + b"\x02\0\0\0UL\4\0\0\0\0\0" + b"\x08\0\x16\0UI\2\x001\0"
    taken = {
        "DICOM/IM1": whole,
        "DICOM/IM2": whole[144:],
        "DICOM/IM3.ima": whole,
        "IM4.dic": whole,
        "scan.dcm.1": whole,
    }
    left = {"DICOMDIR": "DICOMDIR", "study.zip": "zip archive", "autorun.inf": "first bytes", "empty": "first bytes"}
    contents = {
        **taken,
        "DICOMDIR": bytes(128) + b"DICM\x02\0\x02\0UI\x14\x001.2.840.10008.1.3.10\0",
        "study.zip": b"PK\x03\x04" + bytes(40),
        "autorun.inf": b"[autorun]",
        "empty": b"",
    }
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "broken_link").symlink_to(tmp_path / "nowhere")
    listing = list_folder(tmp_path)
    assert {str(Path(item["image"]).relative_to(tmp_path)) for item in listing.datalist} == set(taken)
    reasons = {str(Path(path).relative_to(tmp_path)): reason for path, reason in listing.left_out}
    assert reasons.keys() == {*left, "broken_link"}
    assert all(words in reasons[name] for name, words in left.items())


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
