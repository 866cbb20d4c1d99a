"""Criss-cross attention: every pixel looks along its row and its column (Huang et al., CCNet, ICCV 2019).

Plain PyTorch, with no compiled extension. Memory of the attention is B (H + W) H W numbers, H + W a pixel, where full
self-attention takes H W a pixel.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["CrissCrossAttention", "RecurrentCrissCrossAttention"]


class CrissCrossAttention(nn.Module):
    """One criss-cross attention with a residual sum: gamma * attention(x) + x (CCNet, eq. 1 and 2).

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
        """Weights (B, H, W, H + W): of the H pixels in a pixel's column, then of the W in its row; their sum is 1.

        The pixel itself is in both. It counts once, with its row: in its column its energy is minus infinity.
        """
        query, key = self.query(x), self.key(x)
        column = torch.einsum("bchw,bckw->bhwk", query, key)
        own = torch.eye(x.shape[2], dtype=torch.bool, device=x.device)[None, :, None, :]
        column = column.masked_fill(own, float("-inf"))
        row = torch.einsum("bchw,bchk->bhwk", query, key)
        return torch.softmax(torch.cat((column, row), dim=-1), dim=-1)


class RecurrentCrissCrossAttention(nn.Module):
    """The same attention applied R times with shared weights; R = 2 joins any two pixels (CCNet, section 3.3).

    Convolution, R attentions, convolution; the input is stacked on the result and a bottleneck mixes both.

    Args:
        in_channels: channels of the backbone's features.
        channels: channels inside and of the output (in_channels / 4 in CCNet).
        recurrence: R.
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
