"""Where a NIfTI radiograph lies in the patient."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_dgm.errors import InputError
from monai_dgm.readers.read import check_same_place, read_mask, read_radiograph

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


@pytest.mark.parametrize(
    ("affine", "refused"),
    [
        (np.diag([-0.2, -0.2, 1, 1]), False),
        (np.diag([-0.2, -0.2, 1, 1]) + 1e-4, False),  # rounded
        (np.diag([0.2, -0.2, 1, 1]), True),  # mirrored
        (np.diag([-0.2, 0.2, 1, 1]), True),  # upside down
        (np.diag([-0.4, -0.4, 1, 1]), True),  # of other pixels
        (None, True),
    ],
)
def test_a_mask_lies_where_its_radiograph_lies(tmp_path: Path, affine: np.ndarray | None, refused: bool) -> None:
    image, mask = tmp_path / "image.nii", tmp_path / "mask.nii.gz"
    nibabel.Nifti1Image(np.arange(600, dtype=np.float32).reshape(20, 30), np.diag([-0.2, -0.2, 1, 1])).to_filename(
        image
    )
    inside = np.zeros((20, 30), np.uint8)
    inside[2:9, 3:12] = 1
    nibabel.Nifti1Image(inside, affine).to_filename(mask)
    if refused:
        with pytest.raises(
            InputError, match=r"mask\.nii\.gz: expected the affine of its radiograph, got one .* mm away"
        ):
            check_same_place(mask, image)
    else:
        check_same_place(mask, image)
        assert np.array_equal(read_mask(mask), inside.T > 0)


def test_a_mask_may_be_stored_in_another_order_of_axes(tmp_path: Path) -> None:
    values = np.arange(600, dtype=np.float32).reshape(20, 30, 1)
    inside = nibabel.Nifti1Image((values > 300).astype(np.uint8), np.diag([-0.2, -0.2, 1, 1]))
    nibabel.Nifti1Image(values, inside.affine).to_filename(tmp_path / "image.nii")
    turn = np.array([[1, -1], [0, 1], [2, 1]])
    inside.as_reoriented(turn).to_filename(tmp_path / "mask.nii")
    check_same_place(tmp_path / "mask.nii", tmp_path / "image.nii")
    assert np.array_equal(read_mask(tmp_path / "mask.nii"), read_radiograph(tmp_path / "image.nii").pixels > 300)


def test_voxels_that_are_not_square_are_told(tmp_path: Path) -> None:
    values = np.arange(600, dtype=np.float32).reshape(20, 30, 1)
    nibabel.Nifti1Image(values, np.diag([-0.3, -0.2, 1, 1])).to_filename(tmp_path / "image.nii")
    assert read_radiograph(tmp_path / "image.nii").aspect == pytest.approx(2 / 3)
    nibabel.Nifti1Image(values, None).to_filename(tmp_path / "image.nii")
    assert read_radiograph(tmp_path / "image.nii").aspect == 1
