"""Small folders of radiographs for the tests of the data layer."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ManifestWriter = Callable[..., Path]


def write_image(path: Path, seed: int, rows: int = 40, cols: int = 32) -> Path:
    """A PNG of smooth noise, another one for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 255, (5, 4)).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(coarse).resize((cols, rows), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture
def write_manifest(tmp_path: Path) -> ManifestWriter:
    """write_manifest(rows) -> folder, with an image of 40 x 32 pixels for each row that names one ("a/b.png")."""

    def write(rows: list[dict[str, Any]], columns: list[str] | None = None) -> Path:
        for seed, row in enumerate(rows):
            if row.get("image", "").endswith(".png") and not (tmp_path / row["image"]).exists():
                write_image(tmp_path / row["image"], seed)
        names = columns or list(dict.fromkeys(key for row in rows for key in row))
        with open(tmp_path / "manifest.csv", "w", newline="") as stream:
            writer = csv.DictWriter(stream, names, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        return tmp_path

    return write


@pytest.fixture
def datalist(tmp_path: Path) -> list[dict[str, Any]]:
    """Six images of one patient each, without a manifest."""
    paths = [write_image(tmp_path / "images" / f"{number}.png", number) for number in range(6)]
    return [{"image": str(path), "image_id": path.stem, "patient_id": path.stem, "label": 0} for path in paths]
