"""What keeps the numbers of a step sound: clipped gradients, mixed precision, and the gradient penalty of D."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from monai_dgm.transforms.superimpose import RandSuperimposeOpacity
from tests.engines.training.small_steps import gradients_at, make_batch, make_step


@pytest.mark.parametrize("which", ["generator", "discriminator"])
@pytest.mark.parametrize("limit", [None, 1e-3, 1e6])
def test_gradients_are_clipped_and_their_norm_is_reported_as_it_was(which: str, limit: float | None) -> None:
    step, reference, batch = make_step(max_grad_norm=limit), make_step(), make_batch()
    applied, free = gradients_at(step, which), gradients_at(reference, which)
    reported = step(batch)[f"{which}_grad_norm"].item()
    reference(batch)
    norms = [torch.stack([g.norm() for g in each.values() if g is not None]).norm().item() for each in (applied, free)]
    assert reported == pytest.approx(norms[1], rel=1e-4) and reported > 1e-2
    assert norms[0] == pytest.approx(min(norms[1], limit or norms[1]), rel=1e-3)


def test_mixed_precision_keeps_weights_and_terms_in_single_precision_and_their_values_about() -> None:
    batch = make_batch()
    plain, mixed = make_step()(batch), make_step(autocast=torch.bfloat16)(batch)
    assert set(plain) == set(mixed)
    for name, value in mixed.items():
        assert value.dtype in (torch.float32, torch.bool), name
        if value.dim() == 0 and "norm" not in name and "score" not in name:
            assert value.item() == pytest.approx(plain[name].item(), rel=0.05, abs=0.01), name


def test_mixed_precision_trains_single_precision_weights() -> None:
    step = make_step({"clean_normal": 1.0, "healthy_normal": 1.0}, autocast=torch.bfloat16, r1_weight=1.0)
    step.batch_transforms = (RandSuperimposeOpacity(prob=1.0),)
    for _ in range(3):
        output = step(make_batch())
    assert all(torch.isfinite(value).all() for value in output.values() if value.dtype != torch.bool)
    for module in (step.network, step.discriminator):
        assert all(p.dtype == torch.float32 and torch.isfinite(p).all() for p in module.parameters())


class LinearDiscriminator(nn.Module):
    """D(y) = <w, y>: its gradient is w for every image."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.01 * torch.randn(1, 32, 32))

    def forward(self, image: Tensor) -> list[Tensor]:
        return [(image * self.weight).sum(dim=(1, 2, 3)).view(-1, 1, 1, 1)]


def test_r1_of_a_linear_discriminator_by_hand() -> None:
    batch, reports, seen = make_batch(), {}, {}
    for weight in (0.0, 4.0):
        torch.manual_seed(1)
        step = make_step(discriminator=LinearDiscriminator(), r1_weight=weight)
        gradients = gradients_at(step, "discriminator")
        w = step.discriminator.weight.detach().clone()
        reports[weight] = step(batch)
        seen[weight] = gradients["weight"]
    assert "r1" not in reports[0.0]
    assert reports[4.0]["r1"].item() == pytest.approx(0.5 * w.square().sum().item(), rel=1e-5)
    torch.testing.assert_close(seen[4.0] - seen[0.0], 4.0 * w, rtol=1e-4, atol=1e-6)
    assert torch.equal(reports[4.0]["discriminator"], reports[0.0]["discriminator"])  # without the penalty
