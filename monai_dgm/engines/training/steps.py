"""Training steps: what all of them share, and the DGM's (generator, then discriminator; paper, section 5.1)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import torch
from monai.inferers import Inferer, SimpleInferer
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import Optimizer

from monai_dgm.losses.adversarial import discriminator_adversarial_loss, r1_penalty
from monai_dgm.losses.objective import DGMObjective
from monai_dgm.networks.dgm import DGM

__all__ = [
    "AdversarialStep",
    "OneOptimizerStep",
    "ResidueWarmUp",
    "TrainingStep",
    "frozen",
    "score_report",
    "step_report",
    "unwrapped",
]

BatchTransform = Callable[[dict[str, Any]], dict[str, Any]]


def frozen(module: nn.Module) -> Callable[..., Any]:
    """``module`` as a function whose input gets gradients and whose parameters get none; nothing is copied."""
    state = {name: value.detach() for name, value in (*module.named_parameters(), *module.named_buffers())}
    return lambda *args: functional_call(module, state, args)


def unwrapped(network: nn.Module) -> Any:
    """The network inside a distributed wrapper, or itself."""
    return network.module if isinstance(network, nn.parallel.DistributedDataParallel) else network


def step_report(terms: dict[str, Tensor], outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """What handlers get of a step, all detached: loss terms by name (``total`` as ``loss``), and the step's images."""
    report = {name: term.detach() for name, term in terms.items()}
    report["loss"] = report.pop("total")
    shown = ("normal", "residue", "abnormality_logit")
    report.update({name: outputs[name].detach().float() for name in shown if name in outputs})
    report.update({name: batch[name] for name in ("image", "label", "superimposed") if name in batch})
    return report


def score_report(on_real: Sequence[Tensor], on_fake: Sequence[Tensor]) -> dict[str, Tensor]:
    """Mean scores of a discriminator at each scale, detached, by the names that the collapse monitor looks for."""
    report = {}
    for scale, (real, fake) in enumerate(zip(on_real, on_fake, strict=True)):
        report[f"real_score_{scale}"] = real.detach().float().mean()
        report[f"fake_score_{scale}"] = fake.detach().float().mean()
    return report


