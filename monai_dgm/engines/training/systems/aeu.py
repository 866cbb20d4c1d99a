"""Training step of AE-U: reconstruction of normal radiographs with an uncertainty for each pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_dgm.engines.training.steps import OneOptimizerStep, step_report, unwrapped
from monai_dgm.losses.reconstruction import uncertainty_loss
from monai_dgm.networks.aeu import AEU

__all__ = ["AEUStep", "track_typical_deviation"]


class AEUStep(OneOptimizerStep):
    """AE-U learns from the normal images of a batch alone; abnormal ones are left out.

    Args:
        network: :class:`monai_dgm.networks.aeu.AEU`.
        optimizer: of its parameters.
        batch_transforms, autocast, max_grad_norm: as in :class:`OneOptimizerStep`.
    """

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Train on one batch.

        Args:
            batch: ``image`` (B, 1, S, S) in [-1, 1] and ``label`` (B,), with at least two normal images.

        Returns:
            ``loss``, ``squared_error`` (its mean over pixels); ``image``, ``label``, ``normal`` and ``residue`` of the
            normal images.
        """
        batch = self.transform(batch)
        image = batch["image"][batch["label"] == 0]
        aeu: AEU = unwrapped(self.network)
        with self.amp(image.device):
            mean, log_variance = aeu.autoencoder(image)
        terms = {
            "total": uncertainty_loss(mean, log_variance, image),
            "squared_error": (image - mean.float()).square().mean(),
        }
        terms["generator_grad_norm"] = self.update(self.optimizer, self.network, terms["total"])
        track_typical_deviation(aeu.typical_deviation, log_variance)
        shown = {"image": image, "label": torch.zeros(len(image), device=image.device)}
        return step_report(terms, {"normal": mean, "residue": image - mean.float()}, shown)


def track_typical_deviation(buffer: Tensor, log_variance: Tensor, share: float = 0.01) -> None:
    """Move a running mean of the predicted standard deviations towards that of a batch, in place."""
    with torch.no_grad():
        buffer.lerp_(torch.exp(0.5 * log_variance.detach().float()).mean(), share)
