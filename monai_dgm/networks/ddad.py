"""DDAD: where two ensembles of autoencoders disagree (Cai et al. 2022, 2023)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from monai_dgm.networks.aeu import UncertaintyAutoencoder, uncertainty_weighted
from monai_dgm.networks.residue_system import ResidueSystem, join_prediction

__all__ = ["DDAD"]


class DDAD(ResidueSystem, architecture="ddad"):
    """Dual-distribution discrepancy on AE-U: its residue is the inter-discrepancy.

    Module A learns from normal and unlabelled images together, module B from normal ones alone; each is an ensemble. A
    has seen disease and B has not, so that they disagree where it is. y' is the mean of B. The residue is
    s (mean of A - mean of B) / standard deviation, with B's mean variance and the scale s of
    :class:`monai_dgm.networks.aeu.AEU`: it ranks pixels as the authors' inter-discrepancy and has a sign.

    Args:
        image_size, base_width, code_length, hidden: as in :class:`monai_dgm.networks.aeu.UncertaintyAutoencoder`.
        num_members: autoencoders of each ensemble; 3 in the authors' code.

    Source: Cai et al. 2022, "Dual-distribution discrepancy for anomaly detection in chest X-rays", eq. 5, and 2023.
    """

    typical_deviation: Tensor

    def __init__(
        self,
        image_size: int = 64,
        base_width: int = 16,
        code_length: int = 16,
        hidden: int = 2048,
        num_members: int = 3,
    ) -> None:
        super().__init__()
        if num_members < 1:
            raise ValueError(f"num_members: expected at least 1, got {num_members}")
        size = {"image_size": image_size, "base_width": base_width, "code_length": code_length, "hidden": hidden}
        self._settings = {**size, "num_members": num_members}
        self.module_a = nn.ModuleList(UncertaintyAutoencoder(**size) for _ in range(num_members))
        self.module_b = nn.ModuleList(UncertaintyAutoencoder(**size) for _ in range(num_members))
        self.register_buffer("typical_deviation", torch.ones(()))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, S, S) in [-1, 1] -> (B, 3, S, S), as every residue system."""
        mean_a = torch.stack([member(image)[0] for member in self.module_a]).mean(dim=0)
        means, log_variances = zip(*(member(image) for member in self.module_b), strict=True)
        mean_b = torch.stack(means).mean(dim=0)
        log_variance = torch.stack(log_variances).float().exp().mean(dim=0).log()
        discrepancy = uncertainty_weighted(mean_a - mean_b, log_variance, self.typical_deviation)
        return join_prediction(mean_b.clamp(-1, 1), discrepancy.clamp(-1, 1))

    def network_settings(self) -> dict[str, Any]:
        """The arguments of this class."""
        return dict(self._settings)
