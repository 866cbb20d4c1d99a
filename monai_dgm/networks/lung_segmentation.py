"""Lung segmentors: criss-cross attention over a dilated ResNet (XLSor, which the paper uses), and a small U-Net.

Both take radiographs (B, 1, S, S) in [-1, 1] and give logits (B, 1, S, S); positive is lung.

XLSor: Tang Y, Tang Y, Xiao J, Summers RM. XLSor: A robust and accurate lung segmentor on chest X-rays using criss-cross
attention and customized radiorealistic abnormalities generation. MIDL 2019.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from monai.networks.nets import ResNet, UNet
from torch import Tensor, nn

from monai_dgm.networks.criss_cross import RecurrentCrissCrossAttention

__all__ = ["ARCHITECTURES", "CrissCrossLungNet", "build_lung_network", "lung_unet"]

ARCHITECTURES = ("unet", "criss_cross")
OUTPUT_STRIDE = 8


class CrissCrossLungNet(nn.Module):
    """XLSor's network: a ResNet of output stride 8, recurrent criss-cross attention, logits resized to the input.

    The ResNet is MONAI's, whose third and fourth stages are made to dilate (by 2 and 4) instead of stepping. Left out
    of XLSor: weights from ImageNet (they would be downloaded), and the auxiliary loss on the third stage.

    Args:
        layers: blocks of the four stages; (3, 4, 23, 3) is ResNet101, XLSor's.
        width: channels of the first stage before its bottleneck widens them (64 in ResNet101).
        recurrence: applications of the attention.
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
    """Take the strides out of a ResNet stage and dilate its 3 x 3 convolutions, in place; weights keep their shapes."""
    for module in stage.modules():
        if isinstance(module, nn.Conv2d):
            module.stride = (1, 1)
            if module.kernel_size == (3, 3):
                module.dilation = module.padding = (rate, rate)
    return stage


def lung_unet(width: int = 16, depth: int = 5, num_res_units: int = 2) -> UNet:
    """MONAI's residual U-Net, small: the everyday default.

    Args:
        width: channels at full resolution; they double at each of the ``depth - 1`` halvings.
        depth: levels; the side must be a multiple of 2^(depth - 1).
        num_res_units: convolutions a residual unit.
    """
    channels = [width * 2**level for level in range(depth)]
    return UNet(2, 1, 1, channels, (2,) * (depth - 1), num_res_units=num_res_units, norm="batch")


def build_lung_network(architecture: str = "unet", settings: Mapping[str, Any] | None = None) -> nn.Module:
    """A lung segmentor by name.

    Args:
        architecture: "unet" (:func:`lung_unet`) or "criss_cross" (:class:`CrissCrossLungNet`).
        settings: arguments of that function or class; None for its defaults.

    Raises:
        ValueError: another name.
    """
    if architecture == "unet":
        return lung_unet(**(settings or {}))
    if architecture == "criss_cross":
        return CrissCrossLungNet(**(settings or {}))
    raise ValueError(f"architecture: expected one of {', '.join(ARCHITECTURES)}, got {architecture!r}")
