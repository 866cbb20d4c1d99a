"""Networks that look at residues, from radiographs on: the residue is computed on the way, as in their training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.engines import PrepareBatch
from torch import Tensor, nn

from monai_dgm.data.decomposed import check_channels, resample_planes
from monai_dgm.engines.residues.cached import predict_residue
from monai_dgm.errors import InputError
from monai_dgm.transforms.geometry import RadiographGeometry

__all__ = ["DecomposedNetwork", "PrepareRadiographs"]


class DecomposedNetwork(nn.Module):
    """A network of C channels, given radiographs alone.

    Args:
        network: takes (B, C, S, S).
        channels: of "image" and "residue", in its order.
        decomposer: frozen; None where there is no residue among the channels.
        decomposer_size: side of its input.

    Raises:
        InputError: a residue among the channels, and no decomposer.
    """

    def __init__(
        self,
        network: nn.Module,
        channels: Sequence[str] = ("image",),
        decomposer: nn.Module | None = None,
        decomposer_size: int = 224,
    ) -> None:
        super().__init__()
        self.channels = check_channels(channels)
        if "residue" in self.channels and decomposer is None:
            raise InputError("channels: expected a decomposer for the channel residue, got none")
        self.network = network
        self.decomposer = decomposer
        self.decomposer_size = decomposer_size

    def forward(self, image: Tensor, geometries: Sequence[RadiographGeometry]) -> Tensor:
        """What the network makes of z (B, 1, S, S) in [-1, 1], whose geometries tell which border "pad" added."""
        return self.network(self.stacked(image, geometries))

    def stacked(self, image: Tensor, geometries: Sequence[RadiographGeometry]) -> Tensor:
        """The network's channels, (B, C, S, S); arguments as in :meth:`forward`."""
        planes = {"image": image}
        if self.decomposer is not None and "residue" in self.channels:
            residue = predict_residue(self.decomposer, image, self.decomposer_size, list(geometries))
            # in float16 meanwhile, as the cache that the network was trained from has it
            planes["residue"] = resample_planes(residue.half().float(), image.shape[-1])
        return torch.cat([planes[name] for name in self.channels], dim=1)


class PrepareRadiographs(PrepareBatch):
    """Batches of :func:`monai_dgm.data.collate.collate_radiographs` for MONAI's evaluator of a DecomposedNetwork."""

    def __call__(
        self,
        batchdata: dict[str, Any],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, None, tuple[()], dict[str, Any]]:
        """Images, no labels, and the geometries for the network."""
        image = batchdata["image"].to(device, non_blocking=non_blocking)
        return image, None, (), {"geometries": batchdata["geometry"]}
