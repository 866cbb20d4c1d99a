"""E_F and the head as a network of their own: normal or abnormal (paper, sections 3.3 and 4)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from monai_dgm.networks.blocks import GaussianSmoothing, ResidualBlock
from monai_dgm.networks.efficientnet import EfficientNetLite, fold_efficientnet
from monai_dgm.networks.encoder_decoder import (
    AbnormalityHead,
    Encoder,
    check_image_size,
    encoder_widths,
    make_residue_encoder,
)

__all__ = ["PARTS", "AbnormalityNetwork", "EncoderAndHead", "fold_batch_norms"]

PARTS = frozenset(("residue_encoder", "abnormality_head"))
"""Names of E_F and the head, which are trained, in this network, in a DGM and in a Decomposer."""


class EncoderAndHead(nn.Module):
    """What networks with E_F and the head have in common: features and logit in one pass of E_F."""

    def use_head(self, encoder: nn.Module, head: nn.Module, head_smoothing: float) -> None:
        """Take E_F, its batch norms folded where it is ImageNet's, and the head; smoothing as in AbnormalityNetwork."""
        self.residue_encoder = fold_efficientnet(encoder) if isinstance(encoder, EfficientNetLite) else encoder
        self.abnormality_head = head
        self.head_smoothing = GaussianSmoothing(head_smoothing) if head_smoothing else None

    def encode(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """(B, C, S, S) -> features of E_F, finest first, and logits (B, 1) of the head.

        The smoothed images pass E_F beside the others, as one batch: that takes less time than a second pass.
        """
        if self.head_smoothing is None:
            features = self.residue_encoder(image)
            return features, self.abnormality_head(features[-1])
        both = self.residue_encoder(torch.cat((image, self.head_smoothing(image))))
        logits = self.abnormality_head(both[-1])
        number = image.shape[0]
        return [one[:number] for one in both], (logits[:number] + logits[number:]) / 2


class AbnormalityNetwork(EncoderAndHead):
    """E_F and the head: the same logits as the whole model gives.

    Args:
        base_width, num_res_blocks: as in :class:`monai_dgm.networks.dgm.DGM`.
        in_channels: channels of the radiograph.
        norm: "none" as in the paper, or "batch": learns faster, and :func:`fold_batch_norms` makes the paper's of it.
        residue_encoder: as in :class:`monai_dgm.networks.dgm.DGM`; "efficientnet_lite2" as a decomposer stores it,
            without batch norms.
        head_smoothing: standard deviation in pixels of a Gaussian filter; above 0, the head's logit is the mean of
            those of the radiograph and of the filtered one. Where E_F learned from images with less noise than others
            have, the probability then depends less on the noise. 0, as in the paper, takes the radiograph alone.
    """

    def __init__(
        self,
        base_width: int = 64,
        num_res_blocks: int = 4,
        in_channels: int = 1,
        norm: str = "none",
        residue_encoder: str = "paper",
        head_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        encoder = make_residue_encoder(residue_encoder, in_channels, base_width, num_res_blocks, norm)
        self.use_head(encoder, AbnormalityHead(encoder_widths(residue_encoder, base_width)[4]), head_smoothing)

    def forward(self, image: Tensor) -> Tensor:
        """z, (B, C, S, S) in [-1, 1], S a multiple of 32 -> logits (B, 1).

        Raises:
            ValueError: on other sides (not once exported).
        """
        if not torch.jit.is_scripting():
            check_image_size(image)
        return self.encode(image)[1]


def fold_batch_norms(network: AbnormalityNetwork) -> AbnormalityNetwork:
    """The network without batch norms that gives the same logits as ``network`` does in evaluation mode.

    A batch norm that follows a convolution is, once its statistics stand, a factor and a shift of each filter.

    Args:
        network: with norm "batch" (returned as a copy with norm "none") or "none" (a copy as it is).
    """
    folded = copy.deepcopy(network).eval()
    encoder = folded.residue_encoder
    assert isinstance(encoder, Encoder)
    for stage in encoder.stages:
        assert isinstance(stage, nn.Sequential)
        conv, norm = stage[0], stage[1]
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            stage[0], stage[1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    for block in encoder.res_blocks:
        assert isinstance(block, ResidualBlock)
        if isinstance(block.norm_1, nn.BatchNorm2d) and isinstance(block.norm_2, nn.BatchNorm2d):
            block.conv_1, block.norm_1 = fuse_conv_bn_eval(block.conv_1, block.norm_1), nn.Identity()
            block.conv_2, block.norm_2 = fuse_conv_bn_eval(block.conv_2, block.norm_2), nn.Identity()
    return folded
