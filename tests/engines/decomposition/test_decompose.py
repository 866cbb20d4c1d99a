"""Decompositions: what the network says lands on the right pixels of the original."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from monai_dgm.engines.decomposition.decompose import Decompose, content, prepare, to_original
from monai_dgm.errors import InputError
from monai_dgm.networks.decomposer import Decomposer

SIZE = 64


class KnownResidue(nn.Module):
    """A network that answers with the image as normal, a given residue, and a probability of 0.75."""

    def __init__(self, residue: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("residue", torch.from_numpy(np.asarray(residue, dtype=np.float32)))

    def forward(self, image: Tensor) -> Tensor:
        residue = self.residue.expand_as(image)
        return torch.cat((image, residue, torch.full_like(image, 0.75)), dim=1)


def blob(size: int, row: float, col: float, sigma: float = 3.0, height: float = 0.8) -> np.ndarray:
    """A bell with its peak at the centre of pixel (row, col)."""
    rows, cols = np.mgrid[:size, :size]
    return (height * np.exp(-((rows - row) ** 2 + (cols - col) ** 2) / (2 * sigma**2))).astype(np.float32)


def gradient(rows: int, cols: int) -> np.ndarray:
    """A picture whose value tells the place."""
    return (np.arange(rows)[:, None] * 10.0 + np.arange(cols)).astype(np.float32) + 100.0


SHAPES = [(200, 120), (120, 200), (96, 96), (40, 33)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fit", ["pad", "stretch"])
def test_a_blob_lands_on_its_original_pixel(shape: tuple[int, int], fit: str) -> None:
    row, col = 40, 24
    decompose = Decompose(KnownResidue(blob(SIZE, row, col)), SIZE, fit)
    decomposition = decompose(gradient(*shape))
    original = to_original(decomposition)
    (top, left), (scale_y, scale_x) = decomposition.geometry.offset, decomposition.geometry.scale
    expected = np.array([(row + 0.5 - top) / scale_y, (col + 0.5 - left) / scale_x])  # continuous, pixel i at i + 0.5
    for plane in (original.residue, original.heat):
        assert plane.shape == shape
        weights = np.where(plane > 0.5 * plane.max(), plane, 0)
        centre = np.array([(weights.sum(1 - axis) * (np.arange(shape[axis]) + 0.5)).sum() for axis in (0, 1)])
        assert np.abs(centre / weights.sum() - expected).max() < 0.5
    assert original.boxes.shape == (1, 4)
    xmin, ymin, xmax, ymax = original.boxes[0]
    assert abs((ymin + ymax) / 2 - expected[0]) < 1 and abs((xmin + xmax) / 2 - expected[1]) < 1
    rows, cols = np.nonzero(original.mask)
    assert abs(rows.min() - ymin) <= 1 / scale_y and abs(cols.max() + 1 - xmax) <= 1 / scale_x


@pytest.mark.parametrize("shape", SHAPES)
def test_normal_comes_back_in_the_originals_intensities(shape: tuple[int, int]) -> None:
    pixels = gradient(*shape)
    decompose = Decompose(KnownResidue(np.zeros((SIZE, SIZE))), SIZE, percentiles=None)
    original = to_original(decompose(pixels))
    steepest = 10.0 / decompose(pixels).geometry.scale[0]  # per model pixel
    assert np.abs(original.normal - pixels).max() < steepest
    assert np.abs(original.normal - pixels).mean() < 0.2 * steepest


def test_the_border_that_pad_added_counts_for_nothing() -> None:
    everywhere = Decompose(KnownResidue(np.full((SIZE, SIZE), 0.5)), SIZE)
    decomposition = everywhere(gradient(200, 100))
    inside = content(decomposition.geometry)
    assert decomposition.mean_abs_residue == pytest.approx(0.5)
    assert decomposition.residue[inside].size == SIZE * SIZE // 2
    assert np.abs(decomposition.residue).sum() == pytest.approx(0.5 * SIZE * SIZE / 2)
    outside = np.ones((SIZE, SIZE), dtype=bool)
    outside[inside] = False
    assert (decomposition.normal[outside] == -1).all() and (decomposition.image[outside] == -1).all()


def test_boxes_stay_within_the_image() -> None:
    decompose = Decompose(KnownResidue(blob(SIZE, 60, 17, 6)), SIZE)
    original = to_original(decompose(gradient(200, 100)))
    assert (original.boxes >= 0).all() and (original.boxes <= [100, 200, 100, 200]).all()


def test_the_lung_mask_gives_the_lung_box_and_leaves_out_what_is_elsewhere() -> None:
    two = blob(SIZE, 32, 16) + blob(SIZE, 32, 48)
    mask = np.zeros((200, 200), dtype=bool)
    mask[50:150, 20:90] = True
    decompose = Decompose(KnownResidue(two), SIZE)
    alone, kept = decompose(gradient(200, 200)), decompose(gradient(200, 200), lung_mask=mask)
    assert (len(alone.boxes), len(kept.boxes)) == (2, 1)
    assert (alone.saliency.lung_box_source, kept.saliency.lung_box_source) == ("whole_image", "lung_mask")
    np.testing.assert_allclose(to_original(kept).lung_box, [20, 50, 90, 150], atol=200 / SIZE)
    np.testing.assert_allclose(to_original(alone).lung_box, [0, 0, 200, 200])


def test_a_blank_residue_has_no_saliency() -> None:
    decomposition = Decompose(KnownResidue(np.zeros((SIZE, SIZE))), SIZE)(gradient(90, 90))
    assert decomposition.saliency_area_fraction == decomposition.max_abs_residue == 0
    assert to_original(decomposition).boxes.shape == (0, 4)


def test_a_batch_says_the_same_as_one_by_one() -> None:
    decompose = Decompose(Decomposer(2), SIZE)
    batch = [prepare(gradient(*shape), SIZE) for shape in SHAPES]
    for prepared, prediction in zip(batch, decompose.predict(batch), strict=True):
        torch.testing.assert_close(prediction, decompose.predict([prepared])[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 60}, "size: expected a multiple of 32, got 60"),
        ({"size": 64, "fit": "crop"}, "fit must be one of"),
        ({"size": 64, "threshold": "mean"}, "threshold: expected 'otsu'"),
    ],
)
def test_settings_that_there_are_not(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Decompose(nn.Identity(), **settings)


def test_a_network_that_is_no_decomposer() -> None:
    with pytest.raises(InputError, match=r"expected the output of a Decomposer, a tensor of shape \(1, 3, 64, 64\)"):
        Decompose(nn.Identity(), SIZE)(gradient(90, 90))


def test_a_network_that_yields_nan() -> None:
    with pytest.raises(InputError, match="expected finite values from the network"):
        Decompose(KnownResidue(np.full((SIZE, SIZE), np.nan)), SIZE)(gradient(90, 90))


def test_a_mask_of_another_size() -> None:
    with pytest.raises(InputError, match=r"lung mask: expected the radiograph's 90 x 80 pixels, got .*\(80, 90\)"):
        prepare(gradient(90, 80), SIZE, lung_mask=np.ones((80, 90)))
