"""Files that DCMTK has compressed hold the pixels of the native file."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from monai_dgm.readers.dicom.read import read_dicom

from .raw_files import IDS, phantom, radiograph_bytes

pytestmark = pytest.mark.slow
CELLS = [(8, 8, 0), (8, 16, 0), (12, 16, 0), (12, 16, 1), (16, 16, 1)]


@pytest.mark.parametrize("program", ["dcmcrle", "dcmcjpls", "dcmcjpeg"])
@pytest.mark.parametrize(("stored", "allocated", "signed"), CELLS)
def test_the_same_pixels(tmp_path: Path, program: str, stored: int, allocated: int, signed: int) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"no {program} (package dcmtk)")
    if program == "dcmcjpeg":
        pytest.importorskip("gdcm", reason="JPEG Lossless needs python-gdcm")
    if program == "dcmcjpls":
        pytest.importorskip("jpeg_ls")
    pixels = phantom(top=(1 << stored) - 1) - (1 << (stored - 1) if signed else 0)
    native, compressed = tmp_path / "native.dcm", tmp_path / "compressed.dcm"
    native.write_bytes(radiograph_bytes(pixels, IDS, stored=stored, allocated=allocated, signed=signed))
    finished = subprocess.run([program, str(native), str(compressed)], capture_output=True, timeout=60)
    assert finished.returncode == 0, finished.stderr
    assert compressed.stat().st_size < native.stat().st_size or program == "dcmcrle"
    assert np.array_equal(read_dicom(compressed).pixels, read_dicom(native).pixels)
