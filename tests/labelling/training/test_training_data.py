from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from monai_dgm.errors import InputError
from monai_dgm.labelling.training.training_data import (
    Replay,
    corrected_items,
    make_training_data,
    read_counts,
    read_splits,
    replayed,
    write_copy,
    write_splits,
)
from monai_dgm.readers.read import image_shape, read_radiograph
from tests.labelling.trainable import SIDE, readable, true_label

NOTHING = Replay([], [], [], "")
BOX = np.array([[4.0, 4.0, 20.0, 20.0]])


def images_of(items: list[dict[str, Any]]) -> dict[str, str]:
    return {item["image_id"]: item["image"] for item in items}


@pytest.fixture
def items(sample_dir: Path) -> list[dict[str, Any]]:
    return readable(sample_dir)


def test_readers_agree_or_the_image_is_left_out(items: list[dict[str, Any]]) -> None:
    alone, negative, agreed, disputed, gone = (item["image_id"] for item in items[:5])
    labels = [true_label(items[0], "one", BOX), true_label(items[1], "one", [])]
    labels += [true_label(items[2], reader, BOX + shift) for reader, shift in (("one", 0.0), ("two", 2.0))]
    labels += [true_label(items[3], reader, boxes) for reader, boxes in (("a", BOX), ("b", []), ("c", BOX + 35))]
    labels += [true_label(items[4])]
    images = {name: path for name, path in images_of(items).items() if name != gone}
    found, counts = corrected_items(labels, images)
    by_id = {item["image_id"]: item for item in found}
    assert set(by_id) == {alone, negative, agreed} and disputed not in by_id
    np.testing.assert_allclose(by_id[agreed]["opacity_boxes"], BOX + 1)
    assert by_id[negative]["category"] == "normal" and len(by_id[negative]["opacity_boxes"]) == 0
    assert by_id[alone]["category"] == "lung_opacity" and by_id[alone]["label_source"] == "readers"
    assert counts["disputed"] == 1 and counts["unusable"] == 1 and counts["no_finding"] == 1


def test_an_image_of_another_size_than_labelled_is_left_out(items: list[dict[str, Any]], tmp_path: Path) -> None:
    other = tmp_path / "other.png"
    write_copy(np.zeros((SIDE, SIDE + 2)), other)
    name = items[0]["image_id"]
    found, counts = corrected_items([true_label(items[0])], {name: str(other)})
    assert found == [] and counts["unusable"] == 1
    (tmp_path / "none.png").write_bytes(b"no image")
    assert corrected_items([true_label(items[0])], {name: str(tmp_path / "none.png")})[0] == []


def dicom(path: Path, patient: str) -> str:
    data = pydicom.Dataset()
    data.SOPClassUID, data.PatientID, data.PatientName = CTImageStorage, patient, "Doe^Jane"
    data.Rows = data.Columns = SIDE
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID, data.file_meta.MediaStorageSOPInstanceUID = CTImageStorage, "1.2.3"
    pydicom.dcmwrite(path, data, write_like_original=False) if pydicom.__version__ < "3" else data.save_as(
        path, enforce_file_format=True
    )
    return str(path)


def test_images_of_one_patient_are_known_without_their_name(items: list[dict[str, Any]], tmp_path: Path) -> None:
    names = [item["image_id"] for item in items[:3]]
    images = {name: dicom(tmp_path / f"{i}.dcm", f"P{i // 2}") for i, name in enumerate(names)}
    found, _ = corrected_items([true_label(item) for item in items[:3]], images)
    patients = [item["patient_id"] for item in found]
    assert patients[0] == patients[1] != patients[2] and not any("P0" in patient for patient in patients)
    grouped, _ = corrected_items([true_label(item) for item in items[:3]], images, groups=dict.fromkeys(names, "1.2"))
    assert {item["patient_id"] for item in grouped} == {"1.2"}


