"""The classification bundle: training, resuming, figures, the head, files, and what the platform's tools ask for."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, ckpt_export, verify_net_in_out

from monai_dgm.data.fingerprints import hash_file
from monai_dgm.engines.training.initial_weights import initialise_decomposer
from monai_dgm.engines.weights import load_weights, read_model_settings
from monai_dgm.handlers.history import read_history
from monai_dgm.networks.classifiers import build_classifier
from monai_dgm.networks.dgm import DGM
from tests.bundles.small_trainings import (
    Run,
    Tiny,
    Trained,
    check_train_workflow,
    files,
    metrics,
    one_line,
    small_network_training,
    train,
)
from tests.decomposers import write_decomposer


@pytest.fixture(scope="module")
def root(repository: Path) -> Path:
    return repository / "bundles" / "opacity_classification"


@pytest.fixture(scope="module")
def tiny(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """tiny(output_dir, **others): overrides of train.json that make an iteration take milliseconds."""
    decomposer = write_decomposer(tmp_path_factory.mktemp("decomposer"))
    own = {"decomposer_path": decomposer, "validation_fraction": 0.4, "lr_milestones": "[1]"}
    return lambda output_dir, **others: small_network_training(output_dir, sample_dir, **{**own, **others})


@pytest.fixture(scope="module")
def trained(run: Run, tiny: Tiny, tmp_path_factory: Any) -> Trained:
    """One training for all tests: read its files, do not write into its folder."""
    return train(run, tiny(tmp_path_factory.mktemp("classifier")))


def scores(folder: Path, part: str) -> list[dict[str, str]]:
    with open(folder / "report" / f"scores_{part}.csv", newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_training_writes_weights_scores_and_figures(trained: Trained) -> None:
    said = trained.finished.stdout
    assert f"metrics: {trained.folder / 'report' / 'metrics.json'}" in said and "not a medical device" in said
    assert "residues: of " in said and "was not trained on this split" in said + trained.finished.stderr
    history = read_history(trained.folder / "history.jsonl")
    assert [row["iteration"] for row in history] == [1, 2, 3, 4, 5, 6]
    assert all("validation/auc" in row and "validation/loss" in row for row in history[2::3])
    told = metrics(trained.folder)
    validation, test = scores(trained.folder, "validation"), scores(trained.folder, "test")
    assert told["threshold"] in [float(row["score"]) for row in validation]
    assert not {row["patient_id"] for row in validation} & {row["patient_id"] for row in test}
    assert all((row["label"] == "1") == (row["category"] == "lung_opacity") for row in validation + test)
    settings = read_model_settings(trained.weights)
    assert settings["channels"] == ["image", "residue"] and settings["task"] == "opacity"
    assert settings["threshold"] == told["threshold"] and "auc" in settings["metrics"]
    assert not [path for path in trained.folder.rglob(".partial-*") if "cache" not in path.parts]
    load_weights(build_classifier("densenet_small", 2), trained.weights)


def test_same_command_again_trains_no_further(run: Run, trained: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "again"
    shutil.copytree(trained.folder, folder)
    before = [(folder / name).read_bytes() for name in ("checkpoint.pt", "models/model.pt", "report/metrics.json")]
    finished = run("training", "train", **{**trained.overrides, "output_dir": folder, "ckpt_dir": folder / "models"})
    assert finished.returncode == 0 and "at iteration 6" in finished.stdout + finished.stderr
    after = [(folder / name).read_bytes() for name in ("checkpoint.pt", "models/model.pt", "report/metrics.json")]
    assert before == after


def test_an_interrupted_training_ends_with_the_same_bits(
    run: Run, tiny: Tiny, trained: Trained, tmp_path: Path
) -> None:
    assert run("training", "train", **tiny(tmp_path, max_epochs=1)).returncode == 0
    assert run("training", "train", **tiny(tmp_path)).returncode == 0
    one, other = (torch.load(p / "checkpoint.pt", weights_only=True) for p in (trained.folder, tmp_path))
    for part in ("network", "ema"):
        for name, tensor in one[part].items():
            assert torch.equal(tensor, other[part][name]), f"{part} {name}"
    assert one["optimizer"]["param_groups"] == other["optimizer"]["param_groups"]
    assert read_history(tmp_path / "history.jsonl") == read_history(trained.folder / "history.jsonl")
    assert scores(tmp_path, "test") == scores(trained.folder, "test")


def test_evaluating_gives_the_figures_of_the_training_and_leaves_the_model_alone(
    run: Run, trained: Trained, tmp_path: Path
) -> None:
    before = [trained.weights.read_bytes(), trained.weights.with_suffix(".json").read_bytes()]
    # neither size nor channels are given: they come from the settings beside the weights
    overrides = {k: v for k, v in trained.overrides.items() if k not in ("image_size", "output_dir")}
    assert run("evaluating", "train", "evaluate", **overrides, output_dir=tmp_path).returncode == 0
    assert metrics(tmp_path)["rows"] == metrics(trained.folder)["rows"]
    assert metrics(tmp_path)["threshold"] == metrics(trained.folder)["threshold"]
    assert before == [trained.weights.read_bytes(), trained.weights.with_suffix(".json").read_bytes()]
    assert not (tmp_path / "checkpoint.pt").exists()


def test_another_decomposer_is_refused_in_one_line(
    run: Run, trained: Trained, sample_dir: Path, tmp_path: Path
) -> None:
    other = write_decomposer(tmp_path / "other", seed=1)
    overrides = {**trained.overrides, "output_dir": tmp_path, "decomposer_path": other}
    finished = run("evaluating", "train", "evaluate", **overrides)
    assert finished.returncode == 1 and "the weights were trained with" in one_line(finished.stderr)
    image = next((sample_dir / "images").iterdir())
    given = {"dataset_dir": image, "ckpt_dir": trained.folder / "models", "decomposer_path": other}
    finished = run("run", "inference", **given, output_dir=tmp_path)
    assert finished.returncode == 1 and "the weights were trained with" in one_line(finished.stderr)


def test_image_alone_needs_no_decomposer_and_the_other_task_has_other_labels(
    run: Run, tiny: Tiny, tmp_path: Path
) -> None:
    overrides = tiny(tmp_path, decomposer_path=tmp_path / "none.pt", channels="['image']", task="abnormality")
    finished = run("training", "train", **{**overrides, "max_epochs": 1})
    assert finished.returncode == 0, finished.stderr
    assert all((row["label"] == "1") == (row["category"] != "normal") for row in scores(tmp_path, "test"))
    settings = read_model_settings(tmp_path / "models" / "model.pt")
    assert settings["decomposer_sha256"] is None and settings["channels"] == ["image"]
    missing = run("training", "train", **{**overrides, "channels": "['residue']", "output_dir": tmp_path / "two"})
    assert missing.returncode == 1 and "none.pt: expected" in one_line(missing.stderr)


def test_few_normals_with_twins(run: Run, tiny: Tiny, tmp_path: Path) -> None:
    own = {
        "max_normals": 3,
        "pseudo_healthy_prob": 0.5,
        "normal_fraction": 0.25,
        "max_epochs": 1,
        "task": "abnormality",
    }
    finished = run("training", "train", **tiny(tmp_path, **own))
    assert finished.returncode == 0, finished.stderr
    assert "with 3 images without abnormal to train on" in finished.stdout
    assert read_model_settings(tmp_path / "models" / "model.pt")["pseudo_healthy_prob"] == 0.5


def test_a_residue_encoder_learns_from_a_teacher(run: Run, tiny: Tiny, trained: Trained, tmp_path: Path) -> None:
    own = {"channels": "['image']", "task": "abnormality", "max_epochs": 1}
    assert run("training", "train", **tiny(tmp_path / "teacher", **own)).returncode == 0
    own |= {"architecture": "residue_encoder_small", "teacher_path": tmp_path / "teacher" / "models" / "model.pt"}
    finished = run("training", "train", **tiny(tmp_path / "pupil", **own))
    assert finished.returncode == 0, finished.stderr
    weights = tmp_path / "pupil" / "models" / "model.pt"
    settings = read_model_settings(weights)
    assert settings["architecture"] == "residue_encoder_small" and settings["teacher_weight"] == 0.7
    assert settings["teachers_sha256"] == [hash_file(own["teacher_path"])]
    initialise_decomposer(DGM(base_width=16), residue_encoder_weights=weights)
    refused = run("training", "train", **tiny(tmp_path / "two", **{**own, "teacher_path": trained.weights}))
    said = one_line(refused.stderr)
    assert refused.returncode == 1 and "expected a classifier for abnormality on ['image'], got one for opacity" in said


def test_head_alone_is_evaluated_as_any_classifier(run: Run, tiny: Tiny, tmp_path: Path) -> None:
    overrides = {k: v for k, v in tiny(tmp_path).items() if k != "image_size"}
    finished = run("evaluating", "train", "evaluate", "head", **overrides)
    assert finished.returncode == 0, finished.stderr
    told = metrics(tmp_path)
    assert told["settings"]["task"] == "abnormality" and told["settings"]["architecture"] == "abnormality_head"
    assert told["model"]["sha256"] and len(scores(tmp_path, "test")) == told["rows"][0]["num_images"]


def test_inference_of_one_file(run: Run, trained: Trained, root: Path, sample_dir: Path, tmp_path: Path) -> None:
    image = sorted((sample_dir / "images").iterdir())[0]
    overrides = {
        "dataset_dir": str(image),
        "ckpt_dir": str(trained.folder / "models"),
        "decomposer_path": str(trained.overrides["decomposer_path"]),
        "output_dir": str(tmp_path),
    }
    finished = run("run", "inference", **overrides)
    assert finished.returncode == 0, finished.stderr
    told = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    (result,) = told["images"]
    assert result["called"] in ("lung_opacity", "no_lung_opacity") and told["threshold"] is not None
    config = str(root / "configs" / "inference.json")
    workflow = ConfigWorkflow(config, workflow_type="infer", logging_file=False, **overrides)
    hook = sys.excepthook
    workflow.initialize()
    sys.excepthook = hook
    assert workflow.check_properties() == []
    workflow.evaluator.run()  # an application may drive the engine itself
    (found,) = workflow.evaluator.state.output["pred"]
    assert result["opacity_probability"] == pytest.approx(found.class_probability, abs=1e-4)


def test_train_has_what_the_platforms_tools_look_for(root: Path, tiny: Tiny, unhooked: None, tmp_path: Path) -> None:
    check_train_workflow(root, tiny(tmp_path))


def test_paper_is_a_plain_densenet161_at_224() -> None:
    parser = ConfigParser()
    folder = Path(__file__).resolve().parents[2] / "bundles" / "opacity_classification" / "configs"
    parser.read_config([str(folder / "train.json"), str(folder / "paper.json")])
    told = {"architecture": "densenet161", "image_size": 224, "normal_fraction": None, "train#batch_transforms": []}
    assert {name: parser.get_parsed_content(name) for name in told} == told
    assert parser.get_parsed_content("train#inferer").dtype is None
    with torch.device("meta"):
        network = parser.get_parsed_content("network_def")
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(26.47e6, rel=1e-3)


def test_weights_of_a_training_are_verified_and_export(root: Path, trained: Trained, tmp_path: Path) -> None:
    own = {"bundle_root": str(root), "ckpt_dir": str(trained.folder / "models")}
    verify_net_in_out("network_def", **files(root), device="cpu", n=2, **own)
    ckpt_export("network_def", tmp_path / "model.ts", trained.weights, **files(root), **own)
    network = load_weights(build_classifier("densenet_small", 2), trained.weights).eval()
    image = torch.rand(2, 2, 64, 64)
    with torch.no_grad():
        exported = torch.jit.load(tmp_path / "model.ts").eval()
        torch.testing.assert_close(exported(image), network(image), rtol=0, atol=1e-5)
