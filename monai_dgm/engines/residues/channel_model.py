"""Trained networks that look at a radiograph, at its residue, or at both: detectors and classifiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from monai_dgm.data.decomposed import check_channels
from monai_dgm.errors import InputError
from monai_dgm.transforms.preparation import PreparedRadiograph, resample_planes, stack_images

__all__ = ["ChannelModel"]

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ChannelModel:
    """A trained network whose input channels are the radiograph, its residue, or both: a detector or a classifier.

    Attributes:
        network: takes (B, C, S, S), in evaluation mode.
        size: side S in pixels.
        channels: of "image" and "residue", in the order of the network's.
        settings: of its training, from the JSON file next to the weights.
    """

    network: Any
    size: int
    channels: tuple[str, ...] = ("image",)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", check_channels(self.channels))

    @property
    def needs_residue(self) -> bool:
        """Whether the residue is one of the channels."""
        return "residue" in self.channels

    def stack(
        self, batch: Sequence[PreparedRadiograph], residues: Sequence[FloatArray | None], device: torch.device | str
    ) -> Tensor:
        """The network's input.

        Args:
            batch: radiographs, prepared at side S.
            residues: the residue a of each, (S', S') in [-1, 1], resampled where S' differs; None where ``channels``
                has no residue.
            device: where the network is.

        Returns:
            float32 (B, C, S, S).

        Raises:
            InputError: a channel residue without residues, or radiographs that were not prepared at side S.
        """
        planes = {"image": stack_images([prepared.at(self.size) for prepared in batch], device)}
        if self.needs_residue:
            known = [residue for residue in residues if residue is not None]
            if len(known) < len(batch):
                raise InputError("channels: expected a decomposer for the channel residue, got none")
            residue = torch.from_numpy(np.stack(known)[:, None]).to(device)
            # rounded to float16, as the residues that the network was trained on are in their cache
            planes["residue"] = resample_planes(residue.half().float(), self.size)
        return torch.cat([planes[name] for name in self.channels], dim=1)
