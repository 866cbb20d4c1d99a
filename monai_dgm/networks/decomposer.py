"""The inference network: E_G, D_G, E_F, D_F and the head of a trained DGM, with fixed, named outputs."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from monai_dgm.networks.abnormality import EncoderAndHead
from monai_dgm.networks.blocks import PhaseConv2d, UpsampleConv2d
from monai_dgm.networks.dgm import DGM, compose_masked
from monai_dgm.networks.encoder_decoder import check_image_size
from monai_dgm.networks.residue_system import ResidueSystem

__all__ = [
    "Decomposer",
    "bake_upsampling",
    "dgm_state_dict",
]


class Decomposer(EncoderAndHead, ResidueSystem, architecture="decomposer"):
    """Decomposes radiographs; no joint decoder, no discriminator, upsampling kernels folded once and stored.

    The output is that of every :class:`monai_dgm.networks.residue_system.ResidueSystem`. TorchScript and ONNX exports
    give the same numbers.

    Args:
        base_width, num_res_blocks, normal_skips, residue_skips, composition, residue_encoder, num_categories: as in
            :class:`monai_dgm.networks.dgm.DGM`.
        head_smoothing: as in :class:`monai_dgm.networks.abnormality.AbnormalityNetwork`.
    """

    def __init__(
        self,
        base_width: int = 64,
        num_res_blocks: int = 4,
        normal_skips: bool = False,
        residue_skips: bool = False,
        composition: str = "additive",
        residue_encoder: str = "paper",
        num_categories: int = 0,
        head_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        size = (base_width, num_res_blocks, False, normal_skips, residue_skips)
        dgm = DGM(1, *size, composition, residue_encoder, num_categories)
        self._take(dgm, lambda part: part, head_smoothing)  # no copies: nothing else holds these parts

    @classmethod
    def from_dgm(cls, dgm: DGM) -> Decomposer:
        """The inference network of a trained DGM; weights are copied."""
        decomposer = cls.__new__(cls)
        nn.Module.__init__(decomposer)
        decomposer._take(dgm, copy.deepcopy)
        return decomposer.eval()

    def _take(self, dgm: DGM, own: Callable[[Any], Any], head_smoothing: float = 0.0) -> None:
        self.normal_encoder = own(dgm.normal_encoder)
        self.masked: bool = dgm.masked
        self.use_head(own(dgm.residue_encoder), own(dgm.abnormality_head), head_smoothing)
        self.normal_decoder = bake_upsampling(own(dgm.normal_decoder))
        self.residue_decoder = bake_upsampling(own(dgm.residue_decoder))
        self.category_head = own(dgm.category_head)
        settings = dgm.network_settings() | {"head_smoothing": head_smoothing}
        self._network_settings = {name: settings[name] for name in inspect.signature(Decomposer).parameters}

    @torch.jit.unused
    def network_settings(self) -> dict[str, Any]:
        """The arguments of this class, as JSON values."""
        return dict(self._network_settings)

    def forward(self, image: Tensor) -> Tensor:
        """Decompose.

        Args:
            image: (B, 1, S, S) in [-1, 1], S a multiple of 32.

        Returns:
            (B, 3, S, S): normal in [-1, 1], residue in [-1, 1], abnormality probability in [0, 1] (one value an
            image, repeated over the pixels).

        Raises:
            ValueError: on other sides (not once exported).
        """
        if not torch.jit.is_scripting():
            check_image_size(image)
        residue_features, logit = self.encode(image)
        normal = self.normal_decoder(self.normal_encoder(image), image)
        if self.masked:
            mask_logit = 2 * self.residue_decoder.logits(residue_features, image)
            normal, residue = compose_masked(image, normal, mask_logit)
        else:
            residue = self.residue_decoder(residue_features, image)
        probability = torch.sigmoid(logit)
        return torch.cat((normal, residue, probability[:, :, None, None].expand_as(normal)), dim=1)

    @torch.jit.unused
    def category_probabilities(self, image: Tensor) -> Tensor:
        """Probability of each category, (B, K), in the order of :data:`monai_dgm.data.manifest.CATEGORIES`.

        Args:
            image: (B, 1, S, S) in [-1, 1], S a multiple of 32.

        Raises:
            ValueError: a decomposer that was not trained on categories.
        """
        if self.category_head is None:
            raise ValueError("expected a decomposer with a head for categories, this one has none")
        check_image_size(image)
        return torch.softmax(self.category_head(self.residue_encoder(image)[-1]), dim=1)


def bake_upsampling(module: nn.Module) -> Any:
    """Replace every :class:`UpsampleConv2d` inside ``module`` by its :class:`PhaseConv2d`, in place."""
    for name, child in module.named_children():
        if isinstance(child, UpsampleConv2d):
            setattr(module, name, PhaseConv2d.from_upsample(child))
        else:
            bake_upsampling(child)
    return module


def dgm_state_dict(decomposer_state: Mapping[str, Tensor], dgm: DGM) -> dict[str, Tensor]:
    """State dict for ``dgm`` from that of a :class:`Decomposer` (or of a DGM, which stays as it is).

    The stored phase kernels are unfolded; what a decomposer lacks (D_J) comes from ``dgm``, and what it alone has (the
    filter before its head) is left out.

    Raises:
        ValueError: tensors of other names or shapes than those of ``dgm``.
    """
    state = {name: value.detach().clone() for name, value in dgm.state_dict().items()}
    decomposer_state = {n: value for n, value in decomposer_state.items() if not n.startswith("head_smoothing.")}
    unknown = decomposer_state.keys() - state.keys()
    missing = {name for name in state.keys() - decomposer_state.keys() if not name.startswith("joint_decoder.")}
    if unknown or missing:
        raise ValueError(f"expected the parts of a decomposer, {min(unknown or missing)} does not fit")
    upsampling = {f"{name}.weight": layer for name, layer in dgm.named_modules() if isinstance(layer, UpsampleConv2d)}
    for name, value in decomposer_state.items():
        own = value
        if name in upsampling and value.shape == upsampling[name].phase_weight().shape:
            own = upsampling[name].unfolded(value)
        if own.shape != state[name].shape:
            raise ValueError(f"expected {name} of shape {tuple(state[name].shape)}, got {tuple(value.shape)}")
        state[name] = own
    return state
