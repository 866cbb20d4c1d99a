"""Building blocks of the encoders and decoders (paper, Tables 1 and 2).

Upsampling by nearest neighbour followed by a k x k convolution is computed as four phase convolutions at the low
resolution: neighbouring taps of the convolution read the same source pixel, so they can be added up beforehand.
The result is the same (up to rounding) for (k + 1)^2 / k^2 / 4 of the arithmetic: 36 % for k = 5, 33 % for k = 7.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "AdaptiveInstanceNorm",
    "AdaptiveResidualBlock",
    "GaussianSmoothing",
    "InstanceNorm",
    "PaddingMode",
    "PhaseConv2d",
    "ResidualBlock",
    "UpsampleConv2d",
    "make_norm",
    "phase_conv2d",
    "phase_layout",
]

PaddingMode = Literal["zeros", "reflect"]


def make_norm(norm: str, channels: int) -> nn.Module:
    """Normalisation layer by name.

    Args:
        norm: "instance" (E_G), "layer" (decoders: over C, H, W of a sample with an affine map per channel, which is
            group normalisation with one group), "none" (E_F) or "batch" (E_F while it is trained as a classifier).
        channels: number of channels C.
    """
    if norm == "instance":
        return InstanceNorm()
    if norm == "layer":
        return nn.GroupNorm(1, channels)
    if norm == "none":
        return nn.Identity()
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    raise ValueError(f"norm: expected 'instance', 'layer', 'none' or 'batch', got {norm!r}")


class InstanceNorm(nn.Module):
    """Instance normalisation without parameters; a 1 x 1 map (code of side 32) has no spread and passes as it is."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        if x.shape[2] == 1 and x.shape[3] == 1:
            return x
        return F.instance_norm(x)


def phase_layout(kernel_size: int) -> tuple[Tensor, tuple[int, int], int]:
    """How the taps of a convolution on a x2 nearest-upsampled signal fall onto source pixels, along one axis.

    Output 2i + p (phase p) reads, by tap t of a k-tap convolution with zero padding (k - 1) / 2, the upsampled sample
    2i + p + t - (k - 1) / 2, that is the source sample i + floor((p + t - (k - 1) / 2) / 2).

    Args:
        kernel_size: odd k of the direct convolution.

    Returns:
        fold: (2, taps, k) matrix of 0 and 1: phase kernels = fold @ direct kernel.
        starts: offset of the first tap of each phase, relative to i.
        taps: (k + 1) / 2.
    """
    if kernel_size % 2 == 0:
        raise ValueError(f"kernel_size: expected an odd number, got {kernel_size}")
    pad = (kernel_size - 1) // 2
    taps = (kernel_size + 1) // 2
    starts = (math.floor(-pad / 2), math.floor((1 - pad) / 2))
    fold = torch.zeros(2, taps, kernel_size)
    for phase in range(2):
        for tap in range(kernel_size):
            fold[phase, math.floor((phase + tap - pad) / 2) - starts[phase], tap] = 1.0
    return fold, starts, taps


def phase_conv2d(x: Tensor, weight: Tensor, bias: Tensor, start_0: int, start_1: int) -> Tensor:
    """Apply the four phase kernels and interleave their outputs.

    Args:
        x: (B, I, H, W).
        weight: (O * 4, I, taps, taps), output channels ordered (O, row phase, column phase).
        bias: (O,).
        start_0, start_1: offset of the first tap of the even and the odd phase (see :func:`phase_layout`).

    Returns:
        (B, O, 2H, 2W), equal to convolving the nearest-upsampled input with zero padding.
    """
    phases = F.conv2d(x, weight, bias.repeat_interleave(4), padding=-start_0)
    if start_0 == start_1:
        return F.pixel_shuffle(phases, 2)
    # Even and odd phases look at windows one source pixel apart: the same convolution, read one pixel further on.
    height, width = x.shape[2], x.shape[3]
    batch, channels = phases.shape[0], phases.shape[1] // 4
    grid = phases.view(batch, channels, 2, 2, phases.shape[2], phases.shape[3])
    even, odd = grid[:, :, 0, :, :height], grid[:, :, 1, :, 1 : height + 1]  # row phases, (B, O, 2, H, W + 1)
    rows = torch.stack(
        (
            torch.stack((even[:, :, 0, :, :width], even[:, :, 1, :, 1 : width + 1]), dim=-1),
            torch.stack((odd[:, :, 0, :, :width], odd[:, :, 1, :, 1 : width + 1]), dim=-1),
        ),
        dim=3,
    )  # (B, O, H, 2, W, 2)
    return rows.reshape(batch, channels, 2 * height, 2 * width)


