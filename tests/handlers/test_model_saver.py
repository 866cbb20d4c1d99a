"""The best model by validation: what is written, when, and that it is the network that infers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, State

from monai_dgm.engines.weights import load_residue_system, load_weights, read_model_settings
from monai_dgm.errors import InputError
from monai_dgm.handlers.history import TrainingHistory
from monai_dgm.handlers.model_saver import ModelSaver
from monai_dgm.networks.decomposer import Decomposer
from monai_dgm.networks.dgm import DGM
from monai_dgm.networks.residue_system import split_prediction

SETTINGS = {"image_size": 32, "base_width": 2, "num_res_blocks": 1, "normal_skips": True, "residue_skips": False}


def make_dgm() -> DGM:
    return DGM(base_width=2, num_res_blocks=1, normal_skips=True).eval()


class Validator:
    """Validates as MONAI's evaluator does: a metric an epoch, the best one remembered."""

    def __init__(self, saver: ModelSaver) -> None:
        self.engine = Engine(lambda *_: None)
        self.engine.state.best_metric, self.engine.state.best_metric_epoch = -1.0, -1
        self.engine.state.key_metric_name = "decomposition"
        saver.attach(self.engine)
        self.saver = saver

    def __call__(self, epoch: int, score: float, **metrics: Any) -> None:
        state: State = self.engine.state
        state.epoch, state.metrics = epoch, {"decomposition": score, **metrics}
        if score > state.best_metric:
            state.best_metric, state.best_metric_epoch = score, epoch
        self.saver(self.engine)


@pytest.fixture
def history() -> TrainingHistory:
    return TrainingHistory(None)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_saved_network_gives_what_the_dgm_gives(tmp_path: Path, history: TrainingHistory, suffix: str) -> None:
    dgm, path = make_dgm(), tmp_path / "models" / f"model.{suffix}"
    Validator(ModelSaver(dgm, path, history, SETTINGS))(1, 0.5)
    settings = read_model_settings(path)
    assert {name: settings[name] for name in SETTINGS} == SETTINGS
    network = load_residue_system(path)  # by the settings beside it
    assert isinstance(network, Decomposer)
    image = torch.rand(2, 1, 32, 32) * 2 - 1
    with torch.no_grad():
        parts, outputs = split_prediction(network(image)), dgm(image)
    torch.testing.assert_close(parts["normal"], outputs["normal"], rtol=0, atol=1e-5)
    torch.testing.assert_close(parts["residue"], outputs["residue"], rtol=0, atol=1e-5)


def test_only_a_better_epoch_replaces_the_model(tmp_path: Path, history: TrainingHistory) -> None:
    dgm, path = make_dgm(), tmp_path / "model.pt"
    validate = Validator(ModelSaver(dgm, path, history, SETTINGS))
    saved = []
    for epoch, score in enumerate((0.3, 0.2, 0.3, 0.6), start=1):
        with torch.no_grad():
            dgm.abnormality_head.get_parameter(next(iter(dict(dgm.abnormality_head.named_parameters())))).fill_(epoch)
        validate(epoch, score)
        weights = torch.load(path, weights_only=True)
        saved.append(next(float(v.flatten()[0]) for name, v in weights.items() if name.startswith("abnormality_head")))
    assert saved == [1, 1, 1, 4]


def test_a_metric_that_is_no_number_never_counts_as_better(tmp_path: Path, history: TrainingHistory) -> None:
    Validator(ModelSaver(make_dgm(), tmp_path / "model.pt", history))(1, float("nan"))
    assert not (tmp_path / "model.pt").exists() and not (tmp_path / "model.json").exists()


def test_figures_go_into_the_history_at_the_trainers_iteration(tmp_path: Path, history: TrainingHistory) -> None:
    saver, trainer = ModelSaver(make_dgm(), tmp_path / "model.pt", history), Engine(lambda *_: None)
    history.attach(trainer)
    trainer.state.iteration, trainer.state.epoch = 40, 4
    Validator(saver)(1, 0.5, head_auc=0.75, metrics={"not": "a number"})
    assert history.rows == [{"iteration": 40, "epoch": 4, "validation/decomposition": 0.5, "validation/head_auc": 0.75}]


def test_a_failed_write_leaves_the_last_model_whole(
    tmp_path: Path, history: TrainingHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.pt"
    validate = Validator(ModelSaver(make_dgm(), path, history, SETTINGS))
    validate(1, 0.1)
    before, settings = path.read_bytes(), json.loads((tmp_path / "model.json").read_text())
    assert settings.items() >= SETTINGS.items() and settings["architecture"] == "decomposer"

    def full(_: object, partial: Path) -> None:
        Path(partial).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match="model.pt: expected a folder with room to write it"):
        validate(2, 0.2)
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.json", "model.pt"]
    assert json.loads((tmp_path / "model.json").read_text()) == settings


def test_another_network_is_saved_as_it_is(tmp_path: Path, history: TrainingHistory) -> None:
    network, path = torch.nn.Linear(2, 1), tmp_path / "model.pt"
    Validator(ModelSaver(network, path, history))(1, 0.5)
    other = load_weights(torch.nn.Linear(2, 1), path)
    assert torch.equal(other.get_parameter("weight"), network.weight)


def test_the_last_weights_are_kept_where_they_are_asked_for(tmp_path: Path, history: TrainingHistory) -> None:
    dgm, path = make_dgm(), tmp_path / "model.pt"
    validate = Validator(ModelSaver(dgm, path, history, SETTINGS, keep="last"))
    validate(1, 0.9)
    best = path.read_bytes()
    with torch.no_grad():
        dgm.abnormality_head.linear.bias.fill_(3.0)
    validate(2, 0.1)
    assert path.read_bytes() != best
    with pytest.raises(ValueError, match="keep: expected 'best' or 'last', got 'first'"):
        ModelSaver(dgm, path, history, keep="first")