@dataclass(eq=False, repr=False)
class TrainingStep(ABC):
    """One optimiser step of every network that is trained, on one batch. Each system has a step of its own.

    :class:`monai_dgm.engines.training.trainer.StepTrainer` calls it and knows no more of it than this class says.

    Args:
        network: the network that is trained (possibly wrapped for distributed training).
        batch_transforms: applied to a batch on the device, in order (augmentation, superimposed opacities).
        autocast: dtype of autocast, e.g. ``torch.bfloat16``, or None for full precision.
        max_grad_norm: clip the norm of all gradients of a network, None for no clipping.
    """

    network: nn.Module
    _: KW_ONLY
    batch_transforms: Sequence[BatchTransform] = ()
    autocast: torch.dtype | None = None
    max_grad_norm: float | None = None

    @abstractmethod
    def __call__(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Train on one batch.

        Args:
            batch: on the networks' device, ``image`` (B, C, S, S) in [-1, 1] and what else the step needs.

        Returns:
            detached tensors by name, with ``loss``, as :func:`step_report` makes them.
        """

    def transform(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Apply the batch transforms."""
        for transform in self.batch_transforms:
            batch = transform(batch)
        return batch

    def amp(self, device: torch.device) -> torch.autocast:
        """The autocast context of the step."""
        return torch.autocast(device.type, dtype=self.autocast, enabled=self.autocast is not None)

    def clip(self, module: nn.Module) -> Tensor:
        """Clip the gradients of ``module`` and return their norm as it was."""
        norm = nn.utils.get_total_norm([p.grad for p in module.parameters() if p.grad is not None])
        if self.max_grad_norm is not None:
            nn.utils.clip_grads_with_norm_(module.parameters(), self.max_grad_norm, norm)
        return norm.detach()

    def update(self, optimizer: Optimizer, module: nn.Module, loss: Tensor) -> Tensor:
        """One step of an optimiser on a loss; returns the norm of the gradients of ``module`` before clipping."""
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = self.clip(module)
        optimizer.step()
        return norm


@dataclass(eq=False, repr=False)
class OneOptimizerStep(TrainingStep):
    """A step of a system that has no discriminator.

    Args:
        network: the network that is trained.
        optimizer: of its parameters.
        batch_transforms, autocast, max_grad_norm: as in :class:`TrainingStep`.
    """

    optimizer: Optimizer


@dataclass(eq=False, repr=False)
class AdversarialStep(TrainingStep):
    """DGM: alternating generator and discriminator steps on one batch; the fakes are computed once and used for both.

    Args:
        network: the DGM (possibly wrapped for distributed training).
        discriminator: D.
        generator_optimizer, discriminator_optimizer: of their parameters.
        objective: weighs the terms of the generator's loss.
        batch_transforms, autocast, max_grad_norm: as in :class:`TrainingStep`.
        inferer: calls the network; by default on the whole image.
        r1_weight: weight of the R1 penalty on D; 0 in the paper.
    """

    discriminator: nn.Module
    generator_optimizer: Optimizer
    discriminator_optimizer: Optimizer
    objective: DGMObjective
    _: KW_ONLY
    inferer: Inferer = field(default_factory=SimpleInferer)
    r1_weight: float = 0.0

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Train on one batch.

        Args:
            batch: ``image`` (B, 1, S, S) in [-1, 1] and ``label`` (B,) on the networks' device; where ``real_normal``
                (R, 1, S, S) is given, D's real images are those, else the normal images of the batch.

        Returns:
            every loss term (detached scalars) by name, ``loss`` (the generator's total), ``discriminator``, D's mean
            score on real and fake for each scale (``real_score_0``...), and the detached ``normal``, ``residue``,
            ``abnormality_logit`` with the batch's ``image``, ``label`` and ``superimposed`` as trained on.
        """
        real_normal = batch["label"] == 0  # before opacities are superimposed
        batch = self.transform(batch)
        real = batch["real_normal"] if "real_normal" in batch else batch.get("true_normal", batch["image"])[real_normal]
        terms, outputs = self._generator_step(batch)
        scores = self._discriminator_step(real, outputs["normal"].detach())
        return {**step_report(terms, outputs, batch), **scores}

    def _generator_step(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        self.discriminator.requires_grad_(False)
        with self.amp(batch["image"].device):
            outputs = self.inferer(batch["image"], self.network)
            # Outside a distributed wrapper, which would wait for D's gradients.
            fake_scores = unwrapped(self.discriminator)(outputs["normal"])
            terms = self.objective(outputs, batch, fake_scores, self._second_pass(outputs))
        terms["generator_grad_norm"] = self.update(self.generator_optimizer, self.network, terms["total"])
        return terms, outputs

    def _second_pass(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """y' through frozen copies of E_F, D_F and the head, z'' through both encoders, as far as they have weight."""
        dgm: DGM = unwrapped(self.network)
        second: dict[str, Tensor] = {}
        if self.objective.needs_second_pass:
            normal = outputs["normal"]
            if dgm.masked:  # the residue of y' needs both decoders
                again = frozen(dgm)(normal)
                return {name: again[name] for name in ("residue", "abnormality_logit")}
            features = frozen(dgm.residue_encoder)(normal)
            second["residue"] = frozen(dgm.residue_decoder)(features, normal)
            second["abnormality_logit"] = frozen(dgm.abnormality_head)(features[-1])
        if self.objective.weights.latent_regression > 0:
            joint = outputs["joint_reconstruction"]
            second["normal_code"] = dgm.normal_encoder(joint)[-1]
            second["residue_code"] = dgm.residue_encoder(joint)[-1]
        return second

    def _discriminator_step(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        if real.shape[0] == 0:  # a batch without a normal image teaches D nothing about real ones
            return {}
        self.discriminator.requires_grad_(True)
        real = real.detach().requires_grad_(self.r1_weight > 0)
        with self.amp(real.device):
            scores = self.discriminator(torch.cat((real, fake)))
            real_scores = [scale[: len(real)] for scale in scores]
            fake_scores = [scale[len(real) :] for scale in scores]
            loss = discriminator_adversarial_loss(real_scores, fake_scores)
        report = {"discriminator": loss.detach()}
        if self.r1_weight > 0:
            penalty = r1_penalty(real_scores, real)
            report["r1"] = penalty.detach()
            loss = loss + self.r1_weight * penalty
        report["discriminator_grad_norm"] = self.update(self.discriminator_optimizer, self.discriminator, loss)
        return {**report, **score_report(real_scores, fake_scores)}


class ResidueWarmUp:
    """Trains E_F, D_F and the head alone before the adversarial training begins; not in the paper.

    E_F has no normalisation and learns slowly while it also serves the joint reconstruction. Its own terms need
    neither the normal image nor D, and a step without them costs about a quarter.

    Args:
        step: whose network, optimiser, objective, batch transforms and precision are used.
        iterations: how many of the training's first iterations; 0 for none.
    """

    def __init__(self, step: AdversarialStep, iterations: int) -> None:
        if iterations < 0:
            raise ValueError(f"iterations: expected a number >= 0, got {iterations}")
        if iterations > 0 and getattr(unwrapped(step.network), "masked", False):
            raise ValueError("iterations: expected 0 for a masked composition, whose residue needs D_G")
        self.step = step
        self.iterations = iterations

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Train on one batch, as :class:`AdversarialStep`; the report has no ``normal`` and no scores of D."""
        step, dgm = self.step, self._network()
        batch = step.transform(batch)
        step.generator_optimizer.zero_grad(set_to_none=True)
        with step.amp(batch["image"].device):
            features = dgm.residue_encoder(batch["image"])
            outputs = {
                "residue": dgm.residue_decoder(features, batch["image"]),
                "abnormality_logit": dgm.abnormality_head(features[-1]),
            }
            terms = step.objective.residue_terms(outputs, batch)
            terms["total"] = step.objective.total(terms)
        terms["total"].backward()
        self._average_gradients(dgm)
        terms["generator_grad_norm"] = step.clip(dgm)
        step.generator_optimizer.step()
        return step_report(terms, outputs, batch)

    def _network(self) -> DGM:
        network: DGM = unwrapped(self.step.network)
        return network

    @staticmethod
    def _average_gradients(dgm: DGM) -> None:
        """A part of the network is run outside its distributed wrapper, so its gradients are averaged here."""
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return
        for parameter in dgm.parameters():
            if parameter.grad is not None:
                torch.distributed.all_reduce(parameter.grad)
                parameter.grad /= torch.distributed.get_world_size()
