"""Decompositions: what the network says lands on the right pixels of the original."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from monai_dgm.engines.pipeline import RadiographPipeline
from monai_dgm.engines.residues.decomposed_radiograph import Decomposition, to_original
from monai_dgm.readers.radiograph import Radiograph
from monai_dgm.transforms.preparation import prepare

SIZE = 64


class KnownResidue(nn.Module):
    """A network that answers with the image as normal, a given residue, and a probability of 0.75."""

    def __init__(self, residue: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("residue", torch.from_numpy(np.asarray(residue, dtype=np.float32)))

    def forward(self, image: Tensor) -> Tensor:
        residue = self.residue.expand_as(image)
        return torch.cat((image, residue, torch.full_like(image, 0.75)), dim=1)


def decompose(
    residue: np.ndarray, pixels: np.ndarray, lung_mask: np.ndarray | None = None, **others: Any
) -> Decomposition:
    """The decomposition of a picture by a network that answers with ``residue``."""
    radiograph = Radiograph(pixels, None, "png", None, None, None, 8)
    (result,) = RadiographPipeline(KnownResidue(residue), SIZE)(
        [prepare(radiograph, SIZE, lung_mask=lung_mask, **others)]
    )
    assert not isinstance(result, Exception) and result.decomposition is not None
    return result.decomposition


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
    decomposition = decompose(blob(SIZE, row, col), gradient(*shape), fit=fit)
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
    decomposition = decompose(np.zeros((SIZE, SIZE)), pixels, percentiles=None)
    original = to_original(decomposition)
    steepest = 10.0 / decomposition.geometry.scale[0]  # per model pixel
    assert np.abs(original.normal - pixels).max() < steepest
    assert np.abs(original.normal - pixels).mean() < 0.2 * steepest


def test_the_border_that_pad_added_counts_for_nothing() -> None:
    decomposition = decompose(np.full((SIZE, SIZE), 0.5), gradient(200, 100))
    inside = decomposition.geometry.content
    assert decomposition.mean_abs_residue == pytest.approx(0.5)
    assert decomposition.residue[inside].size == SIZE * SIZE // 2
    assert np.abs(decomposition.residue).sum() == pytest.approx(0.5 * SIZE * SIZE / 2)
    outside = np.ones((SIZE, SIZE), dtype=bool)
    outside[inside] = False
    assert (decomposition.normal[outside] == -1).all() and (decomposition.image[outside] == -1).all()


def test_boxes_stay_within_the_image() -> None:
    original = to_original(decompose(blob(SIZE, 60, 17, 6), gradient(200, 100)))
    assert (original.boxes >= 0).all() and (original.boxes <= [100, 200, 100, 200]).all()


def test_the_lung_mask_gives_the_lung_box_and_leaves_out_what_is_elsewhere() -> None:
    two = blob(SIZE, 32, 16) + blob(SIZE, 32, 48)
    mask = np.zeros((200, 200), dtype=bool)
    mask[50:150, 20:90] = True
    alone, kept = decompose(two, gradient(200, 200)), decompose(two, gradient(200, 200), mask)
    assert (len(alone.boxes), len(kept.boxes)) == (2, 1)
    assert (alone.saliency.lung_box_source, kept.saliency.lung_box_source) == ("whole_image", "lung_mask")
    np.testing.assert_allclose(to_original(kept).lung_box, [20, 50, 90, 150], atol=200 / SIZE)
    np.testing.assert_allclose(to_original(alone).lung_box, [0, 0, 200, 200])


def test_a_blank_residue_has_no_saliency() -> None:
    decomposition = decompose(np.zeros((SIZE, SIZE)), gradient(90, 90))
    assert decomposition.saliency_area_fraction == decomposition.max_abs_residue == 0
    assert to_original(decomposition).boxes.shape == (0, 4)


def test_another_threshold_changes_the_saliency_and_nothing_else() -> None:
    decomposition = decompose(blob(SIZE, 32, 32), gradient(90, 90))
    low = decomposition.with_threshold(0.01)
    assert low.saliency.mask.sum() > decomposition.saliency.mask.sum() and low.saliency.threshold == 0.01
    assert low.residue is decomposition.residue and low.normal is decomposition.normal
    again = low.with_threshold("otsu")
    np.testing.assert_array_equal(again.saliency.mask, decomposition.saliency.mask)
    np.testing.assert_array_equal(again.boxes, decomposition.boxes)
