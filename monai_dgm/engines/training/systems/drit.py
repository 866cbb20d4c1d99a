"""Training step of DRIT: the content discriminator more often than all else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from monai_dgm.engines.training.steps import frozen, score_report, step_report, unwrapped
from monai_dgm.engines.training.systems.two_domains import TwoDomainStep, sum_of, weighted_sum, with_weights
from monai_dgm.losses.adversarial import cross_entropy_loss
from monai_dgm.losses.latent import gaussian_kl_loss, mode_seeking_loss
from monai_dgm.losses.reconstruction import l1_loss
from monai_dgm.networks.drit import ATTRIBUTE_LENGTH, DOMAINS, DRITNetworks

__all__ = ["DISCRIMINATORS", "WEIGHTS", "DRITStep", "discriminator_groups"]

WEIGHTS = {
    "adversarial": 1.0,
    "content_adversarial": 1.0,
    "self_reconstruction": 10.0,
    "cross_cycle": 10.0,
    "kl": 0.01,
    "content_size": 0.01,
    "random_adversarial": 1.0,
    "latent_regression": 10.0,
    "mode_seeking": 1.0,
}
"""Weights of the authors' code. ``content_size`` is on the mean square of the contents."""

DISCRIMINATORS = ("content", "abnormal", "normal", "abnormal_random", "normal_random")
"""Of contents; of images with the attributes of an image; of images with random attributes."""

ATTRIBUTE_SHARE = 0.01  # of a batch in the running mean of normal attributes
OTHER = {"abnormal": "normal", "normal": "abnormal"}

Pair = dict[str, Tensor]  # by the names of the domains


