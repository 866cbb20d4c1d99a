"""What a decomposer's training starts from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from monai_dgm.engines.training.initial_weights import initialise_decomposer, parameter_groups
from monai_dgm.engines.weights import save_weights
from monai_dgm.errors import InputError
from monai_dgm.networks.classifiers import build_classifier
from monai_dgm.networks.decomposer import Decomposer
from monai_dgm.networks.dgm import DGM

OWN = ("residue_encoder.", "abnormality_head.")


def write_classifier(folder: Path, architecture: str = "residue_encoder_small") -> tuple[Path, nn.Module]:
    classifier = build_classifier(architecture)
    with torch.no_grad():  # statistics of some images, and a head that says something
        classifier(torch.rand(4, 1, 32, 32))
        for parameter in classifier.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    save_weights(classifier.state_dict(), folder / "model.pt")
    (folder / "model.json").write_text(json.dumps({"architecture": architecture, "channels": ["image"]}))
    return folder / "model.pt", classifier.eval()


def test_e_f_and_head_give_the_classifiers_logits_and_the_rest_is_the_decomposers(tmp_path: Path) -> None:
    weights, classifier = write_classifier(tmp_path)
    earlier = DGM(base_width=16)
    save_weights(Decomposer.from_dgm(earlier).state_dict(), tmp_path / "earlier.pt")
    network = DGM(base_width=16)
    joint = {name: value.clone() for name, value in network.state_dict().items() if name.startswith("joint_decoder.")}
    assert initialise_decomposer(network, tmp_path / "earlier.pt", weights) is network
    image = torch.rand(2, 1, 64, 64) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(network(image)["abnormality_logit"], classifier(image), rtol=1e-4, atol=1e-5)
    for name, value in network.state_dict().items():
        if not name.startswith(OWN):
            torch.testing.assert_close(value, joint.get(name, earlier.state_dict()[name]), msg=name)


def test_without_weights_nothing_changes() -> None:
    network = DGM(base_width=2, num_res_blocks=1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    initialise_decomposer(network)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_weights_that_do_not_fit_are_refused_in_one_line(tmp_path: Path) -> None:
    weights, _ = write_classifier(tmp_path)
    narrow = DGM(base_width=2, num_res_blocks=1)
    save_weights(Decomposer.from_dgm(DGM(base_width=4, num_res_blocks=1)).state_dict(), tmp_path / "wide.pt")
    part = {name: value for name, value in narrow.state_dict().items() if name.startswith("normal_decoder.")}
    save_weights(part, tmp_path / "part.pt")
    save_weights({**narrow.state_dict(), "age": torch.zeros(1)}, tmp_path / "more.pt")
    cases = [
        ({"residue_encoder_weights": weights}, r"model\.pt: expected E_F of the width"),
        ({"residue_encoder_weights": tmp_path / "none.pt"}, r"none\.pt: expected weights of a classifier"),
        ({"residue_encoder_weights": tmp_path / "wide.pt"}, r"wide\.pt: expected weights of a classifier"),
        ({"decomposer_weights": tmp_path / "wide.pt"}, r"wide\.pt: expected .* of shape \(.*\), got \("),
        ({"decomposer_weights": tmp_path / "part.pt"}, r"part\.pt: expected the parts of a decomposer"),
        ({"decomposer_weights": tmp_path / "more.pt"}, r"more\.pt: expected the parts of a decomposer, age"),
        ({"decomposer_weights": tmp_path / "none.pt"}, r"none\.pt: expected"),
    ]
    for given, words in cases:
        with pytest.raises(InputError, match=words) as error:
            initialise_decomposer(narrow, **given)
        assert "\n" not in str(error.value)


def test_e_f_and_head_have_their_own_learning_rate() -> None:
    network = DGM(base_width=2, num_res_blocks=1)
    wrapped = nn.ModuleDict({"module": network})
    whole = parameter_groups(network, 0.1, 1.0)
    assert len(whole) == 1 and len(whole[0]["params"]) == len(list(network.parameters()))
    for module in (network, wrapped):
        others, own = parameter_groups(module, 0.1, 0.25)
        expected = {id(value) for name, value in network.named_parameters() if name.startswith(OWN)}
        assert own["lr"] == 0.025 and "lr" not in others
        assert {id(value) for value in own["params"]} == expected
        assert len(own["params"]) + len(others["params"]) == len(list(network.parameters()))
    with pytest.raises(ValueError, match=">= 0"):
        parameter_groups(network, 0.1, -1.0)
