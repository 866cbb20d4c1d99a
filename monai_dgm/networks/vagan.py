"""VA-GAN: a map that takes the disease away, and the critic that it is trained against (Baumgartner et al. 2018)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monai_dgm.networks.encoder_decoder import check_image_size
from monai_dgm.networks.residue_system import ResidueSystem, difference_prediction

__all__ = ["VAGAN", "Critic", "MapGenerator"]


class VAGAN(ResidueSystem, architecture="vagan"):
    """Visual attribution GAN: y' = tanh(z + M(z)), with M a small U-Net; its residue is z - y'.

    Args:
        base_width: filters of the first convolution; 16 in the authors' code.
        use_tanh: as in the authors' code; without it y' = z + M(z), as in their paper.

    Source: Baumgartner et al. 2018, "Visual feature attribution using Wasserstein GANs", and the settings of the 2D
    experiment in the authors' code.
    """

    def __init__(self, base_width: int = 16, use_tanh: bool = True) -> None:
        super().__init__()
        self.use_tanh = use_tanh
        self.base_width = base_width
        self.map_generator = MapGenerator(base_width)

    def normal_image(self, image: Tensor) -> Tensor:
        """y' of z: (B, 1, S, S) in [-1, 1] -> the same shape; sides are multiples of 8."""
        moved = image + self.map_generator(image)
        return torch.tanh(moved) if self.use_tanh else moved

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, S, S) in [-1, 1] -> (B, 3, S, S), as every residue system."""
        normal = self.normal_image(image)
        return difference_prediction(image, normal.clamp(-1, 1))

    def network_settings(self) -> dict[str, Any]:
        """The arguments of this class."""
        return {"base_width": self.base_width, "use_tanh": self.use_tanh}


class MapGenerator(nn.Module):
    """U-Net of four levels with batch normalisation; what comes up again has ``base_width`` channels at each level.

    Args:
        base_width: filters of the first level, doubled at each of the following.
    """

    def __init__(self, base_width: int = 16) -> None:
        super().__init__()
        widths = [base_width * 2**level for level in range(4)]
        self.down = nn.ModuleList(_two_convolutions(*pair) for pair in zip([1, *widths[:-1]], widths, strict=True))
        self.up = nn.ModuleList(_upsampling(width, base_width) for width in widths[:0:-1])
        joined = [_two_convolutions(base_width + width, width) for width in widths[2:0:-1]]
        self.joined = nn.ModuleList([*joined, _convolution(2 * base_width, base_width)])
        self.output = nn.Conv2d(base_width, 1, 3, padding=1)
        self.apply(_initialise)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, S, S), S a multiple of 8 -> M, the same shape, without bounds."""
        check_image_size(image, 8)
        features: list[Tensor] = []
        x = image
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            features.append(x)
        for up, block, skip in zip(self.up, self.joined, features[2::-1], strict=True):
            x = block(torch.cat((up(x), skip), dim=1))
        return self.output(x)


class Critic(nn.Module):
    """Convolutions of 3 x 3 without normalisation, four poolings, and the mean of one last map.

    Args:
        base_width: filters of the first convolution, doubled four times; 16 in the authors' code.
    """

    def __init__(self, base_width: int = 16) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width_in = 1
        for level, convolutions in enumerate((1, 1, 2, 2, 3)):
            if level:
                layers.append(nn.MaxPool2d(2))
            for _ in range(convolutions):
                width = base_width * 2**level
                layers += [nn.Conv2d(width_in, width, 3, padding=1), nn.ReLU()]
                width_in = width
        self.layers = nn.Sequential(*layers, nn.Conv2d(width_in, 1, 1))
        self.apply(_initialise)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, S, S) -> score of each image, (B,), without bounds."""
        return self.layers(image).mean(dim=(1, 2, 3))


def _convolution(in_channels: int, out_channels: int) -> nn.Sequential:
    convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels, eps=1e-3, momentum=0.01), nn.ReLU())


def _two_convolutions(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(_convolution(in_channels, out_channels), _convolution(out_channels, out_channels))


def _upsampling(in_channels: int, out_channels: int) -> nn.Sequential:
    convolution = nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels, eps=1e-3, momentum=0.01), nn.ReLU())


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
