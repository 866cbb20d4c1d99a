"""A file that its header calls turned: the models see it upright, and its results lie on its own pixels."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_dgm.utils.orientation import to_stored
from tests.engines.file_runs import decompose_files
from tests.engines.written_radiographs import bright_finder
from tests.readers.dicom.raw_files import phantom, radiograph_bytes

ORIENTATIONS = {"L\\F": 1, "R\\F": 2, "R\\H": 3, "L\\H": 4, "F\\L": 5, "H\\L": 6, "H\\R": 7, "F\\R": 8}


def with_corner() -> np.ndarray:
    """A phantom whose upper left corner is the brightest."""
    pixels = phantom(64)[:56] // 2
    pixels[2:14, 3:17] = 4095
    return pixels


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_results_lie_on_the_files_own_pixels(tmp_path: Path, orientation: str) -> None:
    number = ORIENTATIONS[orientation]
    stored = to_stored(with_corner(), number)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/turned.dcm").write_bytes(radiograph_bytes(stored, {0x00200020: ("CS", orientation)}))
    (tmp_path / "in/upright.dcm").write_bytes(radiograph_bytes(with_corner()))
    report = decompose_files(tmp_path / "in", bright_finder(), tmp_path / "out", panels=False)
    turned, upright = report["images"]
    assert (turned["rows"], turned["cols"]) == stored.shape
    assert turned["abnormality_probability"] == upright["abnormality_probability"]
    maps = [
        np.asarray(nibabel.load(tmp_path / "out" / name / "residue.nii.gz").dataobj).squeeze().T
        for name in ("turned", "upright")
    ]
    assert np.abs(maps[1]).max() > 0.1
    assert np.array_equal(maps[0], to_stored(maps[1], number))
    assert bool(turned["remarks"]) == (number != 1) and not upright["remarks"]
