"""Learning from another classifier's probabilities beside the labels (Hinton et al., 2015)."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from monai_dgm.engines.classification.classifier import load_classifier
from monai_dgm.engines.weights import read_model_settings
from monai_dgm.errors import InputError

__all__ = ["SoftLabels", "load_teacher"]


class SoftLabels:
    """A batch transform: labels become (1 - weight) label + weight p, with the teacher's probability p of the image.

    The cross-entropy with such a label is the weighted sum of those with the label and with p.

    Args:
        teacher: from (B, C, S, S) to logits (B, 1), in evaluation mode; None leaves labels as they are.
        weight: in [0, 1].
        autocast: dtype that the teacher runs in; None for full precision.
    """

    def __init__(self, teacher: nn.Module | None, weight: float, autocast: torch.dtype | None = None) -> None:
        if not 0 <= weight <= 1:
            raise ValueError(f"weight: expected a number in [0, 1], got {weight}")
        self.teacher = teacher
        self.weight = weight
        self.autocast = autocast

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """``image`` (B, C, S, S), ``label`` (B,) -> the same with float32 labels in [0, 1]."""
        if self.teacher is None:
            return batch
        image = batch["image"].contiguous(memory_format=torch.channels_last)
        with torch.no_grad(), torch.autocast(image.device.type, self.autocast, enabled=self.autocast is not None):
            probability = torch.sigmoid(self.teacher(image).float())[:, 0]
        return {**batch, "label": torch.lerp(batch["label"].float(), probability, self.weight)}


def load_teacher(
    path: str | os.PathLike[str] | None, task: str, channels: Sequence[str], device: torch.device | str = "cpu"
) -> nn.Module | None:
    """A trained classifier of the same task and channels, frozen; None where ``path`` is.

    Its image size may be another one: what it sees are the images of the training.

    Raises:
        InputError: no weights of a classifier, or of one with another task or other channels.
    """
    if path is None:
        return None
    settings = read_model_settings(path)
    found = (settings.get("task"), settings.get("channels"), "architecture" in settings)
    if found != (task, list(channels), True):
        wanted = f"a classifier for {task} on {list(channels)}"
        raise InputError(f"{path}: expected {wanted}, got one for {found[0]} on {found[1]}")
    return load_classifier(path, device).requires_grad_(False)
