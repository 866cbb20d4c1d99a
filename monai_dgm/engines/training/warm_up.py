"""A warm start for the residue branch, before the adversarial game begins."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_dgm.engines.training.steps import AdversarialStep, step_report, unwrapped
from monai_dgm.networks.dgm import DGM

__all__ = ["ResidueWarmUp"]


class ResidueWarmUp:
    """Trains E_F, D_F and the head alone for a while; not in the paper.

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
