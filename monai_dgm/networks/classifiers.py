"""Classifiers of radiographs and residues (paper, section 4 and Table 4): one logit per image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from monai.networks.nets import DenseNet, resnet18, resnet50, resnet152
from torch import Tensor, nn

from monai_dgm.networks.abnormality import AbnormalityNetwork
from monai_dgm.networks.efficientnet import FEATURE_WIDTHS, EfficientNetLite
from monai_dgm.utils.torchvision_import import ensure_torchvision

__all__ = ["ARCHITECTURES", "EFFICIENTNET", "RESIDUE_ENCODERS", "EfficientNetClassifier", "build_classifier"]

# Layers and growth rates of Huang et al. 2017, and a small one for two CPU cores.
_DENSENETS: dict[str, dict[str, Any]] = {
    "densenet161": {"init_features": 96, "growth_rate": 48, "block_config": (6, 12, 36, 24)},
    "densenet121": {"init_features": 64, "growth_rate": 32, "block_config": (6, 12, 24, 16)},
    "densenet_small": {"init_features": 32, "growth_rate": 16, "block_config": (3, 6, 12, 8)},
}
_RESNETS: dict[str, Callable[..., nn.Module]] = {"resnet152": resnet152, "resnet50": resnet50, "resnet18": resnet18}

RESIDUE_ENCODERS = {"residue_encoder": 64, "residue_encoder_small": 16}  # base widths

TORCHVISION_NETWORKS = ("vgg19", "alexnet")

EFFICIENTNET = "efficientnet_lite2"

ARCHITECTURES = (*_DENSENETS, *_RESNETS, EFFICIENTNET, *RESIDUE_ENCODERS, *TORCHVISION_NETWORKS)


class EfficientNetClassifier(nn.Module):
    """EfficientNet-lite2 (4.9 million parameters) with one output neuron on the mean of its code.

    Its encoder can start from the weights that ImageNet taught
    (:func:`monai_dgm.engines.training.initial_weights.initialise_classifier`).

    Args:
        in_channels: channels of the input.
        dropout: share of the code's 1280 means that is set to zero in training.
    """

    def __init__(self, in_channels: int = 1, dropout: float = 0.2) -> None:
        super().__init__()
        self.encoder = EfficientNetLite(in_channels)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(FEATURE_WIDTHS[-1], 1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, S, S) in [-1, 1], S a multiple of 32 -> logits (B, 1)."""
        code = self.encoder(image)[-1].mean(dim=(2, 3))  # (B, 1280)
        return self.classifier(self.dropout(code))


def _torchvision_network(architecture: str, in_channels: int) -> nn.Module:
    """torchvision's AlexNet (Krizhevsky 2014) or VGG-19 (Simonyan and Zisserman 2015, configuration E), one output."""
    ensure_torchvision()
    from torchvision import models

    network = getattr(models, architecture)(num_classes=1)
    if in_channels != 3:
        old = network.features[0]
        first = nn.Conv2d(in_channels, old.out_channels, old.kernel_size, old.stride, old.padding)
        if architecture == "vgg19" and first.bias is not None:  # as torchvision initialises it
            nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(first.bias)
        network.features[0] = first
    return network


def build_classifier(architecture: str, in_channels: int = 1) -> nn.Module:
    """Build an untrained classifier from (B, C, S, S) to logits (B, 1); their sigmoid is the probability of label 1.

    DenseNets and ResNets are MONAI's in two dimensions, with the strides and biases of their papers; AlexNet and VGG-19
    are torchvision's. The paper's DenseNet161 has two output neurons; one logit is equal to the difference of two.

    Args:
        architecture: one of :data:`ARCHITECTURES`. densenet161, resnet152, vgg19 and alexnet are in the paper's Table
            4; densenet_small has 0.6 million parameters; efficientnet_lite2 is :class:`EfficientNetClassifier`.
            residue_encoder (width 64) and residue_encoder_small (width
            16) are E_F and the head with batch norms; a decomposer's training can start from their weights.
        in_channels: C; 1 for the image or the residue, 2 for both.

    Returns:
        the network, for any side S >= 64; for a residue encoder and efficientnet_lite2 S must be a multiple of 32.

    Raises:
        ValueError: an unknown architecture.
        ImportError: alexnet or vgg19 without torchvision.
    """
    if architecture in _DENSENETS:
        return DenseNet(spatial_dims=2, in_channels=in_channels, out_channels=1, **_DENSENETS[architecture])
    if architecture in _RESNETS:
        # MONAI's defaults are those of its 3D networks: a first stride of 1, and biases before batch norms
        return _RESNETS[architecture](
            spatial_dims=2, n_input_channels=in_channels, num_classes=1, conv1_t_stride=2, bias_downsample=False
        )
    if architecture == EFFICIENTNET:
        return EfficientNetClassifier(in_channels)
    if architecture in RESIDUE_ENCODERS:
        return AbnormalityNetwork(RESIDUE_ENCODERS[architecture], in_channels=in_channels, norm="batch")
    if architecture in TORCHVISION_NETWORKS:
        return _torchvision_network(architecture, in_channels)
    raise ValueError(f"architecture: expected one of {', '.join(ARCHITECTURES)}, got {architecture!r}")
