"""Where a NIfTI radiograph lies in the patient."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_dgm.readers.read import read_radiograph

ORIENTATIONS = ["".join(code) for code in product("LR", "AP", "SI")]
ORIENTATIONS += [f"{code[1]}{code[0]}{code[2]}" for code in ORIENTATIONS]
CORONAL = ["".join(code) for code in product("LR", "SI", "AP")] + ["SRA", "ILP"]


@pytest.mark.parametrize("codes", ORIENTATIONS + CORONAL)
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_every_pixel_keeps_its_place_in_the_patient(tmp_path: Path, codes: str, kind: type) -> None:
    turn = nibabel.orientations.inv_ornt_aff(
        nibabel.orientations.ornt_transform(
            nibabel.orientations.axcodes2ornt(tuple(codes)), nibabel.orientations.axcodes2ornt("RAS")
        ),
        (20, 30, 1),
    )
    affine = np.linalg.inv(turn)
    affine[:3, 3] += [5, -7, 11]
    values = np.random.default_rng(0).permutation(600).reshape(20, 30, 1).astype(np.float32)
    assert "".join(nibabel.aff2axcodes(affine)) == codes
    path = tmp_path / "image.nii.gz"
    kind(values, affine).to_filename(path)
    radiograph = read_radiograph(path)
    pixels, placed = radiograph.pixels, radiograph.affine
    assert placed is not None
    for value in (0, 123, 599):
        voxel = np.argwhere(values == value)[0]
        row, col = np.argwhere(pixels == value)[0]
        np.testing.assert_allclose(placed @ [col, row, 0, 1], affine @ [*voxel, 1], atol=1e-4)


def test_a_file_without_an_affine_is_shown_where_viewers_show_it(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.arange(600, dtype=np.float32).reshape(20, 30), None)
    assert int(image.header["sform_code"]) == int(image.header["qform_code"]) == 0
    image.to_filename(tmp_path / "image.nii")
    radiograph = read_radiograph(tmp_path / "image.nii")
    pixels = radiograph.pixels
    assert radiograph.affine is not None
    row, col = np.argwhere(pixels == 123)[0]
    voxel = np.argwhere(np.asarray(image.dataobj) == 123)[0]
    shown = nibabel.load(tmp_path / "image.nii").affine
    np.testing.assert_allclose(radiograph.affine @ [col, row, 0, 1], shown @ [*voxel, 0, 1], atol=1e-5)
