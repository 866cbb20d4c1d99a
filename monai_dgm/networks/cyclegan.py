"""CycleGAN: two translators between abnormal and normal radiographs (Zhu et al. 2017)."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from monai_dgm.networks.blocks import InstanceNorm, ResidualBlock
from monai_dgm.networks.encoder_decoder import check_image_size
from monai_dgm.networks.residue_system import ResidueSystem, difference_prediction

__all__ = ["CycleGAN", "CycleGANTranslators", "ResNetTranslator"]


class ResNetTranslator(nn.Sequential):
    """Johnson's generator: two stride-2 convolutions, residual blocks, two transposed convolutions, tanh.

    Args:
        base_width: filters of the first convolution; 64 in the authors' code.
        num_res_blocks: 9 in the authors' code for images of 256 pixels.
    """

    def __init__(self, base_width: int = 64, num_res_blocks: int = 9) -> None:
        layers: list[nn.Module] = [nn.Conv2d(1, base_width, 7, padding=3, padding_mode="reflect"), InstanceNorm()]
        layers.append(nn.ReLU())
        for width in (base_width, 2 * base_width):
            layers += [nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), InstanceNorm(), nn.ReLU()]
        code = 4 * base_width
        layers += [ResidualBlock(code, code, "instance", "reflect") for _ in range(num_res_blocks)]
        for width in (code, code // 2):
            convolution = nn.ConvTranspose2d(width, width // 2, 3, stride=2, padding=1, output_padding=1)
            layers += [convolution, InstanceNorm(), nn.ReLU()]
        layers += [nn.Conv2d(base_width, 1, 7, padding=3, padding_mode="reflect"), nn.Tanh()]
        super().__init__(*layers)
        self.apply(_initialise)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, S, S) in [-1, 1], S a multiple of 4 -> the same shape in [-1, 1]."""
        check_image_size(image, 4)
        return super().forward(image)


class CycleGAN(ResidueSystem, architecture="cyclegan"):
    """What inference needs of a CycleGAN: the translator from abnormal to normal; residue = z - G(z).

    Args:
        base_width, num_res_blocks: as in :class:`ResNetTranslator`.

    Source: Zhu et al. 2017, "Unpaired image-to-image translation using cycle-consistent adversarial networks".
    """

    def __init__(self, base_width: int = 64, num_res_blocks: int = 9) -> None:
        super().__init__()
        self._settings = {"base_width": base_width, "num_res_blocks": num_res_blocks}
        self.to_normal = ResNetTranslator(base_width, num_res_blocks)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, S, S) in [-1, 1] -> (B, 3, S, S), as every residue system."""
        return difference_prediction(image, self.to_normal(image))

    def network_settings(self) -> dict[str, Any]:
        """The arguments of this class."""
        return dict(self._settings)


class CycleGANTranslators(nn.Module):
    """The two translators that are trained together: ``to_normal`` and ``to_abnormal``.

    Args:
        base_width, num_res_blocks: as in :class:`ResNetTranslator`.
    """

    def __init__(self, base_width: int = 64, num_res_blocks: int = 9) -> None:
        super().__init__()
        self._settings = {"base_width": base_width, "num_res_blocks": num_res_blocks}
        self.to_normal = ResNetTranslator(base_width, num_res_blocks)
        self.to_abnormal = ResNetTranslator(base_width, num_res_blocks)

    def forward(self, image: Tensor) -> Tensor:
        """What :class:`CycleGAN` gives with the same weights."""
        return difference_prediction(image, self.to_normal(image))

    def inference_network(self) -> CycleGAN:
        """A copy of what inference needs, in evaluation mode."""
        network = CycleGAN(**self._settings)
        network.to_normal = copy.deepcopy(self.to_normal)
        return network.eval()


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
