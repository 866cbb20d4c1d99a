"""DRIT: shared content and own attributes of abnormal and normal radiographs (Lee et al. 2018)."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn

from monai_dgm.networks.blocks import InstanceNorm, ResidualBlock
from monai_dgm.networks.encoder_decoder import check_image_size
from monai_dgm.networks.residue_system import ResidueSystem, difference_prediction

__all__ = ["DRIT", "AttributeEncoder", "ContentDiscriminator", "ContentEncoder", "DRITDecoder", "DRITNetworks"]

ATTRIBUTE_LENGTH = 8
DOMAINS = ("abnormal", "normal")


class ContentEncoder(nn.Module):
    """One encoder for each domain, and a last residual block that both share and that adds noise while training.

    Args:
        base_width: filters of the first convolution; 64 in the authors' code.
        domains: those whose encoders there are.
    """

    def __init__(self, base_width: int = 64, domains: tuple[str, ...] = DOMAINS) -> None:
        super().__init__()
        self.own = nn.ModuleDict({domain: _content_layers(base_width) for domain in domains})
        self.shared = ResidualBlock(4 * base_width, 4 * base_width, "instance", "reflect")
        self.apply(_initialise)

    def forward(self, image: Tensor, domain: str) -> Tensor:
        """(B, 1, S, S) -> (B, 4w, S/4, S/4)."""
        content = self.shared(self.own[domain](image))
        return content + torch.randn_like(content) if self.training else content


class AttributeEncoder(nn.Module):
    """Mean and log variance of the attributes of the images of one domain.

    Args:
        base_width: filters of the first convolution; 64 in the authors' code.
    """

    def __init__(self, base_width: int = 64) -> None:
        super().__init__()
        widths = [base_width * count for count in (1, 2, 3, 4)]
        first = nn.Conv2d(1, base_width, 4, stride=2, padding=1, padding_mode="reflect")
        blocks = [_PooledBlock(*pair) for pair in itertools.pairwise(widths)]
        self.features = nn.Sequential(first, *blocks, nn.LeakyReLU(0.2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.mean = nn.Linear(widths[-1], ATTRIBUTE_LENGTH)
        self.log_variance = nn.Linear(widths[-1], ATTRIBUTE_LENGTH)
        self.apply(_initialise)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, S, S) -> mean and log variance, (B, 8) each."""
        features = self.features(image)
        return self.mean(features), self.log_variance(features)


