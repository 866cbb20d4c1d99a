"""The seam: any network that follows the protocol is built, saved, loaded and evaluated like the decomposer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from monai_dgm.engines.decomposition.evaluator import as_prediction
from monai_dgm.engines.weights import for_inference, load_residue_system, save_weights
from monai_dgm.errors import InputError
from monai_dgm.networks.decomposer import Decomposer
from monai_dgm.networks.residue_system import (
    OUTPUT_CHANNELS,
    ResidueSystem,
    build_residue_system,
    join_prediction,
    split_prediction,
)


class Blurring(ResidueSystem, architecture="blurring_of_a_test"):
    """An outside system: its normal image is a blurred radiograph, and it gives no probability."""

    def __init__(self, kernel: int = 3) -> None:
        super().__init__()
        self.blur = nn.Conv2d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        normal = self.blur(image)
        return join_prediction(normal, image - normal)

    def network_settings(self) -> dict[str, Any]:
        return {"kernel": self.blur.kernel_size[0]}


def write(network: ResidueSystem, path: Path, **settings: Any) -> Path:
    save_weights(network.state_dict(), path)
    own = {"architecture": network.architecture, "network_settings": network.network_settings(), "image_size": 32}
    path.with_suffix(".json").write_text(json.dumps({**own, **settings}))
    return path


@pytest.mark.parametrize("network", [Blurring(5), Decomposer(4, 1, True, False)], ids=lambda n: n.architecture)
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_system_comes_back_from_its_files(network: ResidueSystem, suffix: str, tmp_path: Path) -> None:
    loaded = load_residue_system(write(network, tmp_path / f"model.{suffix}"))
    image = torch.rand(2, 1, 32, 32)
    assert type(loaded) is type(network) and not loaded.training
    assert loaded.network_settings() == network.network_settings()
    with torch.inference_mode():
        expected = for_inference(network, "cpu")(image)
        torch.testing.assert_close(loaded(image), expected, rtol=0, atol=0, equal_nan=True)
    json.dumps(loaded.network_settings())


def test_settings_of_version_0_1_name_no_architecture() -> None:
    flat = {"image_size": 64, "base_width": 4, "num_res_blocks": 1, "normal_skips": True, "residue_skips": False}
    network = build_residue_system(flat)
    assert isinstance(network, Decomposer)
    paper = {"composition": "additive", "residue_encoder": "paper", "num_categories": 0, "head_smoothing": 0.0}
    assert network.network_settings() == {**{name: flat[name] for name in flat if name != "image_size"}, **paper}


def test_channels_are_joined_and_taken_apart_again() -> None:
    normal, residue, probability = torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4, 4), torch.tensor([0.2, 0.7])
    prediction = join_prediction(normal, residue, probability)
    parts = split_prediction(prediction)
    assert prediction.shape == (2, 3, 4, 4) and tuple(parts) == OUTPUT_CHANNELS
    assert torch.equal(parts["normal"], normal) and torch.equal(parts["residue"], residue)
    assert torch.equal(parts["abnormality_probability"], probability)
    assert split_prediction(join_prediction(normal, residue))["abnormality_probability"].isnan().all()


def test_training_networks_without_a_head_are_evaluated_too() -> None:
    outputs = {"normal": torch.zeros(2, 1, 4, 4), "residue": torch.ones(2, 1, 4, 4)}
    prediction = as_prediction(outputs)
    assert torch.equal(prediction[:, 1], torch.ones(2, 4, 4)) and prediction[:, 2].isnan().all()


@pytest.mark.parametrize("architecture", ["no_such_network", "os", "dgm", "../decomposer", "torch.nn", 3, None])
def test_settings_cannot_name_anything_else(architecture: Any, tmp_path: Path) -> None:
    path = write(Blurring(), tmp_path / "model.pt", architecture=architecture)
    with pytest.raises(InputError, match=r"model\.json: architecture: expected a residue system"):
        load_residue_system(path)


def test_arguments_that_a_system_does_not_take_are_one_line(tmp_path: Path) -> None:
    path = write(Blurring(), tmp_path / "model.pt", network_settings={"width": 3})
    with pytest.raises(InputError, match=r"blurring_of_a_test.*expected its network_settings"):
        load_residue_system(path)


def test_an_architecture_has_one_class() -> None:
    with pytest.raises(TypeError, match="taken by"):

        class Another(ResidueSystem, architecture="decomposer"):
            pass
