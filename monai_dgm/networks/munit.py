"""MUNIT: content and style of abnormal and normal radiographs, and AdaIN decoders (Huang et al. 2018)."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import torch
from torch import Tensor, nn

from monai_dgm.networks.blocks import AdaptiveResidualBlock, InstanceNorm, ResidualBlock
from monai_dgm.networks.encoder_decoder import check_image_size
from monai_dgm.networks.residue_system import ResidueSystem, difference_prediction

__all__ = ["MUNIT", "AdaINDecoder", "ContentStyleAutoencoder", "MUNITAutoencoders"]

STYLE_LENGTH = 8


class ContentStyleAutoencoder(nn.Module):
    """The autoencoder of one domain.

    Args:
        base_width: filters of the first convolutions; 64 in the authors' configurations.
        num_res_blocks: residual blocks of content encoder and decoder; 4 there.
    """

    def __init__(self, base_width: int = 64, num_res_blocks: int = 4) -> None:
        super().__init__()
        self.style_encoder = _style_encoder(base_width)
        self.content_encoder = _content_encoder(base_width, num_res_blocks)
        self.decoder = AdaINDecoder(base_width, num_res_blocks)
        self.apply(_initialise)

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, S, S) in [-1, 1], S a multiple of 16 -> content (B, 4w, S/4, S/4) and style (B, 8)."""
        check_image_size(image, 16)
        return self.content_encoder(image), self.style_encoder(image)

    def decode(self, content: Tensor, style: Tensor) -> Tensor:
        """Content and style -> (B, 1, S, S) in [-1, 1]."""
        return self.decoder(content, style)


class AdaINDecoder(nn.Module):
    """Residual blocks whose normalisation comes from the style, then upsampling with layer normalisation.

    Args:
        base_width, num_res_blocks: as in :class:`ContentStyleAutoencoder`.
    """

    def __init__(self, base_width: int = 64, num_res_blocks: int = 4) -> None:
        super().__init__()
        code, hidden = 4 * base_width, 4 * base_width
        self.num_res_blocks = num_res_blocks
        blocks = (AdaptiveResidualBlock(code, code, "reflect", added_scale=0.0) for _ in range(num_res_blocks))
        self.blocks = nn.ModuleList(blocks)
        layers: list[nn.Module] = []
        for width in (code, code // 2):
            convolution = nn.Conv2d(width, width // 2, 5, padding=2, padding_mode="reflect")
            layers += [nn.Upsample(scale_factor=2), convolution, nn.GroupNorm(1, width // 2), nn.ReLU()]
        output = nn.Conv2d(base_width, 1, 7, padding=3, padding_mode="reflect")
        self.upsampling = nn.Sequential(*layers, output, nn.Tanh())
        self.mlp = nn.Sequential(
            nn.Linear(STYLE_LENGTH, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, num_res_blocks * 4 * code),
        )

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        """Content (B, 4w, s, s) and style (B, 8) -> (B, 1, 4s, 4s) in [-1, 1]."""
        parameters = self.mlp(style).view(len(style), self.num_res_blocks, 4, -1)
        x = content
        for block, own in zip(self.blocks, parameters.unbind(1), strict=True):
            x = block(x, own)
        return self.upsampling(x)


class MUNIT(ResidueSystem, architecture="munit"):
    """What inference needs of MUNIT: the content of z, decoded as a normal radiograph of the usual style.

    The style is the mean of those of the normal training images, so that the same radiograph always gives the same
    normal image. The residue is z - y'.

    Args:
        base_width, num_res_blocks: as in :class:`ContentStyleAutoencoder`.

    Source: Huang et al. 2018, "Multimodal unsupervised image-to-image translation".
    """

    normal_style: Tensor

    def __init__(self, base_width: int = 64, num_res_blocks: int = 4) -> None:
        super().__init__()
        self._settings = {"base_width": base_width, "num_res_blocks": num_res_blocks}
        self.content_encoder = _content_encoder(base_width, num_res_blocks)
        self.decoder = AdaINDecoder(base_width, num_res_blocks)
        self.register_buffer("normal_style", torch.zeros(STYLE_LENGTH))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, S, S) in [-1, 1], S a multiple of 16 -> (B, 3, S, S), as every residue system."""
        check_image_size(image, 16)
        style = self.normal_style.expand(len(image), -1)
        return difference_prediction(image, self.decoder(self.content_encoder(image), style))

    def network_settings(self) -> dict[str, Any]:
        """The arguments of this class."""
        return dict(self._settings)


class MUNITAutoencoders(nn.Module):
    """The autoencoders of both domains, which are trained together, and the mean style of normal images.

    Args:
        base_width, num_res_blocks: as in :class:`ContentStyleAutoencoder`.
    """

    normal_style: Tensor

    def __init__(self, base_width: int = 64, num_res_blocks: int = 4) -> None:
        super().__init__()
        self._settings = {"base_width": base_width, "num_res_blocks": num_res_blocks}
        self.abnormal = ContentStyleAutoencoder(base_width, num_res_blocks)
        self.normal = ContentStyleAutoencoder(base_width, num_res_blocks)
        self.register_buffer("normal_style", torch.zeros(STYLE_LENGTH))

    def forward(self, image: Tensor) -> Tensor:
        """What :class:`MUNIT` gives with the same weights."""
        content, _ = self.abnormal.encode(image)
        return difference_prediction(image, self.normal.decode(content, self.normal_style.expand(len(image), -1)))

    def inference_network(self) -> MUNIT:
        """A copy of what inference needs, in evaluation mode."""
        network = MUNIT(**self._settings)
        network.content_encoder = copy.deepcopy(self.abnormal.content_encoder)
        network.decoder = copy.deepcopy(self.normal.decoder)
        network.normal_style.copy_(self.normal_style)
        return network.eval()


def _content_encoder(base_width: int, num_res_blocks: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(1, base_width, 7, padding=3, padding_mode="reflect"), InstanceNorm()]
    layers.append(nn.ReLU())
    for width in (base_width, 2 * base_width):
        convolution = nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, padding_mode="reflect")
        layers += [convolution, InstanceNorm(), nn.ReLU()]
    code = 4 * base_width
    return nn.Sequential(*layers, *(ResidualBlock(code, code, "instance", "reflect") for _ in range(num_res_blocks)))


def _style_encoder(base_width: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(1, base_width, 7, padding=3, padding_mode="reflect"), nn.ReLU()]
    widths = [base_width, 2 * base_width, 4 * base_width, 4 * base_width, 4 * base_width]
    for width_in, width in itertools.pairwise(widths):
        layers += [nn.Conv2d(width_in, width, 4, stride=2, padding=1, padding_mode="reflect"), nn.ReLU()]
    output = nn.Conv2d(widths[-1], STYLE_LENGTH, 1)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), output, nn.Flatten())


def _initialise(module: nn.Module) -> None:
    """Kaiming's, zero biases, and the scales of layer normalisation uniform in [0, 1], as in the authors' code."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, nn.GroupNorm):
        nn.init.uniform_(module.weight)
