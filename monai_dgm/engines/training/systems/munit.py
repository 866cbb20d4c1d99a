"""Training step of MUNIT: both autoencoders, then both discriminators on the same fakes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field

import torch
from torch import Tensor, nn

from monai_dgm.engines.training.steps import score_report, step_report, unwrapped
from monai_dgm.engines.training.systems.two_domains import TwoDomainStep, sum_of, weighted_sum, with_weights
from monai_dgm.losses.adversarial import least_squares_loss
from monai_dgm.losses.reconstruction import l1_loss
from monai_dgm.networks.munit import STYLE_LENGTH, MUNITAutoencoders

__all__ = ["WEIGHTS", "MUNITStep"]

WEIGHTS = {"adversarial": 1.0, "image": 10.0, "style": 1.0, "content": 1.0, "cycle": 10.0}
"""Weights of the authors' configuration for photographs (summer to winter), the one that has a cycle."""

STYLE_SHARE = 0.01  # of a batch in the running mean of normal styles


@dataclass(eq=False, repr=False)
class MUNITStep(TwoDomainStep):
    """MUNIT: image, style, content and cycle reconstruction, multi-scale least squares.

    Args:
        network: :class:`monai_dgm.networks.munit.MUNITAutoencoders`.
        discriminator: ``nn.ModuleDict`` with "normal" and "abnormal",
            :class:`monai_dgm.networks.discriminator.MultiScaleDiscriminator` each.
        generator_optimizer, discriminator_optimizer, batch_transforms, autocast, max_grad_norm: as in
            :class:`TwoDomainStep`.
        weights: of terms that are not to have their weight of :data:`WEIGHTS`.
    """

    discriminator: nn.ModuleDict
    _: KW_ONLY
    weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.weights = with_weights(WEIGHTS, self.weights)

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Train on one batch.

        Args:
            batch: ``image`` (B, 1, S, S) in [-1, 1] and ``label`` (B,), with images of both classes.

        Returns:
            ``loss`` of the autoencoders, its terms ``adversarial``, ``image_reconstruction``, ``style``, ``content``
            and ``cycle`` (each the sum over both domains), ``discriminator`` with the mean scores of the normal one;
            ``image``, ``label``, ``normal`` and ``residue``, the abnormal images first (of normal images ``normal`` is
            their reconstruction).
        """
        batch = self.transform(batch)
        abnormal, normal = self.domains(batch)
        terms, fakes, rebuilt = self._generator_step(abnormal, normal)
        scores = self._discriminator_step({"normal": normal, "abnormal": abnormal}, fakes)
        self.num_steps += 1
        terms["image_reconstruction"] = terms.pop("image")
        shown = self.shown(abnormal, normal, torch.cat((fakes["normal"], rebuilt)))
        return {**step_report(terms, *shown), **scores}

    def _generator_step(self, abnormal: Tensor, normal: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
        both: MUNITAutoencoders = unwrapped(self.network)
        a, b = both.abnormal, both.normal
        self.discriminator.requires_grad_(False)
        style_a = torch.randn(len(normal), STYLE_LENGTH, device=normal.device)  # of the abnormal image made of a normal
        style_b = torch.randn(len(abnormal), STYLE_LENGTH, device=abnormal.device)
        with self.amp(abnormal.device):
            content_a, own_a = a.encode(abnormal)
            content_b, own_b = b.encode(normal)
            rebuilt_a, rebuilt_b = a.decode(content_a, own_a), b.decode(content_b, own_b)
            fakes = {"abnormal": a.decode(content_b, style_a), "normal": b.decode(content_a, style_b)}
            content_b_again, style_a_again = a.encode(fakes["abnormal"])
            content_a_again, style_b_again = b.encode(fakes["normal"])
            scores = {name: self.discriminator[name](fake) for name, fake in fakes.items()}
            terms = {
                "adversarial": sum_of(least_squares_loss(scale, 1.0) for scale in scores.values()),
                "image": l1_loss(rebuilt_a, abnormal) + l1_loss(rebuilt_b, normal),
                "style": l1_loss(style_a_again, style_a) + l1_loss(style_b_again, style_b),
                "content": l1_loss(content_a_again, content_a) + l1_loss(content_b_again, content_b),
            }
            if self.weights["cycle"] > 0:
                cycle_a, cycle_b = a.decode(content_a_again, own_a), b.decode(content_b_again, own_b)
                terms["cycle"] = l1_loss(cycle_a, abnormal) + l1_loss(cycle_b, normal)
        terms["total"] = weighted_sum(terms, self.weights)
        terms["generator_grad_norm"] = self.update(self.generator_optimizer, self.network, terms["total"])
        both.normal_style.lerp_(own_b.detach().float().mean(dim=0), STYLE_SHARE)
        return terms, {name: fake.detach().float() for name, fake in fakes.items()}, rebuilt_b.detach().float()

    def _discriminator_step(self, real: dict[str, Tensor], fakes: dict[str, Tensor]) -> dict[str, Tensor]:
        self.discriminator.requires_grad_(True)
        with self.amp(real["normal"].device):
            on_real = {name: self.discriminator[name](image) for name, image in real.items()}
            on_fake = {name: self.discriminator[name](image) for name, image in fakes.items()}
            losses = [least_squares_loss(scales, 1.0) for scales in on_real.values()]
            losses += [least_squares_loss(scales, 0.0) for scales in on_fake.values()]
        loss = self.weights["adversarial"] * sum_of(losses)
        norm = self.update(self.discriminator_optimizer, self.discriminator, loss)
        report = {"discriminator": loss.detach(), "discriminator_grad_norm": norm}
        return {**report, **score_report(on_real["normal"], on_fake["normal"])}
