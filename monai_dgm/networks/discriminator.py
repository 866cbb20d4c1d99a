"""Multi-scale patch discriminator D (paper, section 3.2).

The paper refers to Wang et al. 2018 (pix2pixHD) and names no changes; MUNIT, whose encoders and decoders it takes, has
another one of the same family. Both can be chosen.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from monai_dgm.networks.blocks import InstanceNorm, PaddingMode

__all__ = ["MultiScaleDiscriminator"]

Layout = Literal["munit", "pix2pixhd"]
NORMS = ("none", "instance", "spectral")
WIDEST = 8  # times the filters of the first layer: 512 of 64


class MultiScaleDiscriminator(nn.Module):
    """Patch discriminators on the image and on average-pooled copies of it.

    Args:
        in_channels: channels of the radiograph.
        base_width: filters of the first layer, doubled by each of the following (64 in the family of networks the
            paper refers to).
        num_scales: discriminators, each at half the resolution of the one before (3).
        num_layers: stride-2 convolutions of each (4 in MUNIT, 3 in pix2pixHD).
        norm: "none" (MUNIT), "instance" (pix2pixHD: on all layers but the first and the last) or "spectral" (spectral
            normalisation of the weights).
        padding_mode: of the convolutions, as in ``nn.Conv2d``; "reflect" in MUNIT and DRIT.
        slope: of the leaky ReLUs for negative values (0.2; 0.01 in DRIT).
        layout: "munit": the stride-2 convolutions, all 4 x 4 with padding 1, then a 1 x 1 output layer. "pix2pixhd":
            after them one of stride 1, and a 4 x 4 output layer, all with padding 2, at most 8 ``base_width`` filters.

    Raises:
        ValueError: a norm or layout that does not exist.
    """

    def __init__(
        self,
        in_channels: int = 1,
        base_width: int = 64,
        num_scales: int = 3,
        num_layers: int = 4,
        norm: str = "none",
        padding_mode: PaddingMode = "zeros",
        slope: float = 0.2,
        layout: Layout = "munit",
    ) -> None:
        super().__init__()
        for name, value, known in (("norm", norm, NORMS), ("layout", layout, get_args(Layout))):
            if value not in known:
                choices = ", ".join(repr(one) for one in known[:-1])
                raise ValueError(f"{name}: expected {choices} or {known[-1]!r}, got {value!r}")
        self.norm, self.padding_mode, self.slope = norm, padding_mode, slope
        self.scales = nn.ModuleList(
            self._patch_discriminator(in_channels, base_width, num_layers, layout) for _ in range(num_scales)
        )

    def _patch_discriminator(self, in_channels: int, base_width: int, num_layers: int, layout: Layout) -> nn.Sequential:
        strides = [2] * num_layers + ([1] if layout == "pix2pixhd" else [])
        padding, last_kernel = (2, 4) if layout == "pix2pixhd" else (1, 1)
        most = WIDEST * base_width if layout == "pix2pixhd" else base_width * 2**num_layers
        layers: list[nn.Module] = []
        width_in = in_channels
        for i, stride in enumerate(strides):
            width = min(base_width * 2**i, most)
            layers.append(self._convolution(width_in, width, 4, stride, padding))
            if self.norm == "instance" and i > 0:
                layers.append(InstanceNorm())
            layers.append(nn.LeakyReLU(self.slope, inplace=True))
            width_in = width
        layers.append(self._convolution(width_in, 1, last_kernel, 1, padding if last_kernel > 1 else 0))
        return nn.Sequential(*layers)

    def _convolution(self, inputs: int, outputs: int, kernel: int, stride: int, padding: int) -> nn.Module:
        padding_mode = self.padding_mode if padding else "zeros"
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, padding_mode=padding_mode)
        nn.init.normal_(convolution.weight, std=0.02)
        return spectral_norm(convolution) if self.norm == "spectral" else convolution

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, C, S, S) -> for each scale a map of scores: (B, 1, S / 2^(layers + scale), same) for "munit", three rows
        and columns more for "pix2pixhd"."""
        scores = []
        for i, discriminator in enumerate(self.scales):
            if i > 0:
                image = F.avg_pool2d(image, 3, stride=2, padding=1, count_include_pad=False)
            scores.append(discriminator(image))
        return scores
