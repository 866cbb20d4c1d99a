"""The inference network gives the numbers of the DGM it was made from, in PyTorch, TorchScript and ONNX."""

from __future__ import annotations

import io
import itertools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from monai_dgm.networks.blocks import PhaseConv2d, UpsampleConv2d
from monai_dgm.networks.decomposer import (
    Decomposer,
    bake_upsampling,
    dgm_state_dict,
)
from monai_dgm.networks.dgm import DGM
from monai_dgm.networks.residue_system import OUTPUT_CHANNELS, split_prediction

SETTINGS = [
    {},
    {"normal_skips": True},
    {"normal_skips": True, "residue_skips": True},
    {"num_res_blocks": 2, "joint_decoder": False},
]
OTHER_SHAPES = [(1, 1, 64, 64), (3, 1, 96, 128)]


def trained_dgm(**settings: Any) -> DGM:
    """A DGM whose biases and norms are not at their initial values, as after a training."""
    network = DGM(**{"base_width": 3, "num_res_blocks": 1, **settings})
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network.eval()


def image(*shape: int) -> Tensor:
    return torch.rand(*shape) * 2 - 1


@pytest.mark.parametrize("settings", SETTINGS)
def test_outputs_are_those_of_the_dgm_in_the_named_order(settings: dict[str, Any]) -> None:
    dgm = trained_dgm(**settings)
    x = image(2, 1, 64, 96)
    with torch.no_grad():
        expected, prediction = dgm(x), Decomposer.from_dgm(dgm)(x)
    assert prediction.shape == (2, 3, 64, 96)
    assert OUTPUT_CHANNELS == ("normal", "residue", "abnormality_probability")
    torch.testing.assert_close(prediction[:, 0:1], expected["normal"], rtol=0, atol=1e-5)
    torch.testing.assert_close(prediction[:, 1:2], expected["residue"], rtol=0, atol=1e-5)
    probability = 1 / (1 + torch.exp(-expected["abnormality_logit"][:, 0]))
    for row in range(0, 64, 21):
        torch.testing.assert_close(prediction[:, 2, row, row], probability)
    assert prediction[:, 2].flatten(1).std(dim=1).max() < 1e-6


def test_split_prediction_names_the_channels() -> None:
    prediction = torch.randn(2, 3, 4, 4)
    prediction[:, 2] = torch.tensor([0.25, 0.75])[:, None, None]
    parts = split_prediction(prediction)
    assert tuple(parts) == OUTPUT_CHANNELS
    assert torch.equal(parts["normal"], prediction[:, :1]) and torch.equal(parts["residue"], prediction[:, 1:2])
    assert parts["abnormality_probability"].tolist() == [0.25, 0.75]


def test_making_one_leaves_the_dgm_as_it_was_and_shares_nothing_with_it() -> None:
    dgm = trained_dgm()
    before = {name: value.clone() for name, value in dgm.state_dict().items()}
    decomposer = Decomposer.from_dgm(dgm)
    assert any(isinstance(module, UpsampleConv2d) for module in dgm.modules())
    with torch.no_grad():
        for parameter in decomposer.parameters():
            parameter.zero_()
    assert all(torch.equal(value, before[name]) for name, value in dgm.state_dict().items())


def test_nothing_is_left_to_fold_and_no_joint_decoder() -> None:
    decomposer = Decomposer.from_dgm(trained_dgm())
    assert not decomposer.training
    assert not any(isinstance(module, UpsampleConv2d) for module in decomposer.modules())
    assert sum(isinstance(module, PhaseConv2d) for module in decomposer.modules()) == 10
    assert not any("joint" in name for name in decomposer.state_dict())
    assert bake_upsampling(decomposer) is decomposer  # nothing to do the second time


@pytest.mark.parametrize("settings", SETTINGS)
def test_state_dict_round_trip(settings: dict[str, Any]) -> None:
    dgm = trained_dgm(**settings)
    network = {"base_width": 3, "num_res_blocks": 1, **settings}
    network.pop("joint_decoder", None)
    fresh = Decomposer(**network).eval()
    fresh.load_state_dict(Decomposer.from_dgm(dgm).state_dict())
    x = image(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(fresh(x), Decomposer.from_dgm(dgm)(x))


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_decomposers_weights_are_those_of_the_dgm_again(settings: dict[str, Any]) -> None:
    dgm, other = trained_dgm(**settings), trained_dgm(**settings)
    for state in (Decomposer.from_dgm(dgm).state_dict(), dgm.state_dict()):
        again = dgm_state_dict(state, other)
        for name, value in dgm.state_dict().items():
            kept = name.startswith("joint_decoder.") and name not in state
            torch.testing.assert_close(again[name], other.state_dict()[name] if kept else value, msg=name)
    for wrong in ({"base_width": 2}, {"num_res_blocks": 3}):
        with pytest.raises(ValueError, match="expected"):
            dgm_state_dict(Decomposer.from_dgm(dgm).state_dict(), trained_dgm(**{**settings, **wrong}))


def test_other_sides_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        Decomposer.from_dgm(trained_dgm())(image(1, 1, 200, 200))


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("how", ["script", "trace"])
def test_torchscript_gives_the_same_numbers(settings: dict[str, Any], how: str) -> None:
    decomposer = Decomposer.from_dgm(trained_dgm(**settings))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.jit.script(decomposer) if how == "script" else torch.jit.trace(decomposer, image(2, 1, 64, 64))
        file = io.BytesIO()
        torch.jit.save(exported, file)
        file.seek(0)
        loaded = torch.jit.load(file)
    for shape in [(2, 1, 64, 64), *OTHER_SHAPES]:
        x = image(*shape)
        with torch.no_grad():
            torch.testing.assert_close(loaded(x), decomposer(x), rtol=0, atol=1e-4)


def export_traced(network: Decomposer, path: Path) -> None:
    options = {"dynamo": False, "dynamic_axes": {"image": {0: "batch", 2: "rows", 3: "columns"}}}
    torch.onnx.export(network, (image(2, 1, 64, 64),), path, input_names=["image"], opset_version=17, **options)


def export_scripted(network: Decomposer, path: Path) -> None:  # what `python -m monai.bundle onnx_export` does
    export_traced(torch.jit.script(network), path)


def export_with_dynamo(network: Decomposer, path: Path) -> None:
    batch, rows, columns = (torch.export.Dim(name, min=2, max=16) for name in ("batch", "rows", "columns"))
    shapes = {"image": {0: batch, 2: 32 * rows, 3: 32 * columns}}
    torch.onnx.export(network, (image(2, 1, 64, 64),), path, input_names=["image"], dynamo=True, dynamic_shapes=shapes)


@pytest.mark.parametrize(
    ("export", "skips"),
    [
        *itertools.product([export_traced, export_scripted], [False, True]),
        pytest.param(export_with_dynamo, True, marks=pytest.mark.slow),
    ],
)
def test_onnx_gives_the_same_numbers(export: Callable[[Decomposer, Path], None], skips: bool, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    decomposer = Decomposer.from_dgm(trained_dgm(normal_skips=skips, residue_skips=skips))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export(decomposer, tmp_path / "decomposer.onnx")
    session = runtime.InferenceSession(tmp_path / "decomposer.onnx", providers=["CPUExecutionProvider"])
    for shape in [(2, 1, 64, 64), *OTHER_SHAPES]:
        x = image(*shape)
        (ours,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(ours, decomposer(x).numpy(), rtol=0, atol=1e-4)
