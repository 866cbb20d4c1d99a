"""The loss of a reconstruction with uncertainty against a NumPy transcription, and where its minimum is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_dgm.losses.uncertainty import uncertainty_loss


def test_equation() -> None:
    mean, log_variance, image = torch.randn(3, 2, 1, 5, 5)
    m, v, x = mean.numpy(), np.exp(log_variance.numpy()), image.numpy()
    expected = np.mean((x - m) ** 2 / v + np.log(v))
    assert uncertainty_loss(mean, log_variance, image).item() == pytest.approx(expected, rel=1e-5)


def test_least_where_the_variance_is_the_squared_error() -> None:
    error, log_variance = torch.tensor([[[[0.3]]]]), torch.full((1, 1, 1, 1), np.log(0.09), requires_grad=True)
    loss = uncertainty_loss(torch.zeros(1, 1, 1, 1), log_variance, error)
    (gradient,) = torch.autograd.grad(loss, log_variance)
    assert abs(gradient.item()) < 1e-5
    assert loss.item() == pytest.approx(1 + np.log(0.09), rel=1e-4)
