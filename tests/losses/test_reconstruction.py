"""Terms against transcriptions of the paper's eq. 2 to 5, and the terms that it does not have."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.metrics import structural_similarity

from monai_dgm.losses.reconstruction import (
    balanced_l1_loss,
    blank_residue_loss,
    l1_loss,
    normal_ssim_loss,
    residue_evidence_loss,
    total_variation_loss,
    uncertainty_loss,
    weighted_l1_loss,
)


def test_l1_is_equations_2_and_3_as_a_mean_over_pixels() -> None:
    z, reconstruction = torch.randn(2, 1, 6, 5), torch.randn(2, 1, 6, 5)
    expected = np.abs(reconstruction.numpy() - z.numpy()).sum() / (2 * 6 * 5)
    assert l1_loss(reconstruction, z).item() == pytest.approx(expected, rel=1e-6)
    assert l1_loss(z, z) == 0


@pytest.mark.parametrize("labels", [(0, 0, 0), (0, 1, 0), (1, 1, 1)])
def test_blank_residue_is_equation_4(labels: tuple[int, ...]) -> None:
    residue = torch.randn(3, 1, 4, 4, requires_grad=True)
    each = [np.abs(a).mean() if label == 0 else 0.0 for a, label in zip(residue.detach().numpy(), labels, strict=True)]
    loss = blank_residue_loss(residue, torch.tensor(labels, dtype=torch.float32))
    assert loss.item() == pytest.approx(np.mean(each), rel=1e-6)
    loss.backward()
    assert residue.grad is not None
    for gradient, label in zip(residue.grad, labels, strict=True):
        assert bool(gradient.abs().sum() > 0) == (label == 0)  # abnormal ones owe nothing


def test_weighted_l1_counts_only_the_chosen_images_on_the_scale_of_the_batch() -> None:
    a, b = torch.randn(4, 1, 3, 3), torch.randn(4, 1, 3, 3)
    chosen = torch.tensor([True, False, False, True])
    expected = sum(np.abs(a[i].numpy() - b[i].numpy()).mean() for i in (0, 3)) / 4
    assert weighted_l1_loss(a, b, chosen).item() == pytest.approx(expected, rel=1e-6)
    assert weighted_l1_loss(a, b, torch.zeros(4, dtype=torch.bool)) == 0
    assert weighted_l1_loss(a, b, torch.ones(4)).item() == pytest.approx(l1_loss(a, b).item(), rel=1e-6)


def test_balanced_l1_weighs_an_area_as_much_as_all_the_rest() -> None:
    a, b = torch.randn(3, 1, 6, 6), torch.randn(3, 1, 6, 6)
    area = torch.zeros(3, 1, 6, 6, dtype=torch.bool)
    area[:, :, :2, :2] = True
    error = (a - b).abs().numpy()[:, 0]
    inside = area.numpy()[:, 0]
    each = [(error[i][inside[i]].mean() + error[i][~inside[i]].mean()) / 2 for i in range(3)]
    chosen = torch.tensor([True, False, True])
    assert balanced_l1_loss(a, b, area, chosen).item() == pytest.approx((each[0] + each[2]) / 3, rel=1e-5)


def test_balanced_l1_of_an_empty_area_is_finite() -> None:
    a, nothing = torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    for area in (nothing, ~nothing):
        assert balanced_l1_loss(a, -a, area, torch.ones(1)) == 1  # the part that is there counts its half


def test_evidence_is_a_hinge_on_the_largest_pixels_of_abnormal_images() -> None:
    residue = torch.randn(3, 1, 10, 10) * 0.1
    label = torch.tensor([1.0, 0.0, 1.0])
    tops = [np.sort(np.abs(a.numpy()).ravel())[-20:].mean() for a in residue]
    excess = [top - tops[1] for top in tops]  # over the one normal image
    expected = np.mean([max(0.0, 0.3 - more) if y == 1 else 0.0 for more, y in zip(excess, label, strict=True)])
    assert expected > 0
    assert residue_evidence_loss(residue, label, margin=0.3, fraction=0.2).item() == pytest.approx(expected, rel=1e-5)


def test_a_mark_that_every_residue_bears_is_no_evidence() -> None:
    residue, label = torch.zeros(2, 1, 10, 10), torch.tensor([1.0, 0.0])
    bare = residue_evidence_loss(residue, label, margin=0.3, fraction=0.04)
    residue[:, :, :2, :2] = 0.9
    assert residue_evidence_loss(residue, label, margin=0.3, fraction=0.04) == bare
    residue[1] = 0
    assert residue_evidence_loss(residue, label, margin=0.3, fraction=0.04) == 0


def test_normal_ssim_counts_the_known_images_only() -> None:
    image = torch.rand(3, 1, 32, 32) * 2 - 1
    blurred = torch.nn.functional.avg_pool2d(image, 3, 1, 1)
    assert normal_ssim_loss(image, image, torch.ones(3)).item() == pytest.approx(0, abs=1e-5)
    one = normal_ssim_loss(blurred, image, torch.tensor([1.0, 0.0, 0.0]))
    _, ssim = structural_similarity(
        blurred[0, 0].numpy(), image[0, 0].numpy(), win_size=7, data_range=2.0, use_sample_covariance=False, full=True
    )
    assert one.item() * 3 == pytest.approx(1 - ssim[3:-3, 3:-3].mean(), rel=1e-4)


def test_evidence_is_satisfied_by_enough_residue_and_takes_one_pixel_at_least() -> None:
    residue, label = torch.zeros(1, 1, 10, 10), torch.ones(1)
    assert residue_evidence_loss(residue, label, 0.2, 0.05).item() == pytest.approx(0.2)
    residue[0, 0, 0, :5] = -0.3
    assert residue_evidence_loss(residue, label, 0.2, 0.05) == 0
    assert residue_evidence_loss(residue, label, 0.2, 0.001) == 0


def test_half_precision_is_summed_in_single_precision() -> None:
    x = torch.full((1, 1, 128, 128), 0.5, dtype=torch.bfloat16)
    for loss in (l1_loss(x, -x), weighted_l1_loss(x, -x, torch.ones(1)), blank_residue_loss(2 * x, torch.zeros(1))):
        assert loss.dtype == torch.float32
        assert loss == 1


def test_total_variation_is_equation_5_as_means_over_neighbouring_pairs() -> None:
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


def test_a_constant_image_has_no_variation_and_a_ramp_its_steepness() -> None:
    assert total_variation_loss(torch.full((1, 1, 5, 5), 0.3)) == 0
    ramp = 0.1 * torch.arange(5.0).expand(1, 1, 5, 5)
    assert total_variation_loss(ramp).item() == pytest.approx(0.1)
    assert total_variation_loss(ramp.transpose(2, 3)).item() == pytest.approx(0.1)


def test_variation_is_per_pixel_so_that_tiling_hardly_changes_it() -> None:
    y = torch.randn(1, 1, 32, 32)
    tiled = y.repeat(1, 1, 4, 4)
    assert total_variation_loss(tiled).item() == pytest.approx(total_variation_loss(y).item(), rel=0.05)


def test_smoothing_lowers_the_variation() -> None:
    y = torch.randn(1, 1, 16, 16)
    assert total_variation_loss(F.avg_pool2d(y, 3, 1, 1)) < total_variation_loss(y)


def test_equation_of_the_uncertainty() -> None:
    mean, log_variance, image = torch.randn(3, 2, 1, 5, 5)
    m, v, x = mean.numpy(), np.exp(log_variance.numpy()), image.numpy()
    expected = np.mean((x - m) ** 2 / v + np.log(v))
    assert uncertainty_loss(mean, log_variance, image).item() == pytest.approx(expected, rel=1e-5)


def test_uncertainty_costs_least_where_the_variance_is_the_squared_error() -> None:
    error, log_variance = torch.tensor([[[[0.3]]]]), torch.full((1, 1, 1, 1), np.log(0.09), requires_grad=True)
    loss = uncertainty_loss(torch.zeros(1, 1, 1, 1), log_variance, error)
    (gradient,) = torch.autograd.grad(loss, log_variance)
    assert abs(gradient.item()) < 1e-5
    assert loss.item() == pytest.approx(1 + np.log(0.09), rel=1e-4)
