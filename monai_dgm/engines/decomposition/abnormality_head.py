"""The abnormality head by itself: triage with E_F alone (paper, sections 4 and 5.7), a seventh of a decomposition.

What it costs against a decomposition: ``python benchmarks/classifier_speed.py --parts head``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from monai_dgm.engines.weights import read_model_settings
from monai_dgm.errors import InputError
from monai_dgm.networks.abnormality import AbnormalityNetwork

__all__ = ["abnormality_probability", "load_abnormality_network"]

PARTS = ("residue_encoder", "abnormality_head")


def load_abnormality_network(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> AbnormalityNetwork:
    """E_F and the head from the weights of a Decomposer or a DGM, without reading the rest.

    Args:
        path: ``.pt`` or ``.safetensors``, with its settings in the JSON file beside it.
        device: to put them on.

    Returns:
        the network in evaluation mode; the side of its input is "image_size" of the settings.

    Raises:
        InputError: no such file, one that holds no E_F and head, or other sizes than the settings say.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: expected the weights of a decomposer (bundles/dgm trains one), there are none")
    state = {name: tensor for name, tensor in _read(path).items() if name.split(".")[0] in PARTS}
    settings = read_model_settings(path)
    network = AbnormalityNetwork(settings["base_width"], settings["num_res_blocks"])
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        raise InputError(f"{path}: expected E_F and head of a decomposer as configured, got: {lines[1]}") from error
    return network.to(device).eval()


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        if str(path).endswith(".safetensors"):
            with safe_open(path, framework="pt") as file:
                names = [name for name in list(file.keys()) if name.split(".")[0] in PARTS]
                return {name: file.get_tensor(name) for name in names}
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        if not isinstance(state, dict):
            raise ValueError("no state dict")
        return state
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise InputError(f"{path}: expected weights of a decomposer, got: {str(error).splitlines()[0]}") from error
    except Exception as error:  # what unpickling refuses comes in many kinds
        raise InputError(f"{path}: expected weights of a decomposer, the file cannot be read") from error


def abnormality_probability(network: nn.Module, image: Tensor) -> Tensor:
    """Abnormality probability of radiographs.

    Args:
        network: an :class:`AbnormalityNetwork` in evaluation mode.
        image: z, (B, 1, S, S) in [-1, 1] on its device.

    Returns:
        float32 (B,) in [0, 1].
    """
    with torch.inference_mode():
        return torch.sigmoid(network(image).float())[:, 0]
