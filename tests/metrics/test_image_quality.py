import numpy as np
import pytest
from scipy import ndimage
from skimage.metrics import structural_similarity as reference_ssim

from monai_dgm.metrics.image_quality import (
    bootstrap_std,
    gradient_energy,
    lesion_errors,
    mean_absolute_error,
    mean_pixel_std,
    structural_similarity,
)


def planes(count: int, side: int = 48) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [
        np.clip(ndimage.gaussian_filter(rng.normal(size=(side, side)), 1), -1, 1).astype(np.float32)
        for _ in range(count)
    ]


def test_structural_similarity_is_near_another_implementation() -> None:
    images = planes(18)
    others = [np.clip(image + 0.1 * planes(1)[0], -1, 1) for image in images]
    ours = structural_similarity(images, others)
    assert ours.shape == (18,)
    for image, other, value in zip(images, others, ours, strict=True):
        theirs = reference_ssim(
            image, other, data_range=2.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        assert value == pytest.approx(theirs, abs=0.02)
    assert structural_similarity(images[:1], images[:1])[0] == pytest.approx(1.0)
    assert structural_similarity([], []).shape == (0,)


def test_structural_similarity_of_tiny_images() -> None:
    small = planes(2, side=8)
    assert structural_similarity(small, small) == pytest.approx(1.0)


def test_gradient_energy_falls_with_blur_and_is_zero_for_flat_images() -> None:
    image = planes(1)[0]
    assert gradient_energy(ndimage.gaussian_filter(image, 1)) < 0.7 * gradient_energy(image)
    assert gradient_energy(image + 0.3) == pytest.approx(gradient_energy(image), rel=1e-4)
    assert gradient_energy(np.full((8, 8), 0.7)) == 0


def test_errors_inside_and_outside_the_lesion_are_kept_apart() -> None:
    truth, area = np.zeros((4, 4)), np.zeros((4, 4), dtype=bool)
    area[1, 1:3] = True
    image = truth + 0.5 * area
    normal = np.where(area, 0.1, 0.02)
    errors = lesion_errors(image, normal, truth, area)
    assert errors.pixels == 2
    assert (errors.image_error, errors.normal_error) == (pytest.approx(1.0), pytest.approx(0.2))
    assert errors.outside_error == pytest.approx(0.02)
    assert mean_absolute_error(image, truth, area) == pytest.approx(0.5)
    assert np.isnan(mean_absolute_error(image, truth, np.zeros((4, 4))))


def test_spread_is_the_mean_standard_deviation_of_pixels() -> None:
    images = planes(7)
    assert mean_pixel_std(images) == pytest.approx(np.stack(images).std(axis=0).mean(), rel=1e-6)
    assert mean_pixel_std([images[0]] * 5) == pytest.approx(0, abs=1e-6)
    assert np.isnan(mean_pixel_std(images[:1]))


def test_resampled_spread_is_that_of_the_repeated_images() -> None:
    images = planes(6, side=32)  # small enough that every pixel is taken
    weights = np.array([[1, 1, 1, 1, 1, 1], [3, 0, 0, 2, 1, 0]])
    repeated = np.stack([images[i] for i in (0, 0, 0, 3, 3, 4)]).std(axis=0).mean()
    np.testing.assert_allclose(bootstrap_std(images, weights), [mean_pixel_std(images), repeated], rtol=1e-5)
    large = planes(6, side=100)
    assert bootstrap_std(large, weights)[0] == pytest.approx(mean_pixel_std(large), rel=0.05)