@dataclass(eq=False, repr=False)
class DRITStep(TwoDomainStep):
    """DRIT: the content discriminator alone, several times, then one step of everything.

    The batch is divided into parts, so that each of these steps has images of its own, as with the authors. Everything
    is: the discriminators of contents and of images with encoded attributes; encoders and decoder on the losses of
    those; then the same with random attributes, which teach content encoder and decoder alone.

    Args:
        network: :class:`monai_dgm.networks.drit.DRITNetworks`.
        discriminator: ``nn.ModuleDict`` with the names of :data:`DISCRIMINATORS`.
        generator_optimizer: of the network's parameters.
        discriminator_optimizer: of :func:`discriminator_groups`.
        batch_transforms, autocast, max_grad_norm: as in :class:`TwoDomainStep`.
        weights: of terms that are not to have their weight of :data:`WEIGHTS`.
        content_steps: of the content discriminator alone; 2 with the authors.
        max_content_norm: the content discriminator's gradients are clipped to this norm; 5 with the authors.

    Raises:
        ValueError: other discriminators, a negative number of steps, or (at a call) fewer images than steps.
    """

    discriminator: nn.ModuleDict
    _: KW_ONLY
    weights: Mapping[str, float] = field(default_factory=dict)
    content_steps: int = 2
    max_content_norm: float = 5.0

    def __post_init__(self) -> None:
        self.weights = with_weights(WEIGHTS, self.weights)
        if set(self.discriminator) != set(DISCRIMINATORS):
            found = ", ".join(self.discriminator)
            raise ValueError(f"discriminator: expected {', '.join(DISCRIMINATORS)}, got {found}")
        if self.content_steps < 0:
            raise ValueError(f"content_steps: expected a number >= 0, got {self.content_steps}")

    @property
    def drit(self) -> DRITNetworks:
        """The network outside a distributed wrapper."""
        network: DRITNetworks = unwrapped(self.network)
        return network

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Train on one batch.

        Args:
            batch: ``image`` (B, 1, S, S) in [-1, 1] and ``label`` (B,), with at least one more image of each class than
                there are steps of the content discriminator alone.

        Returns:
            every term of :data:`WEIGHTS` that has a weight, ``loss``, ``content_discriminator``, ``discriminator`` and
            the mean scores of the one for normal images; ``image``, ``label``, ``normal`` and ``residue`` of the last
            part, the abnormal images first (of normal images ``normal`` is their reconstruction).
        """
        batch = self.transform(batch)
        *first, images = self._parts(batch)
        for part in first:
            with torch.no_grad(), self.amp(part["normal"].device):
                contents = {domain: self.drit.content_encoder(part[domain], domain) for domain in DOMAINS}
            self._update_discriminators({}, {}, contents)
        terms, fakes, rebuilt, report = self._encoded_step(images)
        terms.update(self._random_step(images))
        terms["total"] = weighted_sum(terms, self.weights)
        self.num_steps += 1
        shown = self.shown(images["abnormal"], images["normal"], torch.cat((fakes["normal"], rebuilt["normal"])))
        return {**step_report(terms, *shown), **report}

    def _parts(self, batch: dict[str, Tensor]) -> Iterator[Pair]:
        """Equally many images of both domains for each step."""
        images = self.domains(batch)
        parts = self.content_steps + 1
        count = min(len(image) for image in images) // parts
        if count == 0:
            found = " and ".join(str(len(image)) for image in images)
            raise ValueError(f"batch: expected {parts} images of each class or more, got {found}")
        for start in range(0, parts * count, count):
            yield {domain: image[start : start + count] for domain, image in zip(DOMAINS, images, strict=True)}

    def _encoded_step(self, images: Pair) -> tuple[dict[str, Tensor], Pair, Pair, dict[str, Tensor]]:
        """Discriminators, encoders and decoder on images whose attributes are those of an image."""
        drit, device = self.drit, images["normal"].device
        with self.amp(device):
            contents = {domain: drit.content_encoder(images[domain], domain) for domain in DOMAINS}
            codes = {domain: drit.attribute_encoders[domain](images[domain]) for domain in DOMAINS}
            attributes = {domain: _sampled(*code) for domain, code in codes.items()}
            fakes, rebuilt = {}, {}
            for domain in DOMAINS:
                both = torch.cat((contents[OTHER[domain]], contents[domain]))
                decoded = drit.decoder(both, attributes[domain].repeat(2, 1), domain)
                fakes[domain], rebuilt[domain] = decoded.chunk(2)
        report = self._update_discriminators(images, {name: fake.detach() for name, fake in fakes.items()}, contents)
        self.discriminator.requires_grad_(False)
        with self.amp(device):
            again = {OTHER[domain]: drit.content_encoder(fakes[domain], domain) for domain in DOMAINS}
            recoded = {domain: _sampled(*drit.attribute_encoders[domain](fakes[domain])) for domain in DOMAINS}
            cycles = {domain: drit.decoder(again[domain], recoded[domain], domain) for domain in DOMAINS}
            judged = {domain: self.discriminator[domain](fakes[domain]) for domain in DOMAINS}
            undecided = [self.discriminator["content"](contents[domain]) for domain in DOMAINS]
        terms = {
            "adversarial": sum_of(cross_entropy_loss(scores, 1.0) for scores in judged.values()),
            "content_adversarial": sum_of(cross_entropy_loss([scores], 0.5) for scores in undecided),
            "self_reconstruction": sum_of(l1_loss(rebuilt[domain], images[domain]) for domain in DOMAINS),
            "cross_cycle": sum_of(l1_loss(cycles[domain], images[domain]) for domain in DOMAINS),
            "kl": sum_of(gaussian_kl_loss(*code) for code in codes.values()),
            "content_size": sum_of(content.float().square().mean() for content in contents.values()),
        }
        loss = weighted_sum(terms, self.weights)
        report["generator_grad_norm"] = self.update(self.generator_optimizer, self.network, loss)
        drit.normal_attributes.lerp_(codes["normal"][0].detach().float().mean(dim=0), ATTRIBUTE_SHARE)
        return terms, _detached(fakes), _detached(rebuilt), report

    def _random_step(self, images: Pair) -> dict[str, Tensor]:
        """Discriminators, content encoder and decoder on images whose attributes are drawn."""
        drit, device, count = self.drit, images["normal"].device, len(images["normal"])
        drawn = torch.randn(2, count, ATTRIBUTE_LENGTH, device=device)
        with self.amp(device):
            fakes = {}
            for domain in DOMAINS:
                content = drit.content_encoder(images[OTHER[domain]], OTHER[domain])
                fakes[f"{domain}_random"] = drit.decoder(content.repeat(2, 1, 1, 1), drawn.flatten(0, 1), domain)
        real = {f"{domain}_random": images[domain].repeat(2, 1, 1, 1) for domain in DOMAINS}
        self._update_discriminators(real, {name: fake.detach() for name, fake in fakes.items()}, {})
        self.discriminator.requires_grad_(False)
        adversarial, regression, seeking = [], [], []
        for domain in DOMAINS:
            fake = fakes[f"{domain}_random"]
            with self.amp(device):
                scores = self.discriminator[f"{domain}_random"](fake)
                mean, _ = frozen(drit.attribute_encoders[domain])(fake[:count])
            adversarial.append(2 * cross_entropy_loss(scores, 1.0))  # one for each of the two drawings
            regression.append(l1_loss(mean, drawn[0]))
            seeking.append(mode_seeking_loss(fake[:count], fake[count:], drawn[0], drawn[1]))
        terms = {
            "random_adversarial": sum_of(adversarial),
            "latent_regression": sum_of(regression),
            "mode_seeking": sum_of(seeking),
        }
        self.update(self.generator_optimizer, self.network, weighted_sum(terms, self.weights))
        return terms

    def _update_discriminators(self, real: Pair, fakes: Pair, contents: Pair) -> dict[str, Tensor]:
        """One step of the discriminators of some images, by name, and of that of the contents where there are any."""
        self.discriminator.requires_grad_(True)
        report, losses = {}, []
        device = next(iter((*fakes.values(), *contents.values()))).device
        with self.amp(device):
            for name, fake in fakes.items():
                on_real, on_fake = self.discriminator[name](real[name]), self.discriminator[name](fake)
                factor = 2.0 if name.endswith("random") else 1.0  # one for each of the two drawings
                losses.append(factor * (cross_entropy_loss(on_real, 1.0) + cross_entropy_loss(on_fake, 0.0)))
                if name == "normal":
                    report = score_report(on_real, on_fake)
            if fakes:
                report["discriminator"] = sum_of(losses).detach()
            if contents:
                logits = {domain: self.discriminator["content"](contents[domain].detach()) for domain in DOMAINS}
                losses.append(sum_of(cross_entropy_loss([logits[d]], float(d == "normal")) for d in DOMAINS))
                report["content_discriminator"] = losses[-1].detach()
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        sum_of(losses).backward()
        nn.utils.clip_grad_norm_(self.discriminator["content"].parameters(), self.max_content_norm)
        report["discriminator_grad_norm"] = self.clip(self.discriminator)
        self.discriminator_optimizer.step()
        return report


def discriminator_groups(discriminators: nn.ModuleDict, learning_rate: float) -> list[dict[str, Any]]:
    """Groups for an optimiser: the content discriminator with the authors' 1 / 2.5 of the learning rate of the others.

    Args:
        discriminators: with the names of :data:`DISCRIMINATORS`.
        learning_rate: of the others.
    """
    others = [parameter for name in DISCRIMINATORS[1:] for parameter in discriminators[name].parameters()]
    content = list(discriminators["content"].parameters())
    return [{"params": others, "lr": learning_rate}, {"params": content, "lr": learning_rate / 2.5}]


def _sampled(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Attributes drawn from N(mean, variance), with gradients."""
    return mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)


def _detached(images: Pair) -> Pair:
    return {name: image.detach().float() for name, image in images.items()}
