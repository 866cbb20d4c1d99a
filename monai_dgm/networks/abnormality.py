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

__all__ = ["PARTS", "AbnormalityNetwork", "fold_batch_norms"]

PARTS = frozenset(("residue_encoder", "abnormality_head"))
"""Names of E_F and the head, which are trained, in this network, in a DGM and in a Decomposer."""


class AbnormalityNetwork(nn.Module):
    """E_F and the head: the same logits as the whole model gives.

    Args:
        base_width, num_res_blocks: as in :class:`monai_dgm.networks.dgm.DGM`.
        in_channels: channels of the radiograph.
        norm: "none" as in the paper, or "batch": learns faster, and :func:`fold_batch_norms` makes the paper's of it.
        residue_encoder: as in :class:`monai_dgm.networks.dgm.DGM`; "efficientnet_lite2" as a decomposer stores it,
            without batch norms.
        head_smoothing: as in :class:`monai_dgm.networks.decomposer.Decomposer`.
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
        self.residue_encoder = fold_efficientnet(encoder) if isinstance(encoder, EfficientNetLite) else encoder
        self.abnormality_head = AbnormalityHead(encoder_widths(residue_encoder, base_width)[4])
        self.head_smoothing = GaussianSmoothing(head_smoothing) if head_smoothing else None

    def forward(self, image: Tensor) -> Tensor:
        """z, (B, C, S, S) in [-1, 1], S a multiple of 32 -> logits (B, 1).

        Raises:
            ValueError: on other sides (not once exported).
        """
        if not torch.jit.is_scripting():
            check_image_size(image)
        logit = self.abnormality_head(self.residue_encoder(image)[-1])
        if self.head_smoothing is not None:
            logit = (logit + self.abnormality_head(self.residue_encoder(self.head_smoothing(image))[-1])) / 2
        return logit


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
