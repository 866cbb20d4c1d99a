"""Array files of the cache and their JSON files: round trips, and damage of every kind is noticed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from monai_dgm.data.cache_file import ArrayWriter, Description, checksum, open_array, open_images
from monai_dgm.transforms.geometry import RadiographGeometry


def write(path: Path, num_images: int, reserved: int) -> np.ndarray:
    images = np.random.default_rng(0).integers(0, 65536, (num_images, 8, 8)).astype(np.uint16)
    writer, description = ArrayWriter(path, "<u2", (8, 8), reserved), Description(8)
    for number, image in enumerate(images):
        writer.append(image)
        description.fingerprints.append(f"print {number}")
        description.geometries.append(RadiographGeometry(10, 12, 8, low=number, high=number + 1))
        description.checksums.append(checksum(image))
    writer.finish()
    writer.close()
    description.write(path.with_suffix(".json"))
    return images


@pytest.mark.parametrize(("num_images", "reserved"), [(1, 1), (40, 40), (3, 10), (9, 1000)])
def test_round_trip(tmp_path: Path, num_images: int, reserved: int) -> None:
    path = tmp_path / "a.npy"
    images = write(path, num_images, reserved)
    found = open_images(path)
    assert found is not None
    assert isinstance(found[0], np.memmap) and np.array_equal(found[0], images)
    assert np.array_equal(np.load(path), images) and path.stat().st_size == found[0].offset + images.nbytes
    assert found[1].fingerprints == [f"print {number}" for number in range(num_images)]
    assert found[1].geometries[-1] == RadiographGeometry(10, 12, 8, low=num_images - 1, high=num_images)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.json", "a.npy"]


@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_every_cut_is_noticed(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / "a.npy", 2, 2)
    path = (tmp_path / "a.npy").with_suffix(suffix)
    whole = path.read_bytes()
    for length in range(0, len(whole), 13):
        path.write_bytes(whole[:length])
        assert open_images(tmp_path / "a.npy") is None
    path.unlink()
    assert open_images(tmp_path / "a.npy") is None


def test_every_changed_byte_of_the_description_is_noticed(tmp_path: Path) -> None:
    write(tmp_path / "a.npy", 2, 2)
    path = tmp_path / "a.json"
    whole = path.read_bytes()
    for index in range(0, len(whole), 7):
        path.write_bytes(whole[:index] + bytes([whole[index] ^ 1]) + whole[index + 1 :])
        assert Description.read(path) is None


@pytest.mark.parametrize("text", ["", "[]", "3", "{}", '{"sha256": 3, "images": 4}', '{"sha256": "", "images": "{}"}'])
def test_other_json_is_no_description(tmp_path: Path, text: str) -> None:
    write(tmp_path / "a.npy", 1, 1)
    (tmp_path / "a.json").write_text(text)
    assert open_images(tmp_path / "a.npy") is None


def test_images_of_another_shape_or_type_are_not_opened(tmp_path: Path) -> None:
    write(tmp_path / "a.npy", 2, 2)
    assert open_array(tmp_path / "a.npy", (2, 8, 8), "<u2") is not None
    for shape, dtype in (((3, 8, 8), "<u2"), ((2, 64), "<u2"), ((2, 8, 8), "<f2")):
        assert open_array(tmp_path / "a.npy", shape, dtype) is None
    np.save(tmp_path / "b.npy", np.array([{}]), allow_pickle=True)
    assert open_array(tmp_path / "b.npy", (1,), "O") is None


def test_several_images_at_once(tmp_path: Path) -> None:
    writer = ArrayWriter(tmp_path / "a.npy", "<f2", (4, 4), 5)
    images = np.random.default_rng(1).random((5, 4, 4)).astype(np.float16)
    writer.append(images[:3])
    writer.append(images[3:])
    writer.finish()
    found = open_array(tmp_path / "a.npy", (5, 4, 4), "<f2")
    assert found is not None and np.array_equal(found, images)


def test_a_file_that_is_not_finished_is_removed(tmp_path: Path) -> None:
    writer = ArrayWriter(tmp_path / "a.npy", "<u2", (8, 8), 2)
    writer.append(np.zeros((8, 8), np.uint16))
    writer.close()
    assert list(tmp_path.iterdir()) == []


def test_the_description_names_no_file(tmp_path: Path) -> None:
    write(tmp_path / "a.npy", 1, 1)
    assert set(json.loads(json.loads((tmp_path / "a.json").read_text())["images"])) == {
        "size",
        "fingerprints",
        "checksums",
        "geometries",
    }
