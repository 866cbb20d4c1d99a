"""The disentangled generative model (paper, section 3.2; Tables 1 and 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from monai_dgm.networks.blocks import ResidualBlock, UpsampleConv2d
from monai_dgm.networks.encoder_decoder import (
    AbnormalityHead,
    Decoder,
    Encoder,
    JointDecoder,
    check_image_size,
    encoder_widths,
    make_residue_encoder,
)

if TYPE_CHECKING:
    from monai_dgm.networks.decomposer import Decomposer

__all__ = ["COMPOSITIONS", "DGM", "compose_masked"]

COMPOSITIONS = ("additive", "masked")
"""How normal image and residue come about: as in the paper, or by :func:`compose_masked`."""


class DGM(nn.Module):
    """Disentangled generative model: z -> y' = D_G(E_G(z)), a = D_F(E_F(z)), z'' = D_J(E_G(z), E_F(z)).

    Args:
        in_channels: channels of the radiograph.
        base_width: filters of the first convolution; the code has 8 times as many channels. 64 in the paper.
        num_res_blocks: residual blocks in every encoder and decoder; 4 in the paper.
        joint_decoder: with D_J (the paper's full model) or without (its ablation).
        normal_skips, residue_skips: skip connections from E_G to D_G, from E_F to D_F; the paper has none.
        composition: one of :data:`COMPOSITIONS`; "additive" is the paper's.
        residue_encoder: one of :data:`RESIDUE_ENCODERS`; "paper" is Table 1's.
        num_categories: neurons of a second head on E_F, one for each category of :mod:`monai_dgm.data.manifest`; 0
            for none, as in the paper.

    Raises:
        ValueError: an unknown composition or encoder, D_J beside an encoder that is not the paper's, or an image whose
            sides are not multiples of 32 (at forward).

    Source: Tang et al. 2021, section 3.2, Tables 1 and 2.
    """

    def __init__(
        self,
        in_channels: int = 1,
        base_width: int = 64,
        num_res_blocks: int = 4,
        joint_decoder: bool = True,
        normal_skips: bool = False,
        residue_skips: bool = False,
        composition: str = "additive",
        residue_encoder: str = "paper",
        num_categories: int = 0,
    ) -> None:
        super().__init__()
        if composition not in COMPOSITIONS:
            raise ValueError(f"composition: expected one of {', '.join(COMPOSITIONS)}, got {composition!r}")
        if joint_decoder and residue_encoder != "paper":
            raise ValueError("joint_decoder: expected False beside an encoder that is not the paper's, got True")
        size: dict[str, Any] = {"base_width": base_width, "num_res_blocks": num_res_blocks}
        self._settings = {
            "in_channels": in_channels,
            **size,
            "joint_decoder": joint_decoder,
            "normal_skips": normal_skips,
            "residue_skips": residue_skips,
            "composition": composition,
            "residue_encoder": residue_encoder,
            "num_categories": num_categories,
        }
        widths = encoder_widths(residue_encoder, base_width)
        self.masked = composition == "masked"
        self.normal_encoder = Encoder("instance", in_channels, **size)
        self.residue_encoder = make_residue_encoder(residue_encoder, in_channels, base_width, num_res_blocks)
        decoder = (in_channels, base_width, num_res_blocks)
        self.normal_decoder = Decoder(*decoder, skip_connections=normal_skips)
        self.residue_decoder = Decoder(*decoder, skip_connections=residue_skips, feature_widths=widths)
        self.joint_decoder = JointDecoder(in_channels, **size) if joint_decoder else None
        self.abnormality_head = AbnormalityHead(widths[4])
        self.category_head = AbnormalityHead(widths[4], num_categories) if num_categories else None
        self.apply(_initialise)
        if residue_encoder != "paper":
            _quieten_skips(self.residue_decoder)

    def network_settings(self) -> dict[str, Any]:
        """The arguments of this class, as JSON values."""
        return dict(self._settings)

    def inference_network(self) -> Decomposer:
        """A copy of what inference needs: the network without D_J, in evaluation mode."""
        from monai_dgm.networks.decomposer import Decomposer  # it is built from a DGM

        return Decomposer.from_dgm(self)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Decompose radiographs.

        Args:
            image: z, (B, C, S, S) in [-1, 1], sides multiples of 32.

        Returns:
            ``normal`` y', ``residue`` a, ``reconstruction`` z' = y' + a, all (B, C, S, S); ``joint_reconstruction``
            z'' where there is a joint decoder; ``abnormality_logit`` (B, 1); the codes ``normal_code`` c_z and
            ``residue_code`` c_s, (B, 8w, S/32, S/32). Composed by a mask there are besides ``mask_logit``, and
            ``proposal``, what D_G gave; with categories ``category_logits`` (B, K).
        """
        check_image_size(image)
        normal_features = self.normal_encoder(image)
        residue_features = self.residue_encoder(image)
        normal = self.normal_decoder(normal_features, image)
        extra: dict[str, Tensor] = {}
        if self.masked:
            extra = {"proposal": normal, "mask_logit": 2 * self.residue_decoder.logits(residue_features, image).float()}
            normal, residue = compose_masked(image, normal, extra["mask_logit"])
        else:
            residue = self.residue_decoder(residue_features, image)
        if self.category_head is not None:
            extra["category_logits"] = self.category_head(residue_features[-1])
        outputs = {
            **extra,
            "normal": normal,
            "residue": residue,
            "reconstruction": normal + residue,
            "abnormality_logit": self.abnormality_head(residue_features[-1]),
            "normal_code": normal_features[-1],
            "residue_code": residue_features[-1],
        }
        if self.joint_decoder is not None:
            outputs["joint_reconstruction"] = self.joint_decoder(normal_features[-1], residue_features[-1])
        return outputs


def compose_masked(image: Tensor, proposal: Tensor, mask_logit: Tensor) -> tuple[Tensor, Tensor]:
    """Normal image and residue that add up to the radiograph by construction; not in the paper.

    a = m (z - D_G(E_G(z))) and y' = z - a: y' is the radiograph itself wherever the mask m is 0, and D_G's proposal of
    healthy tissue wherever it is 1. m = (1 + D_F(E_F(z))) / 2, the sigmoid of twice what D_F has before its tanh.

    Args:
        image: z, (B, C, S, S).
        proposal: D_G(E_G(z)), (B, C, S, S).
        mask_logit: logit of m, (B, C, S, S).

    Returns:
        y' and a, (B, C, S, S), float32.
    """
    residue = torch.sigmoid(mask_logit.float()) * (image.float() - proposal.float())
    return image.float() - residue, residue


def _quieten_skips(decoder: Decoder) -> None:
    """ImageNet's features are some ten times as large as ours: begin with a tenth of the usual weights."""
    with torch.no_grad():
        for skip in decoder.skips:
            if isinstance(skip, nn.Conv2d):
                skip.weight.mul_(0.1)


def _initialise(module: nn.Module) -> None:
    """Kaiming initialisation (MUNIT's; the paper is silent), zero biases, small output layers."""
    if isinstance(module, nn.Conv2d | UpsampleConv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, ResidualBlock) and isinstance(module.norm_2, nn.Identity):
        with torch.no_grad():  # without a norm, four added branches would double the scale four times over
            module.conv_2.weight.mul_(0.25)
    if isinstance(module, AbnormalityHead):
        nn.init.normal_(module.linear.weight, std=0.01)
    if isinstance(module, Decoder | JointDecoder):
        nn.init.normal_(module.output.weight, std=0.02)
    if isinstance(module, JointDecoder):
        last = module.mlp[-1]
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=0.02)
