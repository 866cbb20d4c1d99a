"""Multi-scale patch discriminator D (paper, section 3.2; Wang et al. 2018, MUNIT)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from monai_dgm.networks.blocks import InstanceNorm, PaddingMode

__all__ = ["MultiScaleDiscriminator"]


class MultiScaleDiscriminator(nn.Module):
    """Patch discriminators on the image and on average-pooled copies of it.

    Args:
        in_channels: channels of the radiograph.
        base_width: filters of the first layer, doubled by each of the following (64 in the family of networks the
            paper refers to).
        num_scales: discriminators, each at half the resolution of the one before (3).
        num_layers: stride-2 convolutions of each (4).
        norm: "none" (MUNIT, the reading chosen for the paper), "instance" (pix2pixHD: on all layers but the first)
            or "spectral" (spectral normalisation of the weights).
        padding_mode: of the convolutions, as in ``nn.Conv2d``; "reflect" in MUNIT and DRIT.
        slope: of the leaky ReLUs for negative values (0.2; 0.01 in DRIT).
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
    ) -> None:
        super().__init__()
        if norm not in ("none", "instance", "spectral"):
            raise ValueError(f"norm: expected 'none', 'instance' or 'spectral', got {norm!r}")
        self.padding_mode, self.slope = padding_mode, slope
        self.scales = nn.ModuleList(
            self._patch_discriminator(in_channels, base_width, num_layers, norm) for _ in range(num_scales)
        )

    def _patch_discriminator(self, in_channels: int, base_width: int, num_layers: int, norm: str) -> nn.Sequential:
        layers: list[nn.Module] = []
        width_in = in_channels
        for i in range(num_layers):
            width = base_width * 2**i
            conv = nn.Conv2d(width_in, width, 4, stride=2, padding=1, padding_mode=self.padding_mode)
            nn.init.normal_(conv.weight, std=0.02)
            layers.append(spectral_norm(conv) if norm == "spectral" else conv)
            if norm == "instance" and i > 0:
                layers.append(InstanceNorm())
            layers.append(nn.LeakyReLU(self.slope, inplace=True))
            width_in = width
        last = nn.Conv2d(width_in, 1, 1)
        nn.init.normal_(last.weight, std=0.02)
        layers.append(spectral_norm(last) if norm == "spectral" else last)
        return nn.Sequential(*layers)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, C, S, S) -> for each scale a map of scores, (B, 1, S / 2^(layers + scale), same)."""
        scores = []
        for i, discriminator in enumerate(self.scales):
            if i > 0:
                image = F.avg_pool2d(image, 3, stride=2, padding=1, count_include_pad=False)
            scores.append(discriminator(image))
        return scores
