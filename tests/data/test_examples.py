"""The radiographs that ship: as the issue of their licence allows, complete, and readable like any other folder."""

from __future__ import annotations

from collections import Counter

from monai_dgm.data import example_radiographs, load_manifest
from monai_dgm.readers import read_radiograph


def test_all_are_read_as_a_manifest() -> None:
    folder = example_radiographs()
    datalist = load_manifest(folder)
    assert len(datalist) == 24 == len({item["patient_id"] for item in datalist})
    assert Counter(item["category"] for item in datalist) == {"normal": 8, "lung_opacity": 8, "other_abnormal": 8}
    assert {item["label_source"] for item in datalist} == {"NIH text-mined"}  # other labels are not free
    assert {item["fold"] for item in datalist} == {0}  # the test fold: no shipped weight learned from them
    for item in datalist:
        assert read_radiograph(item["image"]).pixels.shape == (288, 288)
    assert {path.name for path in folder.glob("images/*.png")} == {
        item["image"].rsplit("/", 1)[-1] for item in datalist
    }


def test_they_are_small() -> None:
    assert sum(path.stat().st_size for path in example_radiographs().rglob("*") if path.is_file()) < 1_000_000
