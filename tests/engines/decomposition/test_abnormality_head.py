"""E_F and the head alone: the numbers of the whole model, from any file that holds them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from monai_dgm.engines.decomposition.abnormality_head import abnormality_probability, load_abnormality_network
from monai_dgm.engines.weights import save_weights
from monai_dgm.errors import InputError
from monai_dgm.networks.decomposer import Decomposer
from monai_dgm.networks.dgm import DGM
from monai_dgm.networks.residue_system import split_prediction

SIZE = {"base_width": 2, "num_res_blocks": 1}


def make_dgm() -> DGM:
    dgm = DGM(**SIZE, normal_skips=True).eval()
    nn.init.normal_(dgm.abnormality_head.linear.weight)
    return dgm


def write(network: nn.Module, path: Path, **settings: Any) -> Path:
    save_weights(network.state_dict(), path)
    path.with_suffix(".json").write_text(json.dumps({"image_size": 32, **SIZE, **settings}))
    return path


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("whole", [True, False])
def test_probability_is_that_of_the_whole_model(tmp_path: Path, suffix: str, whole: bool) -> None:
    dgm, image = make_dgm(), torch.rand(3, 1, 64, 64) * 2 - 1
    path = write(dgm if whole else Decomposer.from_dgm(dgm), tmp_path / f"model.{suffix}")
    network = load_abnormality_network(path)
    with torch.no_grad():
        expected = split_prediction(Decomposer.from_dgm(dgm)(image))["abnormality_probability"]
        logit = dgm(image)["abnormality_logit"]
        torch.testing.assert_close(network(image), logit)
    found = abnormality_probability(network, image)
    torch.testing.assert_close(found, expected)
    assert found.shape == (3,) and found.std() > 0 and not network.training


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_what_is_no_decomposer_is_one_line(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model.{suffix}"
    with pytest.raises(InputError, match="expected a file of trained weights, there is none"):
        load_abnormality_network(path)
    write(nn.Linear(2, 2), path)
    with pytest.raises(InputError, match=rf"model\.{suffix}: expected E_F and head of a decomposer as configured"):
        load_abnormality_network(path)
    write(Decomposer.from_dgm(make_dgm()), path, base_width=4)
    with pytest.raises(InputError, match="expected E_F and head"):
        load_abnormality_network(path)
    path.write_bytes(b"no weights at all")
    with pytest.raises(InputError, match="expected weights of a decomposer") as caught:
        load_abnormality_network(path)
    assert "\n" not in str(caught.value)
