"""The picture of the packaged radiographs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image


@pytest.fixture(scope="module")
def tool(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("example_gallery", repository / "docs" / "example_gallery.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_overlays_lie_eight_in_a_row_in_their_order(tool: ModuleType, tmp_path: Path) -> None:
    paths = []
    for index in range(9):
        paths.append(tmp_path / f"{index}.png")
        Image.new("RGB", (376, 400), (20 * index, 0, 0)).save(paths[-1])
    picture = tool.gallery(paths)
    assert picture.size == (8 * 188, 2 * 200)
    assert [picture.getpixel((188 * column + 90, 100))[0] for column in range(8)] == [20 * i for i in range(8)]
    assert picture.getpixel((90, 300))[0] == 160


def test_a_folder_without_overlays_is_refused(tool: ModuleType) -> None:
    with pytest.raises(ValueError, match="overlay.png, found none"):
        tool.gallery([])


def test_the_picture_in_the_readme_is_small(repository: Path) -> None:
    path = repository / "docs" / "images" / "examples.jpg"
    with Image.open(path) as picture:
        assert picture.width == 8 * 188
    assert path.stat().st_size < 500_000
