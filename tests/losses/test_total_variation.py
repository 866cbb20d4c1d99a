"""Total variation against a transcription of eq. 5, pair by pair."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from monai_dgm.losses.total_variation import total_variation_loss


def test_is_equation_5_as_means_over_neighbouring_pairs() -> None:
    y = torch.randn(2, 1, 4, 6)
    down, right = [], []
    for sample in y[:, 0].tolist():
        for i in range(4):
            for j in range(6):
                if i + 1 < 4:
                    down.append(abs(sample[i + 1][j] - sample[i][j]))
                if j + 1 < 6:
                    right.append(abs(sample[i][j + 1] - sample[i][j]))
    expected = sum(down) / len(down) + sum(right) / len(right)
    assert total_variation_loss(y).item() == pytest.approx(expected, rel=1e-6)


def test_a_constant_image_has_none_and_a_ramp_its_steepness() -> None:
    assert total_variation_loss(torch.full((1, 1, 5, 5), 0.3)) == 0
    ramp = 0.1 * torch.arange(5.0).expand(1, 1, 5, 5)
    assert total_variation_loss(ramp).item() == pytest.approx(0.1)
    assert total_variation_loss(ramp.transpose(2, 3)).item() == pytest.approx(0.1)


def test_per_pixel_so_that_tiling_hardly_changes_it() -> None:
    y = torch.randn(1, 1, 32, 32)
    tiled = y.repeat(1, 1, 4, 4)
    assert total_variation_loss(tiled).item() == pytest.approx(total_variation_loss(y).item(), rel=0.05)


def test_smoothing_lowers_it() -> None:
    y = torch.randn(1, 1, 16, 16)
    assert total_variation_loss(F.avg_pool2d(y, 3, 1, 1)) < total_variation_loss(y)
