"""Training step of CycleGAN: both translators, then both discriminators on a history of fakes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from monai_dgm.engines.training.steps import score_report, step_report, unwrapped
from monai_dgm.engines.training.systems.two_domains import TwoDomainStep, sum_of, weighted_sum, with_weights
from monai_dgm.losses.adversarial import least_squares_loss
from monai_dgm.losses.reconstruction import l1_loss
from monai_dgm.networks.cyclegan import CycleGANTranslators

__all__ = ["WEIGHTS", "CycleGANStep", "ImagePool"]

WEIGHTS = {"adversarial": 1.0, "cycle": 10.0, "identity": 5.0}
"""Weights of the authors' code (its 0.5 for identity is relative to the cycle's 10)."""


class ImagePool:
    """A history of synthesised images, from which a discriminator gets an older one half of the time.

    Random numbers are torch's, so that a resumed training repeats them.

    Args:
        capacity: images that are kept; 0 for no history.
    """

    def __init__(self, capacity: int = 50) -> None:
        if capacity < 0:
            raise ValueError(f"capacity: expected a number >= 0, got {capacity}")
        self.capacity = capacity
        self.images: list[Tensor] = []

    def exchange(self, images: Tensor) -> Tensor:
        """Give new images, (B, C, S, S) without gradients; get as many, each new or, once the pool is full, older."""
        chosen = []
        for image in images:
            if len(self.images) < self.capacity:
                self.images.append(image.clone())
            elif self.capacity and torch.rand(()) < 0.5:
                place = int(torch.randint(self.capacity, ()))
                image, self.images[place] = self.images[place], image.clone()
            chosen.append(image)
        return torch.stack(chosen)


@dataclass(eq=False, repr=False)
class CycleGANStep(TwoDomainStep):
    """CycleGAN: least squares, cycle and identity losses for the translators; then the discriminators.

    Args:
        network: :class:`monai_dgm.networks.cyclegan.CycleGANTranslators`.
        discriminator: ``nn.ModuleDict`` with "normal" and "abnormal", MONAI's ``PatchDiscriminator`` each.
        generator_optimizer, discriminator_optimizer, batch_transforms, autocast, max_grad_norm: as in
            :class:`TwoDomainStep`.
        weights: of terms that are not to have their weight of :data:`WEIGHTS`.
        pool_size: capacity of each :class:`ImagePool`; 50 with the authors.
    """

    discriminator: nn.ModuleDict
    _: KW_ONLY
    weights: Mapping[str, float] = field(default_factory=dict)
    pool_size: int = 50

    def __post_init__(self) -> None:
        self.weights = with_weights(WEIGHTS, self.weights)
        self.pools = {domain: ImagePool(self.pool_size) for domain in ("normal", "abnormal")}

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Train on one batch.

        Args:
            batch: ``image`` (B, 1, S, S) in [-1, 1] and ``label`` (B,), with images of both classes.

        Returns:
            ``loss`` of the translators, its terms ``adversarial``, ``cycle`` and ``identity`` (each the sum over both
            directions), ``discriminator`` with the mean scores of the normal one; ``image``, ``label``, ``normal`` and
            ``residue``, the abnormal images first.
        """
        batch = self.transform(batch)
        abnormal, normal = self.domains(batch)
        terms, fakes, same = self._generator_step(abnormal, normal)
        scores = self._discriminator_step({"normal": normal, "abnormal": abnormal}, fakes)
        self.num_steps += 1
        shown = self.shown(abnormal, normal, torch.cat((fakes["normal"], same)))
        return {**step_report(terms, *shown), **scores}

    def _generator_step(self, abnormal: Tensor, normal: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
        both: CycleGANTranslators = unwrapped(self.network)
        self.discriminator.requires_grad_(False)
        with self.amp(abnormal.device):
            fakes = {"normal": both.to_normal(abnormal), "abnormal": both.to_abnormal(normal)}
            again_abnormal, again_normal = both.to_abnormal(fakes["normal"]), both.to_normal(fakes["abnormal"])
            same_normal, same_abnormal = both.to_normal(normal), both.to_abnormal(abnormal)
            scores = {name: self._scores(name, fake) for name, fake in fakes.items()}
        terms = {
            "adversarial": least_squares_loss([scores["normal"]], 1.0) + least_squares_loss([scores["abnormal"]], 1.0),
            "cycle": l1_loss(again_abnormal, abnormal) + l1_loss(again_normal, normal),
            "identity": l1_loss(same_normal, normal) + l1_loss(same_abnormal, abnormal),
        }
        terms["total"] = weighted_sum(terms, self.weights)
        terms["generator_grad_norm"] = self.update(self.generator_optimizer, self.network, terms["total"])
        return terms, {name: fake.detach().float() for name, fake in fakes.items()}, same_normal.detach().float()

    def _discriminator_step(self, real: dict[str, Tensor], fakes: dict[str, Tensor]) -> dict[str, Tensor]:
        self.discriminator.requires_grad_(True)
        losses = []
        with self.amp(real["normal"].device):
            for name, pool in self.pools.items():
                shown = pool.exchange(fakes[name])
                on_real, on_fake = self._scores(name, real[name]), self._scores(name, shown)
                losses.append(0.5 * (least_squares_loss([on_real], 1.0) + least_squares_loss([on_fake], 0.0)))
                if name == "normal":
                    report = score_report([on_real], [on_fake])
        loss = sum_of(losses)
        norm = self.update(self.discriminator_optimizer, self.discriminator, loss)
        return {"discriminator": loss.detach(), "discriminator_grad_norm": norm, **report}

    def _scores(self, name: str, image: Tensor) -> Tensor:
        return self.discriminator[name](image)[-1]  # MONAI's gives every layer's features before

    def state_dict(self) -> dict[str, Any]:
        """The pools and the number of steps done."""
        return {**super().state_dict(), "pools": {name: list(pool.images) for name, pool in self.pools.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a :meth:`state_dict`."""
        super().load_state_dict(state)
        for name, pool in self.pools.items():
            device = next(self.discriminator[name].parameters()).device
            pool.images = [image.to(device) for image in state["pools"][name]]