class _PooledBlock(nn.Module):
    """Two convolutions after leaky ReLUs and a mean pooling, added to a pooled 1 x 1 convolution of the input."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.LeakyReLU(0.2),
            nn.Conv2d(in_channels, in_channels, 3, padding=1, padding_mode="reflect"),
            nn.LeakyReLU(0.2),
            nn.Conv2d(in_channels, out_channels, 3, padding=1, padding_mode="reflect"),
            nn.AvgPool2d(2),
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(in_channels, out_channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.convolutions(x) + self.shortcut(x)


class DRITDecoder(nn.Module):
    """One decoder for each domain after a shared residual block; attributes are joined to every stage's channels.

    Args:
        base_width: 64 in the authors' code.
        domains: those whose decoders there are.
    """

    def __init__(self, base_width: int = 64, domains: tuple[str, ...] = DOMAINS) -> None:
        super().__init__()
        code, extra = 4 * base_width, ATTRIBUTE_LENGTH
        self.shared = ResidualBlock(code, code, "instance", "reflect")
        joined = code + extra
        half = (joined + extra) // 2
        quarter = (half + extra) // 2
        self.own = nn.ModuleDict(
            {
                domain: nn.ModuleList(
                    [
                        nn.Sequential(*(ResidualBlock(joined, joined, "instance", "reflect") for _ in range(3))),
                        _transposed(joined + extra, half),
                        _transposed(half + extra, quarter),
                        nn.Sequential(nn.ConvTranspose2d(quarter + extra, 1, 1), nn.Tanh()),
                    ]
                )
                for domain in domains
            }
        )
        self.apply(_initialise)

    def forward(self, content: Tensor, attributes: Tensor, domain: str) -> Tensor:
        """Content (B, 4w, s, s) and attributes (B, 8) -> (B, 1, 4s, 4s) in [-1, 1]."""
        x = self.shared(content)
        for stage in self.own[domain].children():
            maps = attributes[:, :, None, None].expand(-1, -1, *x.shape[2:])
            x = stage(torch.cat((x, maps), dim=1))
        return x


class ContentDiscriminator(nn.Module):
    """Tells by its content which domain an image is of; its logit is positive for normal images.

    The authors' code has three convolutions of 7 x 7 with stride 2 and one of 4 x 4 for images of 216 pixels. For
    smaller images there are as many of the three as leave 3 x 3 places, and a last one no larger than what is left.

    Args:
        image_size: side S of the radiographs.
        base_width: of the content encoder.

    Raises:
        ValueError: images of less than 32 pixels.
    """

    def __init__(self, image_size: int, base_width: int = 64) -> None:
        super().__init__()
        if image_size < 32:
            raise ValueError(f"image_size: expected at least 32, got {image_size}")
        width, side = 4 * base_width, image_size // 4
        layers: list[nn.Module] = []
        while len(layers) < 6 and (side - 5) // 2 + 1 >= 3:
            layers += [nn.Conv2d(width, width, 7, stride=2, padding=1, padding_mode="reflect"), nn.LeakyReLU(0.01)]
            side = (side - 5) // 2 + 1
        layers += [nn.Conv2d(width, width, min(4, side)), nn.LeakyReLU(0.01)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 1, 1))
        self.apply(_initialise)

    def forward(self, content: Tensor) -> Tensor:
        """(B, 4w, S/4, S/4) -> logits, (B, 1, s, s)."""
        return self.layers(content)


class DRIT(ResidueSystem, architecture="drit"):
    """What inference needs of DRIT: the content of z, decoded as a normal radiograph of the usual attributes.

    The attributes are the mean of those of the normal training images, so that the same radiograph always gives the
    same normal image. The residue is z - y'.

    Args:
        base_width: 64 in the authors' code.

    Source: Lee et al. 2018, "Diverse image-to-image translation via disentangled representations".
    """

    normal_attributes: Tensor

    def __init__(self, base_width: int = 64) -> None:
        super().__init__()
        self.base_width = base_width
        self.content_encoder = ContentEncoder(base_width, ("abnormal",))
        self.decoder = DRITDecoder(base_width, ("normal",))
        self.register_buffer("normal_attributes", torch.zeros(ATTRIBUTE_LENGTH))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, S, S) in [-1, 1], S a multiple of 16 -> (B, 3, S, S), as every residue system."""
        return _translate(image, self.content_encoder, self.decoder, self.normal_attributes)

    def network_settings(self) -> dict[str, Any]:
        """The arguments of this class."""
        return {"base_width": self.base_width}


class DRITNetworks(nn.Module):
    """Encoders and decoders of both domains, which are trained together, and the mean attributes of normal images.

    Args:
        base_width: 64 in the authors' code.
    """

    normal_attributes: Tensor

    def __init__(self, base_width: int = 64) -> None:
        super().__init__()
        self.base_width = base_width
        self.content_encoder = ContentEncoder(base_width)
        self.attribute_encoders = nn.ModuleDict({domain: AttributeEncoder(base_width) for domain in DOMAINS})
        self.decoder = DRITDecoder(base_width)
        self.register_buffer("normal_attributes", torch.zeros(ATTRIBUTE_LENGTH))

    def forward(self, image: Tensor) -> Tensor:
        """What :class:`DRIT` gives with the same weights."""
        return _translate(image, self.content_encoder, self.decoder, self.normal_attributes)

    def inference_network(self) -> DRIT:
        """A copy of what inference needs, in evaluation mode."""
        network = DRIT(self.base_width)
        for part in ("content_encoder", "decoder"):
            mine = getattr(self, part).state_dict()
            getattr(network, part).load_state_dict({name: mine[name] for name in getattr(network, part).state_dict()})
        network.normal_attributes.copy_(self.normal_attributes)
        return network.eval()


def _translate(image: Tensor, encoder: ContentEncoder, decoder: DRITDecoder, attributes: Tensor) -> Tensor:
    check_image_size(image, 16)
    normal = decoder(encoder(image, "abnormal"), attributes.expand(len(image), -1), "normal")
    return difference_prediction(image, normal)


def _content_layers(base_width: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(1, base_width, 7, padding=3, padding_mode="reflect"), nn.LeakyReLU(0.01)]
    for width in (base_width, 2 * base_width):
        convolution = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, padding_mode="reflect")
        layers += [convolution, InstanceNorm(), nn.ReLU()]
    code = 4 * base_width
    return nn.Sequential(*layers, *(ResidualBlock(code, code, "instance", "reflect") for _ in range(3)))


def _transposed(in_channels: int, out_channels: int) -> nn.Sequential:
    convolution = nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1)
    return nn.Sequential(convolution, nn.GroupNorm(1, out_channels), nn.ReLU())


def _initialise(module: nn.Module) -> None:
    """N(0, 0.02) for the weights of convolutions, as in the authors' code; all else as torch has it."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, std=0.02)
