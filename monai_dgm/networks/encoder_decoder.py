"""Encoders, decoders and the abnormality head of the disentangled generative model (paper, Tables 1 and 2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monai_dgm.networks.blocks import AdaptiveResidualBlock, ResidualBlock, UpsampleConv2d, make_norm
from monai_dgm.networks.efficientnet import FEATURE_WIDTHS, EfficientNetLite

__all__ = [
    "RESIDUE_ENCODERS",
    "AbnormalityHead",
    "Decoder",
    "Encoder",
    "JointDecoder",
    "check_image_size",
    "encoder_widths",
    "make_residue_encoder",
]

RESIDUE_ENCODERS = ("paper", "efficientnet_lite2")
"""E_F of Table 1, or :class:`monai_dgm.networks.efficientnet.EfficientNetLite`."""

_STAGE_WIDTHS = (1, 1, 2, 4, 8)  # multiples of base_width after each stride-2 convolution (Table 1)


class Encoder(nn.Module):
    """Five stride-2 convolutions and residual blocks at 1/32 of the side (Table 1).

    Args:
        norm: "instance" for E_G, "none" for E_F ("batch" while it is trained as a classifier).
        in_channels: channels of the radiograph.
        base_width: filters of the first convolution (64 in the paper).
        num_res_blocks: residual blocks (4 in Table 1; 1 gives the 7.5 M parameters of Table 4).
    """

    def __init__(self, norm: str, in_channels: int = 1, base_width: int = 64, num_res_blocks: int = 4) -> None:
        super().__init__()
        widths = [in_channels] + [m * base_width for m in _STAGE_WIDTHS]
        self.stages = nn.ModuleList()
        for i in range(5):
            kernel, padding = (7, 3) if i == 0 else (4, 1)
            conv = nn.Conv2d(widths[i], widths[i + 1], kernel, stride=2, padding=padding)
            self.stages.append(nn.Sequential(conv, make_norm(norm, widths[i + 1]), nn.ReLU(inplace=True)))
        self.res_blocks = nn.Sequential(*(ResidualBlock(widths[5], widths[5], norm) for _ in range(num_res_blocks)))

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, C, S, S) -> features at S/2, S/4, S/8, S/16 and, last, the code (B, 8w, S/32, S/32)."""
        features: list[Tensor] = []
        x = image
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i == 4:  # here, since the export of a scripted network to ONNX drops a later `features[-1] = ...`
                x = self.res_blocks(x)
            features.append(x)
        return features


