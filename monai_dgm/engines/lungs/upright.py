"""Does a radiograph stand upright, the patient's left on the right? A small network that looks at nothing else.

A score is a difference: what the network says of the image minus what it says of the same image mirrored. So it is
exactly the opposite for the mirrored image, and 0 for one that looks like its own mirror image. Below its threshold an
image is taken for turned. The weights (``upright.safetensors``) and their thresholds and figures (``upright.json``) lie
beside those of the lung segmentor.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from monai_dgm.engines.weights import for_inference
from monai_dgm.errors import InputError
from monai_dgm.utils.atomic import atomic_write, write_json

__all__ = ["UPRIGHT_FILE", "WORDS", "UprightCheck", "UprightNetwork", "load_upright_check", "upright_scores"]

UPRIGHT_FILE = "upright.safetensors"
SIDE = 64
SCORE_CAP = 100.0
WORDS = ("it looks mirrored from left to right", "it looks upside down")
"""What is said of an image by which of the two scores is below its threshold."""


class UprightNetwork(nn.Sequential):
    """(B, 1, 64, 64) in [-1, 1] to two numbers (B, 2), for the mirror from left to right and for that from top to
    bottom; see :func:`upright_scores`.

    Args:
        width: channels of the first layer.
        dropout: before the last layer, in training.
    """

    def __init__(self, width: int = 12, dropout: float = 0.3) -> None:
        layers: list[nn.Module] = []
        channels = 1
        for out in (width, 2 * width, 4 * width, 6 * width):
            layers += [*_convolution(channels, out), nn.MaxPool2d(2)]
            channels = out
        layers += [*_convolution(channels, channels), nn.Flatten(), nn.Dropout(dropout)]
        super().__init__(*layers, nn.Linear(channels * (SIDE // 16) ** 2, 2))


def _convolution(channels: int, out: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]


def upright_scores(network: nn.Module, image: Tensor) -> Tensor:
    """Scores (B, 2) of radiographs (B, 1, 64, 64), left to right and top to bottom: above 0 for upright."""
    seen, mirrored, turned = network(torch.cat([image, image.flip(3), image.flip(2)])).reshape(3, -1, 2)
    return torch.stack([seen[:, 0] - mirrored[:, 0], seen[:, 1] - turned[:, 1]], dim=1)


@dataclass(frozen=True)
class UprightCheck:
    """A trained network with its thresholds.

    Attributes:
        network: in evaluation mode.
        thresholds: of the two scores; an image below one of them is taken for turned.
        settings: what it was trained on and its figures on held-out chests.
    """

    network: nn.Module
    thresholds: tuple[float, float]
    settings: dict[str, Any] = field(default_factory=dict)

    def __call__(self, image: Tensor) -> list[tuple[str, float]]:
        """What is wrong with each radiograph, "" for nothing, and how wrong: above 1 where something is, at most 100.

        Args:
            image: (B, 1, S, S) in [-1, 1] as models see them, any side, on the network's device.
        """
        with torch.inference_mode():
            scores = upright_scores(self.network, resized(image)).double().cpu().numpy()
        return [self.judged(one) for one in scores]

    def judged(self, scores: NDArray[np.float64]) -> tuple[str, float]:
        """What :meth:`__call__` says of the scores (2,) of one radiograph."""
        missing = np.array(self.thresholds) - scores
        worst = int(np.argmax(missing))
        wrongness = float(np.exp(min(missing[worst], np.log(SCORE_CAP))))
        return (WORDS[worst] if missing[worst] > 0 else ""), wrongness


def resized(image: Tensor) -> Tensor:
    """Radiographs (B, 1, S, S) as (B, 1, 64, 64), antialiased."""
    if image.shape[-1] == SIDE:
        return image
    return nn.functional.interpolate(image, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)


def save_upright_check(
    path: str | os.PathLike[str], network: nn.Module, thresholds: Sequence[float], settings: dict[str, Any]
) -> None:
    """Write weights in half precision and, beside them, the JSON file of thresholds and settings."""
    target = Path(path)
    state = {name: value.half() if value.is_floating_point() else value for name, value in network.state_dict().items()}
    with atomic_write(target) as partial:
        save_file({name: value.contiguous() for name, value in state.items()}, partial)
    values = {"thresholds": [round(float(one), 4) for one in thresholds], **settings}
    write_json(target.with_suffix(".json"), values, allow_nan=False)


def load_upright_check(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> UprightCheck:
    """Read what :func:`save_upright_check` wrote.

    Raises:
        InputError: no such files, or others.
    """
    target = Path(path)
    try:
        values = json.loads(target.with_suffix(".json").read_text(encoding="utf-8"))
        mirrored, turned = (float(one) for one in values.pop("thresholds"))
        network = UprightNetwork(int(values.get("width", 12)))
        network.load_state_dict({name: value.float() for name, value in load_file(target).items()})
    except Exception as error:  # a damaged file of weights fails in many ways
        kind = type(error).__name__
        raise InputError(f"{path}: expected weights of the upright check and their JSON ({kind})") from error
    return UprightCheck(for_inference(network, device), (mirrored, turned), values)
