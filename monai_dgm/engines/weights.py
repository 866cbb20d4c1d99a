"""Weights of a network: state dicts, written aside and renamed, and the settings in the JSON file next to them."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from monai_dgm.errors import InputError
from monai_dgm.networks.residue_system import ResidueSystem, build_residue_system
from monai_dgm.utils.atomic import atomic_write

__all__ = [
    "PAPER_SETTINGS",
    "find_weights",
    "first_line",
    "for_inference",
    "load_initial_weights",
    "load_residue_system",
    "load_weights",
    "model_channels",
    "read_model_settings",
    "read_state_dict",
    "save_weights",
    "settings_from_json",
    "written_aside",
]

Network = TypeVar("Network", bound=nn.Module)

PAPER_SETTINGS = {
    "image_size": 224,
    "base_width": 64,
    "num_res_blocks": 4,
    "normal_skips": False,
    "residue_skips": False,
    "composition": "additive",
    "residue_encoder": "paper",
    "num_categories": 0,
    "head_smoothing": 0.0,
}


@contextmanager
def written_aside(path: str | os.PathLike[str]) -> Iterator[Path]:
    """:func:`atomic_write` that tells of a full disk, or of a folder that must not be written to, in one line."""
    try:
        with atomic_write(path) as partial:
            yield partial
    except (OSError, RuntimeError, SafetensorError) as error:  # torch tells of a full disk by a RuntimeError
        raise InputError(f"{path}: expected a folder with room to write it, got: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """The first line of an error that says something: torch's on other weights has a heading before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


def save_weights(state_dict: Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Write a state dict: safetensors where the path ends so, else ``torch.save``; never half of it.

    Raises:
        InputError: when the disk is full or the folder cannot be written to; an older file stays as it was.
    """
    with written_aside(path) as partial:
        if str(path).endswith(".safetensors"):
            save_file({name: tensor.contiguous() for name, tensor in state_dict.items()}, partial)
        else:
            torch.save(dict(state_dict), partial)


def find_weights(folder: str | os.PathLike[str], trained_first: bool = False) -> str:
    """The weights in a bundle's folder of models: those that ship, else those that a training wrote.

    What ships has a folder of its own, ``shipped/``, with its settings beside it: a training writes over neither.

    Args:
        folder: such as ``bundles/dgm/models``.
        trained_first: those of a training where there are both, as on the embedded sample, which no shipped ones know.
    """
    shipped, trained = Path(folder) / "shipped" / "model.safetensors", Path(folder) / "model.pt"
    there = [path for path in ((trained, shipped) if trained_first else (shipped, trained)) if path.is_file()]
    return str(there[0] if there else trained)


def load_initial_weights(network: nn.Module, path: str | os.PathLike[str] | None) -> nn.Module:
    """``network`` with the weights that its training starts from; None leaves the random ones."""
    return network if path is None else load_weights(network, path)


def load_weights(network: nn.Module, path: str | os.PathLike[str]) -> nn.Module:
    """Load a state dict written by :func:`save_weights` into ``network`` and return it.

    Raises:
        InputError: when the file is missing, is no state dict, or belongs to another network.
    """
    expected = f"weights of {type(network).__name__} as configured"
    state = read_state_dict(path, expected)
    try:
        network.load_state_dict(state)
    except Exception as error:  # a file may hold anything; the user needs the one line
        raise InputError(f"{path}: expected {expected}, got: {first_line(error)}") from error
    return network


def for_inference(network: Network, device: torch.device | str) -> Network:
    """A network on its device, in evaluation mode.

    On the CPU the channels come last in memory: PyTorch's convolutions then take a sixth less time, with results that
    are equal but for rounding.
    """
    if torch.device(device).type == "cpu":
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.to(device).eval()


def load_residue_system(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> ResidueSystem:
    """The residue system of a file of weights, as the settings next to it describe it, in evaluation mode.

    Args:
        path: ``.pt`` or ``.safetensors``, with its settings in the ``.json`` file of the same name.
        device: where to put it.

    Raises:
        InputError: when the file is missing, its settings name no residue system, or the weights belong to another one.
    """
    try:
        network = build_residue_system(read_model_settings(path))
    except ValueError as error:
        raise InputError(f"{Path(path).with_suffix('.json')}: {error}") from error
    load_weights(network, path)
    return for_inference(network, device)


def read_state_dict(
    path: str | os.PathLike[str], expected: str = "a state dict", parts: Collection[str] = ()
) -> dict[str, Tensor]:
    """The tensors of a file written by :func:`save_weights`, on the CPU.

    Args:
        path: ``.pt`` or ``.safetensors``.
        expected: what an error says.
        parts: names of the network's own modules whose tensors alone are read; all where there are none.

    Raises:
        InputError: when the file is missing or is no state dict.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: expected a file of trained weights, there is none; run training first")
    try:
        if str(path).endswith(".safetensors"):
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys() if _among(name, parts)}  # noqa: SIM118
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=bool(parts))
    except Exception as error:  # every reader has its own exceptions; the user needs the one line
        raise InputError(f"{path}: expected {expected}, got: {first_line(error)}") from error
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise InputError(f"{path}: expected {expected}, got something else than tensors by name")
    return {name: tensor for name, tensor in state.items() if _among(name, parts)}


def _among(name: str, parts: Collection[str]) -> bool:
    return not parts or name.split(".")[0] in parts


def model_channels(settings: Mapping[str, Any]) -> list[str]:
    """What a detector or classifier of these settings looks at: "image", "residue", or both, in this order."""
    return list(settings.get("channels", ["image", "residue"]))


def settings_from_json(text: str) -> dict[str, Any]:
    """Settings as a JSON object holds them.

    Raises:
        ValueError: no JSON, or JSON that is no object.
    """
    values = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError(f"a JSON {type(values).__name__} instead of an object")
    return values


def read_model_settings(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Settings of a trained model, from the JSON file next to its weights; the paper's where there is no such file.

    Args:
        path: of the weights, ``model.pt``; the settings are in ``model.json``.

    Raises:
        InputError: a file of settings that is no JSON object.
    """
    settings = {**PAPER_SETTINGS}
    file = Path(path).with_suffix(".json")
    if file.is_file():
        try:
            settings.update(settings_from_json(file.read_text(encoding="utf-8")))
        except ValueError as error:
            raise InputError(f"{file}: expected settings of a model as JSON, got: {error}") from error
    return settings