class Decoder(nn.Module):
    """Residual blocks, four upsampling stages and a tanh output layer (Table 2).

    Args:
        out_channels: channels of the radiograph.
        base_width, num_res_blocks: as in :class:`Encoder`.
        skip_connections: add the encoder's features, through 1 x 1 convolutions, before each stage's normalisation,
            and the image itself (as four half-resolution phases) to the last: not in the paper. What passes through
            the 1/32 code alone is blurred.
        feature_widths: channels of the encoder's features, finest first; None for those of :class:`Encoder`. A code
            that is not 8 x ``base_width`` wide passes a 1 x 1 convolution first.
    """

    def __init__(
        self,
        out_channels: int = 1,
        base_width: int = 64,
        num_res_blocks: int = 4,
        skip_connections: bool = False,
        feature_widths: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        widths = [m * base_width for m in (8, 8, 4, 2, 1)]
        given = list(feature_widths or (m * base_width for m in _STAGE_WIDTHS))
        self.entry = nn.Identity() if given[4] == widths[0] else nn.Conv2d(given[4], widths[0], 1)
        self.res_blocks = nn.Sequential(*(ResidualBlock(widths[0], widths[0], "layer") for _ in range(num_res_blocks)))
        self.up_convs = nn.ModuleList(UpsampleConv2d(widths[i], widths[i + 1], 5) for i in range(4))
        self.norms = nn.ModuleList(make_norm("layer", widths[i + 1]) for i in range(4))
        self.output = UpsampleConv2d(widths[4], out_channels, 7)
        skip_widths = [given[3], given[2], given[1], given[0] + 4 * out_channels]
        self.skips = nn.ModuleList(
            nn.Conv2d(skip_widths[i], widths[i + 1], 1, bias=False) if skip_connections else nn.Identity()
            for i in range(4)
        )
        self.skip_connections = skip_connections

    def forward(self, features: list[Tensor], image: Tensor) -> Tensor:
        """Features of :class:`Encoder` (only the last is used without skips) -> (B, C, S, S) in [-1, 1]."""
        return torch.tanh(self.logits(features, image))

    def logits(self, features: list[Tensor], image: Tensor) -> Tensor:
        """The output before the tanh."""
        x = self.res_blocks(self.entry(features[4]))
        for i, (up_conv, norm, skip) in enumerate(zip(self.up_convs, self.norms, self.skips, strict=True)):
            x = up_conv(x)
            if self.skip_connections:
                side = features[3 - i] if i < 3 else torch.cat((features[0], F.pixel_unshuffle(image, 2)), dim=1)
                x = x + skip(side)
            x = F.relu(norm(x))
        return self.output(x)


class JointDecoder(nn.Module):
    """D_J: decodes both codes together; AdaIN parameters come from an MLP on the pooled residue code (as in MUNIT).

    Args:
        out_channels, base_width, num_res_blocks: as in :class:`Decoder`.
        mlp_width: hidden units of the two hidden layers of the MLP.
    """

    def __init__(
        self, out_channels: int = 1, base_width: int = 64, num_res_blocks: int = 4, mlp_width: int = 256
    ) -> None:
        super().__init__()
        widths = [m * base_width for m in (8, 8, 4, 2, 1)]
        self.res_blocks = nn.ModuleList(
            AdaptiveResidualBlock(2 * widths[0] if i == 0 else widths[0], widths[0]) for i in range(num_res_blocks)
        )
        self.mlp = nn.Sequential(
            nn.Linear(widths[0], mlp_width),
            nn.ReLU(inplace=True),
            nn.Linear(mlp_width, mlp_width),
            nn.ReLU(inplace=True),
            nn.Linear(mlp_width, num_res_blocks * 4 * widths[0]),
        )
        self.up_convs = nn.ModuleList(UpsampleConv2d(widths[i], widths[i + 1], 5) for i in range(4))
        self.norms = nn.ModuleList(make_norm("layer", widths[i + 1]) for i in range(4))
        self.output = UpsampleConv2d(widths[4], out_channels, 7)

    def forward(self, normal_code: Tensor, residue_code: Tensor) -> Tensor:
        """c_z, c_s: (B, 8w, S/32, S/32) each -> z'' (B, C, S, S) in [-1, 1]."""
        batch, width = residue_code.shape[:2]
        parameters = self.mlp(residue_code.mean(dim=(2, 3))).view(batch, len(self.res_blocks), 4, width)
        x = torch.cat((normal_code, residue_code), dim=1)
        for i, block in enumerate(self.res_blocks):
            x = block(x, parameters[:, i])
        for up_conv, norm in zip(self.up_convs, self.norms, strict=True):
            x = F.relu(norm(up_conv(x)))
        return torch.tanh(self.output(x))


class AbnormalityHead(nn.Module):
    """Global average pooling and one neuron on the residue code (section 4, normal versus abnormal).

    Args:
        channels: channels of the residue code (8 x base_width).
        outputs: neurons, 1 for normal against abnormal.
    """

    def __init__(self, channels: int, outputs: int = 1) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, outputs)

    def forward(self, residue_code: Tensor) -> Tensor:
        """(B, 8w, S/32, S/32) -> logits (B, outputs); the sigmoid of one is the abnormality probability."""
        return self.linear(residue_code.mean(dim=(2, 3)))


def encoder_widths(residue_encoder: str, base_width: int) -> tuple[int, ...]:
    """Channels of E_F's features, finest first.

    Raises:
        ValueError: an encoder that there is not.
    """
    if residue_encoder not in RESIDUE_ENCODERS:
        raise ValueError(f"residue_encoder: expected one of {', '.join(RESIDUE_ENCODERS)}, got {residue_encoder!r}")
    return tuple(m * base_width for m in _STAGE_WIDTHS) if residue_encoder == "paper" else FEATURE_WIDTHS


def make_residue_encoder(
    residue_encoder: str, in_channels: int, base_width: int, num_res_blocks: int, norm: str = "none"
) -> nn.Module:
    """E_F by name; arguments as in :class:`Encoder`."""
    if residue_encoder == "paper":
        return Encoder(norm, in_channels, base_width, num_res_blocks)
    return EfficientNetLite(in_channels)


def check_image_size(image: Tensor, multiple: int = 32) -> None:
    """Raise ``ValueError`` unless ``image`` is (B, C, H, W) with H and W multiples of ``multiple``."""
    if torch.jit.is_tracing() or torch.compiler.is_exporting():  # sizes are symbols then
        return
    if image.dim() != 4 or image.shape[2] % multiple != 0 or image.shape[3] % multiple != 0:
        raise ValueError(f"image: expected (B, C, H, W) with H and W multiples of {multiple}, got {tuple(image.shape)}")
