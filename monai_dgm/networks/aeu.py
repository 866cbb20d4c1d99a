"""AE-U: an autoencoder of normal radiographs that predicts how uncertain each pixel is (Mao et al. 2020)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from monai_dgm.networks.encoder_decoder import check_image_size
from monai_dgm.networks.residue_system import ResidueSystem, join_prediction

__all__ = ["AEU", "UncertaintyAutoencoder", "uncertainty_weighted"]


class UncertaintyAutoencoder(nn.Module):
    """Four stride-2 convolutions, a code of few numbers, and the way back to mean and log variance of each pixel.

    Args:
        image_size: side S, a multiple of 16: the linear layers depend on it.
        base_width: filters of the first convolution; 16 in the code of DDAD's authors.
        code_length: numbers of the code; 16 there.
        hidden: neurons of the two hidden linear layers; 2,048 there.

    Raises:
        ValueError: a side that is no multiple of 16.
    """

    def __init__(self, image_size: int = 64, base_width: int = 16, code_length: int = 16, hidden: int = 2048) -> None:
        super().__init__()
        if image_size <= 0 or image_size % 16:
            raise ValueError(f"image_size: expected a multiple of 16, got {image_size}")
        self.image_size = image_size
        widths = [base_width, 2 * base_width, 4 * base_width, 4 * base_width]
        side = image_size // 16
        encoder: list[nn.Module] = []
        for width_in, width in zip([1, *widths[:-1]], widths, strict=True):
            encoder += [nn.Conv2d(width_in, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        decoder: list[nn.Module] = []
        for width_in, width in zip(widths[:0:-1], widths[-2::-1], strict=True):
            decoder += [nn.ConvTranspose2d(width_in, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        self.encoder = nn.Sequential(*encoder, nn.Flatten(), *_linear(widths[-1] * side**2, hidden, code_length))
        self.decoder = nn.Sequential(
            *_linear(code_length, hidden, widths[-1] * side**2),
            nn.Unflatten(1, (widths[-1], side, side)),
            *decoder,
            nn.ConvTranspose2d(base_width, 2, 4, 2, 1, bias=False),
        )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, S, S) in [-1, 1] -> mean, without bounds, and log variance, (B, 1, S, S) each.

        Raises:
            ValueError: images of another side.
        """
        check_image_size(image, 16)
        if image.shape[-1] != self.image_size:
            raise ValueError(f"image: expected sides of {self.image_size}, got {tuple(image.shape)}")
        mean, log_variance = self.decoder(self.encoder(image)).chunk(2, dim=1)
        return mean, log_variance


class AEU(ResidueSystem, architecture="aeu"):
    """AE-U: y' is the reconstruction, and the residue its error weighed by how certain each pixel is.

    The paper scores a pixel by (x - mean)^2 / variance. The residue here is s (x - mean) / standard deviation, which
    ranks pixels in the same way and has a sign; s is the typical standard deviation of normal training images, so that
    a residue is an intensity again where the uncertainty is the usual one. Cut to [-1, 1].

    Args:
        image_size, base_width, code_length, hidden: as in :class:`UncertaintyAutoencoder`.
        weighted: False for the plain error x - mean.

    Source: Mao et al. 2020, "Abnormality detection in chest X-ray images using uncertainty prediction autoencoders".
    """

    typical_deviation: Tensor

    def __init__(
        self,
        image_size: int = 64,
        base_width: int = 16,
        code_length: int = 16,
        hidden: int = 2048,
        weighted: bool = True,
    ) -> None:
        super().__init__()
        size = {"image_size": image_size, "base_width": base_width, "code_length": code_length, "hidden": hidden}
        self._settings = {**size, "weighted": weighted}
        self.autoencoder = UncertaintyAutoencoder(**size)
        self.register_buffer("typical_deviation", torch.ones(()))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, S, S) in [-1, 1] -> (B, 3, S, S), as every residue system."""
        mean, log_variance = self.autoencoder(image)
        error = image.float() - mean.float()
        if self._settings["weighted"]:
            error = uncertainty_weighted(error, log_variance, self.typical_deviation)
        return join_prediction(mean.clamp(-1, 1), error.clamp(-1, 1))

    def network_settings(self) -> dict[str, Any]:
        """The arguments of this class."""
        return dict(self._settings)


def uncertainty_weighted(error: Tensor, log_variance: Tensor, typical_deviation: Tensor) -> Tensor:
    """error * typical deviation / deviation, float32.

    Args:
        error, log_variance: (B, 1, S, S).
        typical_deviation: a single positive value.
    """
    return error.float() * typical_deviation * torch.exp(-0.5 * log_variance.float())


def _linear(in_features: int, hidden: int, out_features: int) -> list[nn.Module]:
    return [nn.Linear(in_features, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, out_features)]
