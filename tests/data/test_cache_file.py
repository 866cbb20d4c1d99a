"""The cache file's own format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monai_dgm.data.cache_file import CacheWriter, open_images, read_description
from monai_dgm.transforms.geometry import RadiographGeometry


def write(path: Path, num_images: int, reserved: int) -> np.ndarray:
    images = np.random.default_rng(0).integers(0, 65536, (num_images, 8, 8)).astype(np.uint16)
    writer = CacheWriter(path.with_suffix(".partial"), 8, reserved)
    for number, image in enumerate(images):
        writer.append(image, RadiographGeometry(10, 12, 8, low=number, high=number + 1), f"print {number}")
    writer.finish(path)
    writer.close()
    return images


@pytest.mark.parametrize(("num_images", "reserved"), [(1, 1), (40, 40), (3, 10)])
def test_round_trip(tmp_path: Path, num_images: int, reserved: int) -> None:
    images = write(tmp_path / "a.u16", num_images, reserved)
    description = read_description(tmp_path / "a.u16")
    assert description is not None
    assert np.array_equal(open_images(tmp_path / "a.u16", description), images)
    assert description.fingerprints == [f"print {number}" for number in range(num_images)]
    assert description.geometries[-1] == RadiographGeometry(10, 12, 8, low=num_images - 1, high=num_images)
    assert [file.name for file in tmp_path.iterdir()] == ["a.u16"]


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.u16"
    write(path, 2, 2)
    whole = path.read_bytes()
    for length in range(0, len(whole), 13):
        path.write_bytes(whole[:length])
        assert read_description(path) is None
    assert read_description(tmp_path / "none.u16") is None


def test_what_is_not_finished_is_removed(tmp_path: Path) -> None:
    writer = CacheWriter(tmp_path / "a.partial", 8, 2)
    writer.append(np.zeros((8, 8), np.uint16), RadiographGeometry(8, 8, 8), "print")
    writer.close()
    assert list(tmp_path.iterdir()) == []
