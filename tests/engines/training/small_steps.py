"""Steps of tiny networks, and what tests look at in them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from monai_dgm.engines.training.steps import AdversarialStep
from monai_dgm.losses.objective import DGMObjective
from monai_dgm.networks.dgm import DGM
from monai_dgm.networks.discriminator import MultiScaleDiscriminator


def make_step(weights: dict[str, float] | None = None, **settings: Any) -> AdversarialStep:
    """A step of tiny networks, the same at each call; ``settings`` are its own, two learning rates, or D itself."""
    torch.manual_seed(0)
    network = DGM(base_width=2, num_res_blocks=1)
    discriminator = settings.pop("discriminator", None) or MultiScaleDiscriminator(
        base_width=2, num_scales=2, num_layers=2
    )
    return AdversarialStep(
        network,
        discriminator,
        torch.optim.SGD(network.parameters(), lr=settings.pop("generator_lr", 0.1)),
        torch.optim.SGD(discriminator.parameters(), lr=settings.pop("discriminator_lr", 0.1)),
        DGMObjective(weights),
        **settings,
    )


def make_batch(labels: tuple[int, ...] = (0, 1, 1, 0), size: int = 32) -> dict[str, Tensor]:
    """Noise in [-1, 1] with these labels."""
    return {"image": torch.rand(len(labels), 1, size, size) * 2 - 1, "label": torch.tensor(labels).float()}


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the parameters."""
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Whether two copies are equal, bit by bit."""
    return all(torch.equal(a[name], b[name]) for name in a)


def gradients_at(step: AdversarialStep, which: str) -> dict[str, Tensor | None]:
    """Filled when the optimiser steps: the gradients of its module at that moment."""
    module = getattr(step, {"generator": "network"}.get(which, which))
    seen: dict[str, Tensor | None] = {}

    def record(*_: Any) -> None:
        for name, parameter in module.named_parameters():
            seen[name] = None if parameter.grad is None else parameter.grad.clone()

    getattr(step, f"{which}_optimizer").register_step_pre_hook(record)
    return seen
