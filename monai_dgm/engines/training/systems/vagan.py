"""Training step of VA-GAN: a Wasserstein critic several times, then the map generator once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import torch
from torch import Tensor

from monai_dgm.engines.training.steps import frozen, step_report, unwrapped
from monai_dgm.engines.training.systems.two_domains import TwoDomainStep
from monai_dgm.losses.wasserstein import critic_loss, gradient_penalty, wasserstein_generator_loss
from monai_dgm.networks.vagan import VAGAN

__all__ = ["CriticSchedule", "VAGANStep"]


@dataclass(frozen=True)
class CriticSchedule:
    """How many critic steps precede each generator step; the defaults are those of the authors' code.

    Attributes:
        steps: critic steps before a generator step.
        long_steps: instead of them before each of the first ``first_long`` generator steps, and before every
            ``long_every``-th.
        first_long, long_every: see there.
    """

    steps: int = 5
    long_steps: int = 100
    first_long: int = 25
    long_every: int = 100

    def __post_init__(self) -> None:
        if min(self.steps, self.long_steps, self.long_every) < 1 or self.first_long < 0:
            raise ValueError(f"schedule: expected numbers of steps of at least 1, got {self}")

    def critic_steps(self, generator_step: int) -> int:
        """Critic steps before a generator step, counted from 0."""
        long = generator_step < self.first_long or generator_step % self.long_every == 0
        return self.long_steps if long else self.steps


@dataclass(eq=False, repr=False)
class VAGANStep(TwoDomainStep):
    """VA-GAN: each batch trains the critic, or the map generator when the critic has had its steps.

    So every critic step has a batch of its own, as with the authors. The real images are the normal ones of the batch,
    the fakes are made of its abnormal ones.

    Args:
        network: :class:`monai_dgm.networks.vagan.VAGAN`.
        discriminator: :class:`monai_dgm.networks.vagan.Critic`.
        generator_optimizer, discriminator_optimizer, batch_transforms, autocast, max_grad_norm: as in
            :class:`TwoDomainStep`.
        map_weight: on the mean of abs(y' - z); 100 with the authors.
        penalty_weight: on the gradient penalty; 10 with the authors.
        schedule: how many critic steps precede each generator step.
    """

    _: KW_ONLY
    map_weight: float = 100.0
    penalty_weight: float = 10.0
    schedule: CriticSchedule = CriticSchedule()
    num_generator_steps: int = field(default=0, init=False)
    num_critic_steps: int = field(default=0, init=False)  # since the last step of the generator

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Train the critic or the generator on one batch.

        Args:
            batch: ``image`` (B, 1, S, S) in [-1, 1] and ``label`` (B,), with images of both classes.

        Returns:
            ``loss`` of the generator, its terms ``adversarial`` and ``map`` at every step, of the critic ``critic``,
            ``penalty`` and the mean scores where it was trained; ``image``, ``label``, ``normal`` and ``residue`` of
            the abnormal images.
        """
        batch = self.transform(batch)
        abnormal, real = self.domains(batch)
        generator_turn = self.num_critic_steps >= self.schedule.critic_steps(self.num_generator_steps)
        terms, normal = self._generator_terms(abnormal, generator_turn)
        report = self._generator_step(terms) if generator_turn else self._critic_step(real, normal.detach())
        self.num_steps += 1
        shown = {"image": abnormal, "label": torch.ones(len(abnormal), device=abnormal.device)}
        return {**step_report(terms, {"normal": normal, "residue": abnormal - normal}, shown), **report}

    def _generator_terms(self, abnormal: Tensor, with_gradients: bool) -> tuple[dict[str, Tensor], Tensor]:
        vagan: VAGAN = unwrapped(self.network)
        with torch.set_grad_enabled(with_gradients), self.amp(abnormal.device):
            normal = vagan.normal_image(abnormal).float()
            scores = frozen(unwrapped(self.discriminator))(normal)
        terms = {"adversarial": wasserstein_generator_loss(scores), "map": (normal - abnormal).abs().mean()}
        terms["total"] = terms["adversarial"] + self.map_weight * terms["map"]
        return terms, normal

    def _generator_step(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        self.num_generator_steps += 1
        self.num_critic_steps = 0
        return {"generator_grad_norm": self.update(self.generator_optimizer, self.network, terms["total"])}

    def _critic_step(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        count = min(len(real), len(fake))
        with self.amp(real.device):
            real_scores, fake_scores = self.discriminator(torch.cat((real, fake))).float().split((len(real), len(fake)))
        distance = critic_loss(real_scores, fake_scores)
        share = torch.rand(count, device=real.device)
        penalty = gradient_penalty(self.discriminator, real[:count], fake[:count], share)  # in full precision
        loss = distance + self.penalty_weight * penalty
        norm = self.update(self.discriminator_optimizer, self.discriminator, loss)
        self.num_critic_steps += 1
        return {
            "critic": distance.detach(),
            "penalty": penalty.detach(),
            "discriminator_grad_norm": norm,
            "critic_real": real_scores.detach().mean(),
            "critic_fake": fake_scores.detach().mean(),
        }

    def state_dict(self) -> dict[str, Any]:
        """Where in the schedule the training is."""
        own = {"num_generator_steps": self.num_generator_steps, "num_critic_steps": self.num_critic_steps}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a :meth:`state_dict`."""
        super().load_state_dict(state)
        self.num_generator_steps = state["num_generator_steps"]
        self.num_critic_steps = state["num_critic_steps"]
