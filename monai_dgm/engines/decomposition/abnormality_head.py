"""The abnormality head by itself: triage with E_F alone (paper, sections 4 and 5.7).

What it costs against a decomposition: ``python benchmarks/classifier_speed.py --parts head``.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor, nn

from monai_dgm.engines.weights import for_inference, read_model_settings, read_state_dict
from monai_dgm.errors import InputError
from monai_dgm.networks.abnormality import PARTS, AbnormalityNetwork

__all__ = ["abnormality_probability", "load_abnormality_network"]


def load_abnormality_network(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> AbnormalityNetwork:
    """E_F and the head from the weights of a Decomposer or a DGM, without reading the rest.

    Args:
        path: ``.pt`` or ``.safetensors``, with its settings in the JSON file next to it.
        device: to put them on.

    Returns:
        the network in evaluation mode; the side of its input is "image_size" of the settings.

    Raises:
        InputError: no such file, one that holds no E_F and head, or other sizes than the settings say.
    """
    state = read_state_dict(path, "weights of a decomposer", PARTS | {"head_smoothing"})
    settings = read_model_settings(path)
    network = AbnormalityNetwork(
        settings["base_width"],
        settings["num_res_blocks"],
        residue_encoder=settings["residue_encoder"],
        head_smoothing=settings["head_smoothing"],
    )
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        raise InputError(f"{path}: expected E_F and head of a decomposer as configured, got: {lines[1]}") from error
    return for_inference(network, device)


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
