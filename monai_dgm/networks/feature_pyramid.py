"""Backbones of the opacity detector with a feature pyramid over them: MONAI's ResNets, and EfficientNet-lite2."""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.blocks.feature_pyramid_network import FeaturePyramidNetwork
from monai.networks.nets.resnet import ResNet, get_inplanes
from torch import Tensor, nn

from monai_dgm.networks.efficientnet import FEATURE_WIDTHS, EfficientNetLite

__all__ = ["BACKBONES", "EfficientNetPyramid", "ResNetPyramid", "make_pyramid"]

BACKBONES: dict[str, tuple[str, list[int]]] = {
    "resnet18": ("basic", [2, 2, 2, 2]),
    "resnet34": ("basic", [3, 4, 6, 3]),
    "resnet50": ("bottleneck", [3, 4, 6, 3]),
    "efficientnet_lite2": ("", []),
}


class _Stages(nn.ModuleDict):
    """Layers of a ResNet by their names, up to the last level (as torchvision has it, which is slow to import)."""

    def __init__(self, backbone: ResNet, levels: Sequence[int]) -> None:
        names = [name for name, _ in backbone.named_children()]
        kept = names[: names.index(f"layer{max(levels)}") + 1]
        super().__init__({name: getattr(backbone, name) for name in kept})
        self.names = {f"layer{level}": str(level) for level in levels}

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, C, S, S) -> features by level."""
        features: dict[str, Tensor] = {}
        for name, layer in self.items():
            x = layer(x)
            if name in self.names:
                features[self.names[name]] = x
        return features


class ResNetPyramid(nn.Module):
    """Stages of MONAI's ResNet and MONAI's feature pyramid over them, without a further pooled level."""

    def __init__(self, backbone: ResNet, levels: Sequence[int], out_channels: int) -> None:
        super().__init__()
        channels = [_out_channels(getattr(backbone, f"layer{level}")) for level in levels]
        self.body = _Stages(backbone, levels)
        self.fpn = FeaturePyramidNetwork(2, channels, out_channels)
        self.out_channels = out_channels

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, C, S, S) -> feature maps by level, finest first."""
        return self.fpn(self.body(images))


class EfficientNetPyramid(nn.Module):
    """EfficientNet-lite2 and MONAI's feature pyramid; level 1 is at a quarter of the side, as in a ResNet."""

    def __init__(self, in_channels: int, levels: Sequence[int], out_channels: int) -> None:
        super().__init__()
        self.body = EfficientNetLite(in_channels)
        self.levels = tuple(levels)
        self.out_channels = out_channels
        self.fpn = FeaturePyramidNetwork(2, [FEATURE_WIDTHS[level] for level in levels], out_channels)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Feature maps, finest first."""
        features = self.body(images)
        maps: dict[str, Tensor] = {}
        if 1 in self.levels:
            maps["1"] = features[1]
        maps["2"] = features[2]
        maps["3"] = features[3]
        maps["4"] = features[4]
        return self.fpn(maps)


def _out_channels(stage: nn.Module) -> int:
    return [module.out_channels for module in stage.modules() if isinstance(module, nn.Conv2d)][-1]


def make_pyramid(
    backbone: str, in_channels: int, width: float, levels: Sequence[int], out_channels: int
) -> ResNetPyramid | EfficientNetPyramid:
    """The pyramid over a backbone with random weights.

    Args:
        backbone: one of :data:`BACKBONES`.
        in_channels: channels of the images.
        width: factor of a ResNet's channels.
        levels: levels of the pyramid; level 1 is at a quarter of the side.
        out_channels: channels of each feature map.
    """
    if backbone == "efficientnet_lite2":
        return EfficientNetPyramid(in_channels, levels, out_channels)
    block, layers = BACKBONES[backbone]
    body = ResNet(
        block,
        layers,
        get_inplanes(),
        spatial_dims=2,
        n_input_channels=in_channels,
        conv1_t_stride=2,
        widen_factor=width,
        feed_forward=False,
        bias_downsample=False,
    )
    return ResNetPyramid(body, levels, out_channels)