def corrected(items: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, int]]:
    return corrected_items([true_label(item) for item in items], images_of(items))


def test_corrections_alone(items: list[dict[str, Any]], tmp_path: Path) -> None:
    found, counts = corrected(items)
    data = make_training_data(found, counts, NOTHING, tmp_path / "validation.json")
    trained, held = ({item["image_id"] for item in part} for part in (data.training, data.validation))
    assert not trained & held and len(trained) + len(held) == len(items)
    assert data.description.endswith("corrected images alone") and all(item["corrected"] for item in data.training)
    with pytest.raises(InputError, match="expected labelled images to train on, but all 5 are for validation"):
        make_training_data(
            [item for item in found if item["image_id"] in held], counts, NOTHING, tmp_path / "validation.json"
        )


def test_later_labels_never_reach_validation_images(items: list[dict[str, Any]], tmp_path: Path) -> None:
    few, counts = corrected(items[:12])
    validation_file = tmp_path / "validation.json"
    first = make_training_data(few, counts, NOTHING, validation_file)
    later = make_training_data(*corrected(items), NOTHING, validation_file)
    held, held_later = ({item["image_id"] for item in data.validation} for data in (first, later))
    assert held < held_later  # they were too few to decide by: some of the new patients join them
    assert not held_later & {item["image_id"] for item in [*first.training, *later.training]}
    assert len(later.training) > len(first.training)


def test_original_data_beside_corrections_of_the_same_images(
    sample_dir: Path, items: list[dict[str, Any]], tmp_path: Path
) -> None:
    replay = replayed(sample_dir)
    studies = [{**item, "image_id": f"study {i}"} for i, item in enumerate(items)]
    for item in studies:  # the same files in another place, under other names
        item["image"] = shutil.copy(item["image"], tmp_path / f"{item['image_id']}.png")
    data = make_training_data(*corrected(studies), replay, tmp_path / "validation.json")
    reserved = {item["image_id"] for item in [*replay.validation, *replay.test]}
    names = {item["image_id"]: item["corrected"] for item in data.training}
    original = {item["image_id"]: f"study {i}" for i, item in enumerate(items)}
    assert {item["image_id"] for item in data.validation} == {item["image_id"] for item in replay.validation}
    for name, study in original.items():
        assert (study in names) == (name not in reserved)  # what is tested or validated on is not trained on
        assert name not in names or study not in names  # a correction takes the place of the original
    assert data.counts["held_back"] == len(reserved & original.keys()) and data.counts["replayed"] == sum(
        not value for value in names.values()
    )


def test_what_is_written_is_what_a_training_reads(items: list[dict[str, Any]], tmp_path: Path) -> None:
    data = make_training_data(*corrected(items), NOTHING, tmp_path / "validation.json")
    write_splits(tmp_path / "splits.json", data)
    splits = read_splits(tmp_path / "splits.json")
    assert splits.description == data.description and read_counts(tmp_path / "splits.json") == data.counts
    for one, other in zip(splits.training, data.training, strict=True):
        assert one["image"] == other["image"] and one["label"] == other["label"]
        np.testing.assert_allclose(one["opacity_boxes"], other["opacity_boxes"])
        assert one["opacity_boxes"].shape[1:] == (4,) and one["opacity_boxes"].dtype == np.float32
    with pytest.raises(InputError):
        read_splits(tmp_path / "none.json")


@pytest.mark.parametrize("pixels", [np.zeros((20, 24)), np.linspace(-1000, 3000, 480).reshape(20, 24)])
def test_a_copy_keeps_shape_and_order(pixels: np.ndarray, tmp_path: Path) -> None:
    write_copy(pixels, tmp_path / "copy.png")
    assert image_shape(tmp_path / "copy.png") == (20, 24)
    if pixels.any():
        copied = read_radiograph(tmp_path / "copy.png").pixels
        assert np.corrcoef(copied.ravel(), pixels.ravel())[0, 1] > 0.9999
