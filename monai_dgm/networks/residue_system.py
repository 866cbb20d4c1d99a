"""What every model that yields residues has in common: the one interface between such a model and all that uses it.

Evaluation, inference, detectors and classifiers on residues, the label server and the reproduction know this file and
no particular model. A new system is one file ``monai_dgm/networks/<architecture>.py`` (or any imported module) with a
subclass of :class:`ResidueSystem`, one training step (:mod:`monai_dgm.engines.training.systems`) and one configuration.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from monai_dgm.errors import InputError

__all__ = [
    "DEFAULT_ARCHITECTURE",
    "OUTPUT_CHANNELS",
    "ResidueSystem",
    "build_residue_system",
    "checked_prediction",
    "difference_prediction",
    "join_prediction",
    "split_prediction",
]

OUTPUT_CHANNELS = ("normal", "residue", "abnormality_probability")
DEFAULT_ARCHITECTURE = "decomposer"  # of settings that name none
_ARCHITECTURES: dict[str, type[ResidueSystem]] = {}


class ResidueSystem(nn.Module, ABC):
    """A network that takes radiographs apart, ready for inference.

    A subclass names its architecture, by which settings beside weights refer to it::

        class MyNetwork(ResidueSystem, architecture="my_network"):
            ...

    It takes (B, 1, S, S) in [-1, 1] and returns :data:`OUTPUT_CHANNELS` as one tensor, as a MONAI bundle's network
    does. :func:`join_prediction` makes that tensor, :func:`split_prediction` takes it apart.
    """

    architecture: ClassVar[str]

    def __init_subclass__(cls, architecture: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if architecture is None:
            return
        known = _ARCHITECTURES.get(architecture)
        if known is not None and f"{known.__module__}.{known.__qualname__}" != f"{cls.__module__}.{cls.__qualname__}":
            raise TypeError(f"architecture {architecture!r}: taken by {known.__module__}.{known.__qualname__}")
        cls.architecture = architecture
        _ARCHITECTURES[architecture] = cls

    @abstractmethod
    def forward(self, image: Tensor) -> Tensor:
        """Take radiographs apart.

        Args:
            image: z, (B, 1, S, S) in [-1, 1].

        Returns:
            (B, 3, S, S): normal image in [-1, 1], residue in [-1, 1], abnormality probability in [0, 1] (one value per
            image, repeated over the pixels; NaN for a system that gives none).
        """

    @abstractmethod
    def network_settings(self) -> dict[str, Any]:
        """The arguments that make this network again, as JSON values: what the settings beside its weights hold."""


def build_residue_system(settings: Mapping[str, Any]) -> ResidueSystem:
    """The network that the settings beside its weights describe, with random weights.

    Args:
        settings: "architecture" (:data:`DEFAULT_ARCHITECTURE` where there is none) and "network_settings", the
            arguments of its class. Without "network_settings" the arguments are taken from ``settings`` itself: files
            of version 0.1 have them there.

    Raises:
        ValueError: an architecture that does not exist, or arguments that it does not take.
    """
    architecture = settings.get("architecture", DEFAULT_ARCHITECTURE)
    system = _find_architecture(architecture)
    arguments = settings.get("network_settings")
    if arguments is None:
        arguments = {name: settings[name] for name in inspect.signature(system).parameters if name in settings}
    try:
        return system(**arguments)
    except TypeError as error:
        raise ValueError(f"architecture {architecture!r}: expected its network_settings ({error})") from error


def _find_architecture(architecture: Any) -> type[ResidueSystem]:
    """The class registered under a name; a file of this package by that name is imported first."""
    if isinstance(architecture, str) and architecture.isidentifier() and architecture not in _ARCHITECTURES:
        module = f"{__package__}.{architecture}"
        if importlib.util.find_spec(module) is not None:
            importlib.import_module(module)
    if not isinstance(architecture, str) or architecture not in _ARCHITECTURES:
        names = ", ".join(sorted(_ARCHITECTURES))
        raise ValueError(f"architecture: expected a residue system ({names}), got {architecture!r}")
    return _ARCHITECTURES[architecture]


def join_prediction(normal: Tensor, residue: Tensor, abnormality_probability: Tensor | None = None) -> Tensor:
    """Join the outputs of a residue system to one tensor.

    Args:
        normal: (B, 1, S, S) in [-1, 1].
        residue: (B, 1, S, S) in [-1, 1].
        abnormality_probability: (B,) or (B, 1) in [0, 1]; None for a system that gives none.

    Returns:
        (B, 3, S, S), float32; the last channel is NaN where there is no probability.
    """
    if abnormality_probability is None:
        probability = torch.full_like(normal, float("nan"))
    else:
        probability = abnormality_probability.reshape(-1, 1, 1, 1).expand_as(normal)
    return torch.cat((normal.float(), residue.float(), probability.float()), dim=1)


def difference_prediction(image: Tensor, normal: Tensor) -> Tensor:
    """The output of a system that synthesises a normal image only: its residue is z - y'.

    Args:
        image: z, (B, 1, S, S) in [-1, 1].
        normal: y', (B, 1, S, S) in [-1, 1].

    Returns:
        (B, 3, S, S); z - y' is cut to [-1, 1], and there is no probability.
    """
    return join_prediction(normal, (image.float() - normal.float()).clamp(-1, 1))


def checked_prediction(prediction: object, images: Tensor, name: str) -> Tensor:
    """The output of a network that was said to be a residue system.

    Args:
        prediction: what came for ``images``.
        images: (B, 1, S, S).
        name: of the network, for the message.

    Raises:
        InputError: it is no tensor (B, 3, S, S).
    """
    expected = (len(images), 3, *images.shape[-2:])
    if not isinstance(prediction, Tensor) or tuple(prediction.shape) != expected:
        came = tuple(prediction.shape) if isinstance(prediction, Tensor) else type(prediction).__name__
        raise InputError(f"{name}: expected the output of a decomposer, a tensor of shape {expected}, got {came}")
    return prediction


def split_prediction(prediction: Tensor) -> dict[str, Tensor]:
    """Take the output of a residue system apart.

    Args:
        prediction: (B, 3, S, S).

    Returns:
        ``normal`` and ``residue``, (B, 1, S, S), and ``abnormality_probability``, (B,).
    """
    return {
        "normal": prediction[:, 0:1],
        "residue": prediction[:, 1:2],
        "abnormality_probability": prediction[:, 2, 0, 0],
    }
