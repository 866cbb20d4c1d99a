"""Features of images by a network that was not trained here: EfficientNet-lite2 as ImageNet taught it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from monai_dgm.data.fingerprints import hash_file
from monai_dgm.engines.training.imagenet import load_imagenet
from monai_dgm.networks.efficientnet import EfficientNetLite, fold_efficientnet
from monai_dgm.transforms.preparation import resample_planes

__all__ = ["CODE", "FeatureNetwork", "load_feature_network"]

FloatArray = NDArray[np.float32]
CODE = 1280  # the first features are the last layer's; mean and standard deviation of the four finer ones follow
_SIDE = 96
_BATCH = 32


class FeatureNetwork:
    """Images of any side to features (N, F).

    Args:
        encoder: EfficientNet-lite2 in evaluation mode.
        sha256: of its weights.
    """

    def __init__(self, encoder: EfficientNetLite, sha256: str) -> None:
        self.encoder = encoder
        self.sha256 = sha256

    def __call__(self, images: FloatArray) -> FloatArray:
        """Features of (N, S, S) in [-1, 1]: the code's means, then means and deviations of the finer stages."""
        rows = []
        with torch.inference_mode():
            for first in range(0, len(images), _BATCH):
                batch = torch.from_numpy(np.ascontiguousarray(images[first : first + _BATCH], np.float32))[:, None]
                *finer, code = self.encoder(resample_planes(batch, _SIDE))
                means = [code.mean(dim=(2, 3)), *(stage.mean(dim=(2, 3)) for stage in finer)]
                rows.append(torch.cat([*means, *(stage.std(dim=(2, 3)) for stage in finer)], dim=1))
        return torch.cat(rows).numpy() if rows else np.zeros((0, 0), np.float32)


def load_feature_network(path: Path) -> FeatureNetwork:
    """The network of features of a file of ImageNet's weights.

    Raises:
        InputError: no such file, or weights of another network.
    """
    encoder = load_imagenet(EfficientNetLite(), path)
    return FeatureNetwork(fold_efficientnet(encoder), hash_file(path))
