"""Trained weights as a bundle's training writes them, ready for monai_dgm.engines.shipping."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from gpu.decomposer import NETWORK, make_decomposer
from monai_dgm.engines.weights import read_state_dict, save_weights
from monai_dgm.networks.decomposer import Decomposer
from monai_dgm.networks.dgm import DGM


def sharpen_mask(network: DGM, gain: float, offset: float) -> None:
    """Replace the mask's logit L by gain (L - offset), in place: D_F's output layer gives half of L."""
    with torch.no_grad():
        output = network.residue_decoder.output
        output.weight.mul_(gain)
        output.bias.mul_(gain).sub_(gain * offset / 2)


def export(arguments: argparse.Namespace) -> None:
    """Write a trained decomposer as ``model.pt`` with its settings, as a bundle's training does."""
    network = make_decomposer(None)
    network.load_state_dict(read_state_dict(arguments.weights_file))
    sharpen_mask(network, arguments.mask_gain, arguments.mask_offset)
    folder = Path(arguments.output)
    folder.mkdir(parents=True, exist_ok=True)
    decomposer = Decomposer(**NETWORK, head_smoothing=arguments.head_smoothing)
    state = {**decomposer.state_dict(), **Decomposer.from_dgm(network).state_dict()}
    save_weights(state, folder / "model.pt")
    note = json.loads(Path(arguments.weights_file).with_suffix(".json").read_text())
    settings = {
        "image_size": arguments.size, **NETWORK, "trained_on": arguments.trained_on, "fold": arguments.fold,
        "steps": note["steps"], "images_seen": note["images"], "seconds": note["seconds"],
        "batch_size": arguments.batch_size, "learning_rate": arguments.lr,
        "mask_gain": arguments.mask_gain, "mask_offset": arguments.mask_offset,
        "head_smoothing": arguments.head_smoothing, "supervision": arguments.supervision,
    }  # fmt: skip
    (folder / "model.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(settings))


def export_detector(arguments: argparse.Namespace) -> None:
    """Write a detector on [image] as ``model.pt`` with its settings, as a bundle's training does."""
    state = read_state_dict(arguments.weights_file)
    note = json.loads(Path(arguments.weights_file).with_suffix(".json").read_text())
    if note["channels"] != ["image"]:
        raise ValueError(f"{arguments.weights_file}: expected a detector on [image], got {note['channels']}")
    folder = Path(arguments.output)
    folder.mkdir(parents=True, exist_ok=True)
    save_weights({name: v.float() if v.is_floating_point() else v for name, v in state.items()}, folder / "model.pt")
    settings = {
        "channels": note["channels"], "backbone": note["backbone"], "width": note["width"], "fpn_channels": 128,
        "image_size": arguments.size, "cross_fitted": False, "decomposer_sha256": None,
        "trained_on": arguments.trained_on, "fold": arguments.fold, "seed": arguments.seed,
        "batch_size": note["batch_size"], "steps": note["steps"], "images_seen": note["images"],
        "learning_rate": note["learning_rate"], "initial_weights_sha256": note["initial_weights_sha256"],
    }  # fmt: skip
    (folder / "model.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(settings))
