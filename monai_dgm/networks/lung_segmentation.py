"""Lung segmentation networks: criss-cross attention over a dilated ResNet (XLSor, as in the paper), and a small U-Net.

Both map radiographs (B, 1, S, S) in [-1, 1] to logits (B, 1, S, S); positive logits mean lung.

XLSor: Tang Y, Tang Y, Xiao J, Summers RM. XLSor: A robust and accurate lung segmentor on chest X-rays using criss-cross
attention and customized radiorealistic abnormalities generation. MIDL 2019.

Criss-cross attention: Huang Z, Wang X, Huang L, et al. CCNet: Criss-cross attention for semantic segmentation. ICCV
2019. Here it is plain PyTorch without a compiled extension.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.networks.nets import ResNet, UNet
from torch import Tensor, nn

__all__ = [
    "ARCHITECTURES",
    "CrissCrossAttention",
    "CrissCrossLungNet",
    "RecurrentCrissCrossAttention",
    "build_lung_network",
    "lung_unet",
]

ARCHITECTURES = ("unet", "criss_cross")


class CrissCrossAttention(nn.Module):
    """Every pixel attends to its row and its column: gamma * attention(x) + x (CCNet, eq. 1 and 2).

    The attention weights take B * H * W * (H + W) numbers of memory.

    Args:
        in_channels: channels of the input and the output.
        reduction: queries and keys have ``in_channels // reduction`` channels, at least one (8 in CCNet).
    """

    def __init__(self, in_channels: int, reduction: int = 8) -> None:
        super().__init__()
        inner = max(1, in_channels // reduction)
        self.query = nn.Conv2d(in_channels, inner, 1)
        self.key = nn.Conv2d(in_channels, inner, 1)
        self.value = nn.Conv2d(in_channels, in_channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        height = x.shape[2]
        value = self.value(x)
        attention = self.attention(x)
        column, row = attention[..., :height], attention[..., height:]
        context = torch.einsum("bhwk,bckw->bchw", column, value) + torch.einsum("bhwk,bchk->bchw", row, value)
        return self.gamma * context + x

    def attention(self, x: Tensor) -> Tensor:
        """Weights (B, H, W, H + W) in [0, 1] with sum 1: first of the H pixels of the column, then of the W of the row.

        The pixel itself is in both; in the column its energy is minus infinity, so that it counts once.
        """
        query, key = self.query(x), self.key(x)
        column = torch.einsum("bchw,bckw->bhwk", query, key)
        own = torch.eye(x.shape[2], dtype=torch.bool, device=x.device)[None, :, None, :]
        column = column.masked_fill(own, float("-inf"))
        row = torch.einsum("bchw,bchk->bhwk", query, key)
        return torch.softmax(torch.cat((column, row), dim=-1), dim=-1)


class RecurrentCrissCrossAttention(nn.Module):
    """Criss-cross attention applied R times with shared weights (CCNet, section 3.3).

    With R = 2 every pixel attends to all others. The order is a convolution, R attentions and a convolution; a last
    convolution combines the result with the input.

    Args:
        in_channels: channels of the backbone's features.
        channels: channels inside and of the output (in_channels / 4 in CCNet).
        recurrence: number R of attentions.
    """

    def __init__(self, in_channels: int, channels: int, recurrence: int = 2) -> None:
        super().__init__()
        self.recurrence = recurrence
        self.reduce = _conv_block(in_channels, channels)
        self.attention = CrissCrossAttention(channels)
        self.expand = _conv_block(channels, channels)
        self.bottleneck = _conv_block(in_channels + channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, channels, H, W)."""
        context = self.reduce(x)
        for _ in range(self.recurrence):
            context = self.attention(context)
        return self.bottleneck(torch.cat((x, self.expand(context)), dim=1))


def _conv_block(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class CrissCrossLungNet(nn.Module):
    """XLSor's network: a ResNet of output stride 8, recurrent criss-cross attention, logits resized to the input.

    The ResNet is MONAI's, with dilations 2 and 4 in place of the strides of its third and fourth stages. XLSor's
    pretrained ImageNet weights and its auxiliary loss on the third stage are left out.

    Args:
        layers: blocks of the four stages; (3, 4, 23, 3) is ResNet101, XLSor's.
        width: channels of the first stage before its bottleneck widens them (64 in ResNet101).
        recurrence: number of attentions.
        in_channels: channels of the radiograph.
    """

    def __init__(
        self, layers: Sequence[int] = (3, 4, 23, 3), width: int = 64, recurrence: int = 2, in_channels: int = 1
    ) -> None:
        super().__init__()
        planes = [width * 2**stage for stage in range(4)]
        resnet = ResNet(
            "bottleneck",
            list(layers),
            planes,
            spatial_dims=2,
            n_input_channels=in_channels,
            conv1_t_stride=2,
            feed_forward=False,
            bias_downsample=False,
        )
        self.stem = nn.Sequential(resnet.conv1, resnet.bn1, resnet.act, resnet.maxpool)
        stages = (resnet.layer1, resnet.layer2, dilate(resnet.layer3, 2), dilate(resnet.layer4, 4))
        self.stages = nn.Sequential(*stages)
        channels = planes[3]
        self.context = RecurrentCrissCrossAttention(4 * channels, channels, recurrence)
        self.head = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(channels, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, S, S) in [-1, 1] -> logits (B, 1, S, S)."""
        logits = self.head(self.context(self.stages(self.stem(image))))
        return F.interpolate(logits, size=image.shape[2:], mode="bilinear", align_corners=False)


def dilate(stage: nn.Module, rate: int) -> nn.Module:
    """Replace the strides of a ResNet stage by dilated 3 x 3 convolutions, in place; the weights keep their shapes."""
    for module in stage.modules():
        if isinstance(module, nn.Conv2d):
            module.stride = (1, 1)
            if module.kernel_size == (3, 3):
                module.dilation = module.padding = (rate, rate)
    return stage


def lung_unet(width: int = 16, depth: int = 5, num_res_units: int = 2) -> UNet:
    """A small residual U-Net, MONAI's; the default.

    Args:
        width: channels at full resolution; they double at each of the ``depth - 1`` halvings.
        depth: number of levels; the side S must be a multiple of 2^(depth - 1).
        num_res_units: convolutions per residual unit.
    """
    channels = [width * 2**level for level in range(depth)]
    return UNet(2, 1, 1, channels, (2,) * (depth - 1), num_res_units=num_res_units, norm="batch")


def build_lung_network(architecture: str = "unet", settings: Mapping[str, Any] | None = None) -> nn.Module:
    """Build a lung segmentation network by name.

    Args:
        architecture: "unet" (:func:`lung_unet`) or "criss_cross" (:class:`CrissCrossLungNet`).
        settings: arguments of that function or class; None for its defaults.

    Raises:
        ValueError: an unknown architecture.
    """
    if architecture == "unet":
        return lung_unet(**(settings or {}))
    if architecture == "criss_cross":
        return CrissCrossLungNet(**(settings or {}))
    raise ValueError(f"architecture: expected one of {', '.join(ARCHITECTURES)}, got {architecture!r}")
