"""Training step of DDAD: two ensembles of AE-U, one on all images and one on the normal ones."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_dgm.engines.training.steps import OneOptimizerStep, step_report, unwrapped
from monai_dgm.engines.training.systems.aeu import track_typical_deviation
from monai_dgm.losses.reconstruction import uncertainty_loss
from monai_dgm.networks.ddad import DDAD

__all__ = ["DDADStep"]


class DDADStep(OneOptimizerStep):
    """DDAD: every member of module A learns from the whole batch, every member of module B from its normal images.

    No label reaches module A: the batch is the authors' mixture of normal and unlabelled images. Each member draws its
    images anew, with replacement, so that members of an ensemble differ by more than their first weights, as in the
    authors' separate trainings.

    Args:
        network: :class:`monai_dgm.networks.ddad.DDAD`.
        optimizer: of its parameters.
        batch_transforms, autocast, max_grad_norm: as in :class:`OneOptimizerStep`.
    """

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Train on one batch.

        Args:
            batch: ``image`` (B, 1, S, S) in [-1, 1] and ``label`` (B,), with at least two normal images.

        Returns:
            ``loss``, ``module_a`` and ``module_b`` (the mean loss of their members); ``image``, ``label``, ``normal``
            and ``residue`` (the error) of the normal images as the last member of module B saw them.
        """
        batch = self.transform(batch)
        image = batch["image"]
        normal = image[batch["label"] == 0]
        ddad: DDAD = unwrapped(self.network)
        losses: dict[str, list[Tensor]] = {"module_a": [], "module_b": []}
        for name, images in (("module_a", image), ("module_b", normal)):
            for member in getattr(ddad, name):
                own = images[torch.randint(len(images), (len(images),), device=images.device)]
                with self.amp(image.device):
                    mean, log_variance = member(own)
                losses[name].append(uncertainty_loss(mean, log_variance, own))
        terms = {name: torch.stack(values).mean() for name, values in losses.items()}
        terms["total"] = torch.stack([value for values in losses.values() for value in values]).sum()
        terms["generator_grad_norm"] = self.update(self.optimizer, self.network, terms["total"])
        track_typical_deviation(ddad.typical_deviation, log_variance)
        shown = {"image": own, "label": torch.zeros(len(own), device=own.device)}
        return step_report(terms, {"normal": mean, "residue": own - mean.float()}, shown)
