"""Classifiers of radiographs and residues (paper, section 4 and Table 4): one logit an image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from monai.networks.nets import DenseNet, resnet18, resnet50, resnet152
from torch import Tensor, nn

from monai_dgm.networks.abnormality import AbnormalityNetwork

__all__ = ["ARCHITECTURES", "RESIDUE_ENCODERS", "VGG19", "AlexNet", "build_classifier"]

# Layers and growth rates of Huang et al. 2017; densenet_small is ours, for two CPU cores.
_DENSENETS: dict[str, dict[str, Any]] = {
    "densenet161": {"init_features": 96, "growth_rate": 48, "block_config": (6, 12, 36, 24)},
    "densenet121": {"init_features": 64, "growth_rate": 32, "block_config": (6, 12, 24, 16)},
    "densenet_small": {"init_features": 32, "growth_rate": 16, "block_config": (3, 6, 12, 8)},
}
_RESNETS: dict[str, Callable[..., nn.Module]] = {"resnet152": resnet152, "resnet50": resnet50, "resnet18": resnet18}

RESIDUE_ENCODERS = {"residue_encoder": 64, "residue_encoder_small": 16}  # base widths

ARCHITECTURES = (*_DENSENETS, *_RESNETS, *RESIDUE_ENCODERS, "vgg19", "alexnet")


class AlexNet(nn.Module):
    """AlexNet in its usual form of one column (Krizhevsky 2014): five convolutions, three linear layers.

    Args:
        in_channels: of the input.
        out_channels: logits.
    """

    def __init__(self, in_channels: int = 1, out_channels: int = 1) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 64, 11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),
            nn.AdaptiveAvgPool2d(6),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Linear(4096, out_channels),
        )

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, S, S), S >= 64 -> logits (B, out_channels)."""
        return self.classifier(self.features(image).flatten(1))


class VGG19(nn.Module):
    """VGG-19 without batch normalisation (Simonyan and Zisserman 2015, configuration E).

    Table 4's 139.6 million parameters are those of this form with two outputs.

    Args:
        in_channels: of the input.
        out_channels: logits.
    """

    def __init__(self, in_channels: int = 1, out_channels: int = 1) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width, convolutions in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
            for _ in range(convolutions):
                layers += [nn.Conv2d(in_channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                in_channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(4096, out_channels),
        )
        for module in self.features:  # 16 layers without a norm: PyTorch's own initialisation would fade out
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, S, S), S >= 32 -> logits (B, out_channels)."""
        return self.classifier(self.features(image).flatten(1))


def build_classifier(architecture: str, in_channels: int = 1) -> nn.Module:
    """A classifier, untrained, from (B, C, S, S) to logits (B, 1); their sigmoid is the probability of label 1.

    DenseNets and ResNets are MONAI's, in two dimensions, with the strides and biases of their papers. The paper's
    DenseNet161 has two output neurons; one logit says the same as the difference of two.

    Args:
        architecture: of :data:`ARCHITECTURES`. densenet161, densenet121, resnet152, vgg19 and alexnet are rows of the
            paper's Table 4 or their siblings; densenet_small (0.6 million parameters) is ours, for two CPU cores.
            residue_encoder (width 64) and residue_encoder_small (width 16) are E_F and head with batch norms, from
            which a decomposer's training can start.
        in_channels: C; 1 for the image or the residue alone, 2 for both.

    Returns:
        the network. Any side S >= 64 will do, for a residue encoder any multiple of 32.

    Raises:
        ValueError: an architecture that there is not.
    """
    if architecture in _DENSENETS:
        return DenseNet(spatial_dims=2, in_channels=in_channels, out_channels=1, **_DENSENETS[architecture])
    if architecture in _RESNETS:
        # MONAI's defaults are those of its 3D networks: a first stride of 1, and biases before batch norms
        return _RESNETS[architecture](
            spatial_dims=2, n_input_channels=in_channels, num_classes=1, conv1_t_stride=2, bias_downsample=False
        )
    if architecture in RESIDUE_ENCODERS:
        return AbnormalityNetwork(RESIDUE_ENCODERS[architecture], in_channels=in_channels, norm="batch")
    if architecture == "vgg19":
        return VGG19(in_channels)
    if architecture == "alexnet":
        return AlexNet(in_channels)
    raise ValueError(f"architecture: expected one of {', '.join(ARCHITECTURES)}, got {architecture!r}")
