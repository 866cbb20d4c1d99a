"""Small models of every kind, written as a training writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from monai_dgm.engines.lungs.upright import UPRIGHT_FILE, UprightNetwork, save_upright_check
from monai_dgm.engines.weights import save_weights
from monai_dgm.networks.classifiers import build_classifier
from monai_dgm.networks.decomposer import Decomposer
from monai_dgm.networks.detector import build_detector
from monai_dgm.networks.lung_segmentation import build_lung_network

SIZE = 64
DECOMPOSER = {"base_width": 4, "num_res_blocks": 1, "normal_skips": True, "residue_skips": True}


def write_model(folder: Path, network: nn.Module, settings: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    path = folder / "model.safetensors"
    save_weights(network.state_dict(), path)
    path.with_suffix(".json").write_text(json.dumps({"image_size": SIZE, **settings}))
    return path


def write_models(folder: Path) -> dict[str, Path]:
    """Files of weights by the kind of the model: a decomposer and three that look at the image alone."""
    torch.manual_seed(3)
    detector = {"channels": ["image"], "backbone": "resnet18", "width": 0.125, "fpn_channels": 16}
    lungs = {"architecture": "unet", "network_settings": {"width": 4, "depth": 3}, "image_size": 32}
    classifier = {"architecture": "densenet_small", "channels": ["image"], "task": "opacity"}
    paths = {
        "decomposer": write_model(folder / "decomposer", Decomposer(**DECOMPOSER), DECOMPOSER),
        "lungs": write_model(folder / "lungs", build_lung_network("unet", {"width": 4, "depth": 3}), lungs),
        "detector": write_model(folder / "detector", build_detector({"image_size": SIZE, **detector}), detector),
        "classifier": write_model(folder / "classifier", build_classifier("densenet_small", 1), classifier),
    }
    upright = UprightNetwork(width=4).eval()
    save_upright_check(paths["lungs"].with_name(UPRIGHT_FILE), upright, (-0.2, -0.2), {"width": 4})
    return paths
