"""Grad-CAM: it is where the evidence is, in the units of the logit, at the side of the images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from monai_dgm.engines.classification.class_activation import ClassActivation, load_class_activations
from monai_dgm.engines.weights import save_weights
from monai_dgm.errors import InputError
from monai_dgm.networks.classifiers import build_classifier
from monai_dgm.networks.decomposer import Decomposer

SIDE = 64


class Bright(nn.Module):
    """The logit is four times the mean brightness above 0, less ten."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ReLU()
        self.out = nn.Linear(1, 1)
        nn.init.constant_(self.out.weight, 4.0)
        nn.init.constant_(self.out.bias, -10.0)

    def forward(self, image: Tensor) -> Tensor:
        return self.out(self.features(image).mean(dim=(2, 3)))


def spots() -> Tensor:
    images = torch.full((2, 1, SIDE, SIDE), -1.0)
    images[0, 0, 10:20, 30:40] = 1.0
    images[1, 0, 50:60, 5:15] = 0.5
    return images


def test_the_map_is_the_evidence_and_images_compare() -> None:
    """The gradient at a pixel is 4 / S^2; a spot half as bright has half the evidence."""
    maps = ClassActivation(Bright())(spots())
    np.testing.assert_allclose(maps, torch.relu(spots())[:, 0] * 4 / SIDE**2, atol=1e-7)
    assert maps.dtype == np.float32 and maps[0].max() == pytest.approx(2 * maps[1].max())


def test_images_are_shown_at_the_side_of_the_network() -> None:
    seen: list[tuple[int, ...]] = []
    network = Bright()
    network.features.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    maps = ClassActivation(network, size=32)(spots())
    assert seen == [(2, 1, 32, 32)] and maps.shape == (2, SIDE, SIDE)
    for one, image in zip(maps, spots(), strict=True):
        row, col = np.unravel_index(one.argmax(), one.shape)
        assert image[0, row, col] > 0


def test_of_a_decomposers_head_it_is_the_weighted_sum_of_its_features() -> None:
    """Of global pooling and one neuron Grad-CAM is the class activation map; the weights are those of the moment."""
    torch.manual_seed(0)
    decomposer = Decomposer(2, 1).eval().requires_grad_(False)
    maps = load_class_activations(decomposer)
    assert list(maps) == ["grad_cam_head"]
    with torch.inference_mode():  # as metrics may be computed
        images = torch.rand(2, 1, SIDE, SIDE) * 2 - 1
        found = maps["grad_cam_head"](images)
        code = decomposer.residue_encoder(images)[-1]
    weight = decomposer.abnormality_head.linear.weight[0]
    expected = torch.relu(torch.einsum("k,bkyx->byx", weight, code))[:, None] / code[0, 0].numel()
    assert expected.max() > 0
    shown = nn.functional.interpolate(expected, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    np.testing.assert_allclose(found, shown[:, 0], rtol=1e-3, atol=1e-6)
    with torch.no_grad():
        decomposer.abnormality_head.linear.weight.mul_(2)
    np.testing.assert_allclose(maps["grad_cam_head"](images), 2 * found, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("architecture", ["densenet_small", "resnet18", "residue_encoder_small"])
def test_every_kind_of_classifier_has_one(architecture: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings = {"architecture": architecture, "channels": ["image"], "image_size": SIDE, "task": "abnormality"}
    (tmp_path / "model.json").write_text(json.dumps(settings))
    save_weights(build_classifier(architecture).state_dict(), tmp_path / "model.pt")
    maps = load_class_activations(None, tmp_path / "model.pt")
    found = maps["grad_cam_classifier"](torch.rand(2, 1, 96, 96) * 2 - 1)
    assert found.shape == (2, 96, 96) and np.isfinite(found).all() and found.min() >= 0


def test_what_has_no_map_is_left_out_or_an_error(tmp_path: Path) -> None:
    assert load_class_activations(nn.Identity(), tmp_path / "model.pt") == {}
    (tmp_path / "model.json").write_text(json.dumps({"channels": ["image", "residue"], "image_size": SIDE}))
    save_weights(build_classifier("densenet_small", 2).state_dict(), tmp_path / "model.pt")
    assert load_class_activations(None, tmp_path / "model.pt") == {}
    with pytest.raises(InputError, match="layer: expected the last layer"):
        ClassActivation(nn.Identity())
