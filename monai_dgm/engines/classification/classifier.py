"""Trained classifiers: loading them from their files, and using their probabilities as soft labels."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from monai_dgm.engines.files import weights_sha256
from monai_dgm.engines.weights import for_inference, load_weights, model_channels, read_model_settings
from monai_dgm.errors import InputError
from monai_dgm.networks.classifiers import build_classifier

__all__ = [
    "SoftLabels",
    "load_classifier",
    "load_teachers",
    "teachers_sha256",
]


def load_classifier(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> nn.Module:
    """Load a classifier in evaluation mode; its architecture is read from the JSON file next to the weights.

    Args:
        path: weights, ``.pt`` or ``.safetensors``.
        device: device of the network.

    Returns:
        the network, from (B, C, S, S) with the channels of its settings to logits (B, 1).

    Raises:
        InputError: no such file, or weights of another network.
        ValueError: settings with an unknown architecture.
    """
    settings = read_model_settings(path)
    network = build_classifier(settings.get("architecture", "densenet161"), len(model_channels(settings)))
    return for_inference(load_weights(network, path), device)


class SoftLabels:
    """Batch transform: labels become (1 - weight) label + weight p, where p is the mean probability of the teachers.

    The cross-entropy with such a label is the weighted sum of those with the label and with p (Hinton et al., 2015).

    Args:
        teachers: networks from (B, C, S, S) to logits (B, 1), in evaluation mode; none leave the labels as they are.
        weight: in [0, 1].
        autocast: dtype of the teachers; None for full precision.
        mirrored: whether teachers also see the mirror image; p is then the mean of both.
    """

    def __init__(
        self,
        teachers: Sequence[nn.Module],
        weight: float,
        autocast: torch.dtype | None = None,
        mirrored: bool = False,
    ) -> None:
        if not 0 <= weight <= 1:
            raise ValueError(f"weight: expected a number in [0, 1], got {weight}")
        self.teachers = teachers
        self.weight = weight
        self.autocast = autocast
        self.mirrored = mirrored

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """``image`` (B, C, S, S), ``label`` (B,) -> the same with float32 labels in [0, 1]."""
        if not self.teachers:
            return batch
        image = batch["image"]
        image = torch.cat((image, image.flip(-1))) if self.mirrored else image
        image = image.contiguous(memory_format=torch.channels_last)
        with torch.no_grad(), torch.autocast(image.device.type, self.autocast, enabled=self.autocast is not None):
            logits = torch.stack([teacher(image).float()[:, 0] for teacher in self.teachers])
        probability = torch.sigmoid(logits).unflatten(1, (-1, len(batch["label"]))).mean(dim=(0, 1))
        return {**batch, "label": torch.lerp(batch["label"].float(), probability, self.weight)}


def load_teachers(
    teacher_path: str | Sequence[str] | None, task: str, channels: Sequence[str], device: torch.device | str = "cpu"
) -> list[nn.Module]:
    """Load trained classifiers of the same task and channels, frozen; an empty list if ``teacher_path`` is None.

    They may have been trained at another image size; they get the images of this training.

    Args:
        teacher_path: weights of one teacher, or a list of several.
        task: "abnormality" or "opacity".
        channels: input channels of each teacher.
        device: device of the networks.

    Raises:
        InputError: weights that are not those of a classifier with this task and these channels.
    """
    teachers = []
    for path in _paths(teacher_path):
        settings = read_model_settings(path)
        found = (settings.get("task"), settings.get("channels"), "architecture" in settings)
        if found != (task, list(channels), True):
            wanted = f"a classifier for {task} on {list(channels)}"
            raise InputError(f"{path}: expected {wanted}, got one for {found[0]} on {found[1]}")
        teachers.append(load_classifier(path, device).requires_grad_(False))
    return teachers


def teachers_sha256(teacher_path: str | Sequence[str] | None) -> list[str | None]:
    """SHA-256 of the weights of each teacher, for the settings of the classifier that is trained.

    Raises:
        InputError: no such file.
    """
    return [weights_sha256(path) for path in _paths(teacher_path)]


def _paths(teacher_path: str | Sequence[str] | None) -> list[str]:
    if teacher_path is None:
        return []
    return [teacher_path] if isinstance(teacher_path, str) else list(teacher_path)
