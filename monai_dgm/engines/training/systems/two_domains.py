"""What the steps of all systems share that learn from abnormal and normal images without pairs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from monai_dgm.engines.training.steps import TrainingStep

__all__ = ["TwoDomainStep", "sum_of", "weighted_sum", "with_weights"]


@dataclass(eq=False, repr=False)
class TwoDomainStep(TrainingStep):
    """A step with one optimiser for what synthesises and one for what judges.

    Its count of steps and what a subclass adds are in ``state_dict``: a checkpoint must hold them, since schedules and
    pools depend on them.

    Args:
        network: what synthesises.
        discriminator: what judges.
        generator_optimizer, discriminator_optimizer: of their parameters.
        batch_transforms, autocast, max_grad_norm: as in :class:`TrainingStep`.
    """

    discriminator: nn.Module
    generator_optimizer: Optimizer
    discriminator_optimizer: Optimizer
    num_steps: int = field(default=0, init=False)

    @staticmethod
    def domains(batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The abnormal and the normal images of a batch.

        Raises:
            ValueError: a batch without one of them.
        """
        image, label = batch["image"], batch["label"]
        abnormal, normal = image[label == 1], image[label == 0]
        if len(abnormal) == 0 or len(normal) == 0:
            raise ValueError(
                f"batch: expected abnormal and normal images, got {len(abnormal)} and {len(normal)}; "
                "give a batch_size of at least 2 and a normal_fraction between 0 and 1"
            )
        return abnormal, normal

    @staticmethod
    def shown(abnormal: Tensor, normal: Tensor, synthesised: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Outputs and batch for :func:`monai_dgm.engines.training.steps.step_report`, the abnormal images first.

        Args:
            abnormal, normal: the images, (A, 1, S, S) and (N, 1, S, S).
            synthesised: the normal image of each, (A + N, 1, S, S).
        """
        image = torch.cat((abnormal, normal))
        label = torch.cat((abnormal.new_ones(len(abnormal)), normal.new_zeros(len(normal))))
        return {"normal": synthesised, "residue": image - synthesised}, {"image": image, "label": label}

    def state_dict(self) -> dict[str, Any]:
        """The number of steps done."""
        return {"num_steps": self.num_steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a :meth:`state_dict`."""
        self.num_steps = state["num_steps"]


def with_weights(defaults: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, float]:
    """Weights of a loss by the name of the term: the authors', replaced by those that are given.

    Raises:
        ValueError: a term that there is not, or a weight below 0.
    """
    for name, value in weights.items():
        if name not in defaults:
            raise ValueError(f"weights: expected terms of {', '.join(defaults)}, got {name!r}")
        if not value >= 0:
            raise ValueError(f"weights: expected numbers >= 0, got {value!r} for {name}")
    return {**defaults, **weights}


def sum_of(terms: Iterable[Tensor]) -> Tensor:
    """The sum of scalar tensors."""
    return torch.stack(list(terms)).sum()


def weighted_sum(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """The sum of the terms that have a weight, each times its own."""
    return sum_of(weight * terms[name] for name, weight in weights.items() if name in terms)