class UpsampleConv2d(nn.Module):
    """Nearest-neighbour x2 upsampling, then a k x k convolution with zero padding (paper, Table 2).

    The parameters are those of the plain convolution, whichever way it is computed, so checkpoints do not depend on
    ``folded``.

    Args:
        in_channels, out_channels: channels I and O.
        kernel_size: odd k (5 in the decoder's stages, 7 in its output layer).
        folded: compute as phase convolutions (default) or directly, as the paper writes it.
    """

    fold: Tensor

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, folded: bool = True) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.folded = folded
        conv = nn.Conv2d(in_channels, out_channels, kernel_size)  # for its parameters and their default values
        assert conv.bias is not None
        self.weight, self.bias = conv.weight, conv.bias
        fold, self.starts, self.taps = phase_layout(kernel_size)
        # (row phase, column phase, row tap, column tap) x (row, column): one small matrix folds both axes at once.
        both = torch.einsum("pak,qbl->pqabkl", fold, fold).reshape(4 * self.taps**2, kernel_size**2)
        self.register_buffer("fold", both, persistent=False)

    def phase_weight(self) -> Tensor:
        """Phase kernels, (O * 4, I, taps, taps), in the parameters' precision whatever autocast is active."""
        out_channels, in_channels = self.weight.shape[:2]
        with torch.autocast(self.weight.device.type, enabled=False):
            folded = self.weight.reshape(out_channels * in_channels, -1) @ self.fold.t()
        folded = folded.view(out_channels, in_channels, 4, self.taps, self.taps).transpose(1, 2)
        return folded.reshape(out_channels * 4, in_channels, self.taps, self.taps)

    def unfolded(self, phase_weight: Tensor) -> Tensor:
        """The kernels (O, I, k, k) whose :meth:`phase_weight` is nearest to the one given: those it was made of."""
        out_channels, in_channels = self.weight.shape[:2]
        phases = phase_weight.double().view(out_channels, 4, in_channels, -1).transpose(1, 2)
        kernels = phases.reshape(out_channels * in_channels, -1) @ torch.linalg.pinv(self.fold.double()).t()
        return kernels.view_as(self.weight).to(self.weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, H, W) -> (B, O, 2H, 2W)."""
        if self.folded:
            return phase_conv2d(x, self.phase_weight(), self.bias, self.starts[0], self.starts[1])
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        return F.conv2d(x, self.weight, self.bias, padding=(self.kernel_size - 1) // 2)


class PhaseConv2d(nn.Module):
    """The phase convolutions with their kernels stored: what inference uses, with nothing left to fold.

    Args:
        in_channels, out_channels, kernel_size: those of the :class:`UpsampleConv2d` it stands for.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        _, starts, taps = phase_layout(kernel_size)
        self.start_0, self.start_1 = starts
        self.weight = nn.Parameter(torch.zeros(out_channels * 4, in_channels, taps, taps))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    @classmethod
    def from_upsample(cls, layer: UpsampleConv2d) -> PhaseConv2d:
        """The same function as ``layer``, with folded kernels."""
        baked = cls(layer.weight.shape[1], layer.weight.shape[0], layer.kernel_size)
        with torch.no_grad():
            baked.weight.copy_(layer.phase_weight())
            baked.bias.copy_(layer.bias)
        return baked

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, H, W) -> (B, O, 2H, 2W)."""
        return phase_conv2d(x, self.weight, self.bias, self.start_0, self.start_1)


class AdaptiveInstanceNorm(nn.Module):
    """Instance normalisation whose scale and shift come from another code (AdaIN; Huang and Belongie, 2017).

    Args:
        channels: channels C of the normalised features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.norm = InstanceNorm()

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """(B, C, H, W) features, (B, C) scale (1 is neutral) and (B, C) shift -> (B, C, H, W)."""
        return self.norm(x) * scale[:, :, None, None] + shift[:, :, None, None]


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions, each normalised, with a ReLU between them, added to the input (Tables 1 and 2).

    Args:
        in_channels, out_channels: where they differ (first block of D_J) the shortcut is a 1 x 1 convolution.
        norm: see :func:`make_norm`; "adaptive" takes scale and shift at each call.
        padding_mode: of the convolutions, as in ``nn.Conv2d``; CycleGAN, MUNIT and DRIT have "reflect".
    """

    def __init__(self, in_channels: int, out_channels: int, norm: str, padding_mode: PaddingMode = "zeros") -> None:
        super().__init__()
        self.adaptive = norm == "adaptive"
        self.conv_1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, padding_mode=padding_mode)
        self.conv_2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, padding_mode=padding_mode)
        self.norm_1 = AdaptiveInstanceNorm(out_channels) if self.adaptive else make_norm(norm, out_channels)
        self.norm_2 = AdaptiveInstanceNorm(out_channels) if self.adaptive else make_norm(norm, out_channels)
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, H, W) -> (B, O, H, W), not adaptive."""
        hidden = F.relu(self.norm_1(self.conv_1(x)))
        return self.shortcut(x) + self.norm_2(self.conv_2(hidden))


class AdaptiveResidualBlock(ResidualBlock):
    """:class:`ResidualBlock` with AdaIN: (B, I, H, W) and (B, 4, O) parameters -> (B, O, H, W).

    Args:
        in_channels, out_channels, padding_mode: as there.
        added_scale: added to the parameters of scale. With 1 parameters near 0 are neutral; MUNIT itself adds nothing.
    """

    def __init__(
        self, in_channels: int, out_channels: int, padding_mode: PaddingMode = "zeros", added_scale: float = 1.0
    ) -> None:
        super().__init__(in_channels, out_channels, "adaptive", padding_mode)
        self.added_scale = added_scale

    def forward(self, x: Tensor, parameters: Tensor) -> Tensor:  # type: ignore[override]
        """``parameters``: scale and shift of the first norm, scale and shift of the second, each (B, O)."""
        scale_1, shift_1, scale_2, shift_2 = parameters.unbind(1)
        hidden = F.relu(self.norm_1(self.conv_1(x), self.added_scale + scale_1, shift_1))
        return self.shortcut(x) + self.norm_2(self.conv_2(hidden), self.added_scale + scale_2, shift_2)


class GaussianSmoothing(nn.Module):
    """A Gaussian filter of images with one channel; the border is reflected. Its kernel is kept with the weights.

    Args:
        sigma: standard deviation in pixels, above 0.
    """

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = sigma
        radius = max(1, round(3 * sigma))
        weights = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
        self.register_buffer("kernel", weights / weights.sum())

    def extra_repr(self) -> str:
        """What tells one filter from another."""
        return f"sigma={self.sigma}"

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, S, S) -> (B, 1, S, S)."""
        kernel = self.kernel
        assert isinstance(kernel, Tensor)
        radius = kernel.shape[0] // 2
        padded = F.pad(image, (radius, radius, radius, radius), mode="reflect")
        return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
