"""The detection bundle: training, resuming, figures beside baselines, files, and what the platform's tools ask for."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, ckpt_export, verify_net_in_out

import monai_dgm
from monai_dgm.data.fingerprints import hash_file
from monai_dgm.engines.detection.detection_evaluation import read_detections
from monai_dgm.engines.weights import load_weights, read_model_settings
from monai_dgm.handlers.history import read_history
from monai_dgm.networks.detector import DETECTION_CHANNELS, OpacityDetector
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
    return repository / "bundles" / "opacity_detection"


@pytest.fixture(scope="module")
def tiny(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """tiny(output_dir, **others): overrides of train.json that make an iteration take milliseconds."""
    decomposer = write_decomposer(tmp_path_factory.mktemp("decomposer"))
    own = {"decomposer_path": decomposer, "validation_fraction": 0.4, "width": 0.125, "fpn_channels": 16}
    return lambda output_dir, **others: small_network_training(output_dir, sample_dir, **{**own, **others})


@pytest.fixture(scope="module")
def trained(run: Run, tiny: Tiny, tmp_path_factory: Any) -> Trained:
    """One training for all tests: read its files, do not write into its folder."""
    return train(run, tiny(tmp_path_factory.mktemp("detector")))


def detector_of(weights: Path) -> OpacityDetector:
    known = read_model_settings(weights)
    names = ("backbone", "image_size", "width", "fpn_channels")
    network = OpacityDetector(len(known["channels"]), **{name: known[name] for name in names})
    return load_weights(network, weights).eval()  # type: ignore[return-value]


def test_training_writes_weights_detections_and_figures(trained: Trained) -> None:
    said = trained.finished.stdout
    assert f"metrics: {trained.folder / 'report' / 'metrics.json'}" in said and "not a medical device" in said
    history = read_history(trained.folder / "history.jsonl")
    assert [row["iteration"] for row in history] == [1, 2, 3, 4, 5, 6]
    terms = {"loss/loss", "loss/classification", "loss/box_regression", "loss/grad_norm", "loss/skipped"}
    assert all(terms <= set(row) and row["loss/skipped"] == 0 for row in history)
    assert all("validation/ap" in row and "validation/froc_mean" in row for row in history[2::3])
    told = metrics(trained.folder)
    assert {row["method"] for row in told["rows"]} == {"detector", "mean_box_prior", "saliency_boxes"}
    assert {"ap", "ap40", "ap50", "ap60", "ap70", "froc_1"} <= {row["metric"] for row in told["rows"]}
    validation, _ = read_detections(trained.folder / "report" / "detections_validation.json")
    test, _ = read_detections(trained.folder / "report" / "detections_test.json")
    assert not {one.patient_id for one in validation} & {one.patient_id for one in test}
    assert any(len(one.truth) for one in test) and any(not len(one.truth) for one in test)
    settings = read_model_settings(trained.weights)
    assert settings["channels"] == ["image", "residue"] and "ap" in settings["metrics"]
    assert settings["score_threshold"] == told["score_threshold"] and len(settings["decomposer_sha256"]) == 64
    assert not [path for path in trained.folder.rglob(".partial-*") if "cache" not in path.parts]
    detector_of(trained.weights)


def test_same_command_again_trains_no_further(run: Run, trained: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "again"
    shutil.copytree(trained.folder, folder)
    names = ("checkpoint.pt", "models/model.pt", "report/detections_test.json")
    before = [(folder / name).read_bytes() for name in names]
    finished = run("training", "train", **{**trained.overrides, "output_dir": folder, "ckpt_dir": folder / "models"})
    assert finished.returncode == 0 and "at iteration 6" in finished.stdout + finished.stderr
    assert before == [(folder / name).read_bytes() for name in names]


def test_an_interrupted_training_ends_with_the_same_bits(
    run: Run, tiny: Tiny, trained: Trained, tmp_path: Path
) -> None:
    # the schedule spans max_epochs, so the first part is one of a run that was stopped, not of a shorter one
    stop = {"train#trainer#max_epochs": 1}
    assert run("training", "train", **tiny(tmp_path), **stop).returncode == 0
    assert run("training", "train", **tiny(tmp_path)).returncode == 0
    one, other = (torch.load(p / "checkpoint.pt", weights_only=True) for p in (trained.folder, tmp_path))
    for part in ("network", "ema"):
        for name, tensor in one[part].items():
            assert torch.equal(tensor, other[part][name]), f"{part} {name}"
    assert one["lr_scheduler"] == other["lr_scheduler"]
    assert read_history(tmp_path / "history.jsonl") == read_history(trained.folder / "history.jsonl")


def test_evaluating_gives_the_figures_of_the_training_and_leaves_the_model_alone(
    run: Run, trained: Trained, tmp_path: Path
) -> None:
    before = [trained.weights.read_bytes(), trained.weights.with_suffix(".json").read_bytes()]
    # neither size nor width nor channels are given: they come from the settings beside the weights
    left_out = ("image_size", "width", "fpn_channels", "output_dir")
    overrides = {k: v for k, v in trained.overrides.items() if k not in left_out}
    finished = run("evaluating", "train", "evaluate", **overrides, output_dir=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert metrics(tmp_path)["rows"] == metrics(trained.folder)["rows"]
    assert before == [trained.weights.read_bytes(), trained.weights.with_suffix(".json").read_bytes()]
    assert not (tmp_path / "checkpoint.pt").exists()


def test_image_alone_needs_no_decomposer_and_may_go_on_from_weights(run: Run, tiny: Tiny, tmp_path: Path) -> None:
    overrides = tiny(tmp_path / "a", decomposer_path=tmp_path / "none.pt", channels="['image']", max_epochs=1)
    finished = run("training", "train", **overrides)
    assert finished.returncode == 0, finished.stderr
    assert {row["method"] for row in metrics(tmp_path / "a")["rows"]} == {"detector", "mean_box_prior"}
    weights = tmp_path / "a" / "models" / "model.pt"
    assert read_model_settings(weights)["decomposer_sha256"] is None
    others = {"output_dir": tmp_path / "b", "ckpt_dir": tmp_path / "b" / "models", "learning_rate": 1e-9}
    finished = run("training", "train", **{**overrides, **others}, initial_weights=weights)
    assert finished.returncode == 0, finished.stderr
    started = [read_model_settings(tmp_path / run / "models" / "model.pt")["initial_weights_sha256"] for run in "ab"]
    assert started == [None, hash_file(weights)]
    name = "network.classification_head.cls_logits.weight"
    bias = [
        load_weights(detector_of(p / "models" / "model.pt"), p / "models" / "model.pt").state_dict()[name]
        for p in (tmp_path / "a", tmp_path / "b")
    ]
    torch.testing.assert_close(*bias, rtol=0, atol=1e-6)
    missing = run("training", "train", **{**overrides, "channels": "['residue']", "output_dir": tmp_path / "c"})
    assert missing.returncode == 1 and "none.pt: expected" in one_line(missing.stderr)


def test_cross_fitted_residues_change_the_training_images_alone(
    run: Run, tiny: Tiny, trained: Trained, tmp_path: Path
) -> None:
    for fold in range(5):
        write_decomposer(tmp_path / f"fold{fold}", seed=10 + fold)
    paths = tmp_path / "fold{fold}" / "model.pt"
    finished = run("training", "train", **tiny(tmp_path / "out", max_epochs=1, cross_fitted=paths))
    assert finished.returncode == 0, finished.stderr
    known = [read_model_settings(weights) for weights in (tmp_path / "out" / "models" / "model.pt", trained.weights)]
    assert [settings["cross_fitted"] for settings in known] == [True, False]
    assert known[0]["decomposer_sha256"] == known[1]["decomposer_sha256"]
    values = [
        {row["metric"]: row["value"] for row in metrics(folder)["rows"] if row["method"] == "saliency_boxes"}
        for folder in (tmp_path / "out", trained.folder)
    ]
    assert values[0] == values[1]  # of the test images' residues, which are those of the one decomposer
    first = [read_history(folder / "history.jsonl")[0] for folder in (tmp_path / "out", trained.folder)]
    assert first[0]["loss/loss"] != first[1]["loss/loss"]


def test_paper_runs(run: Run, tiny: Tiny, tmp_path: Path) -> None:
    kept = ("batch_size", "width", "fpn_channels")
    overrides = {name: value for name, value in tiny(tmp_path).items() if name not in kept}
    small = {"backbone": "resnet18", "width": 0.125, "fpn_channels": 16, "epoch_length": 2, "max_epochs": 1}
    finished = run("training", "train", "paper", **{**overrides, **small})
    assert finished.returncode == 0, finished.stderr
    settings = read_model_settings(tmp_path / "models" / "model.pt")
    assert settings["batch_size"] == 8 and settings["learning_rate"] == 0.01


@pytest.fixture
def paper(root: Path) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config([str(root / "configs" / "train.json"), str(root / "configs" / "paper.json")])
    return parser


def test_paper_is_the_papers_protocol(paper: ConfigParser) -> None:
    """Section 5.8: ResNet50, SGD 0.01 / 0.9 / 0.0001, 25 epochs of 2,500 steps of 8 images, 224 x 224."""
    told = {"backbone": "resnet50", "width": 1.0, "image_size": 224, "batch_size": 8, "max_epochs": 25}
    told.update({"epoch_length": 2500, "channels": ["image", "residue"]})
    # not in the paper: balanced batches, augmentation, autocast
    told.update({"negative_fraction": None, "train#batch_transforms": []})
    told.update({"train#step#autocast": None, "train#step#max_grad_norm": None})
    assert {name: paper.get_parsed_content(name) for name in told} == told
    paper.update({"backbone": "resnet18", "width": 0.125, "fpn_channels": 16})
    optimizer, scheduler = (paper.get_parsed_content(name) for name in ("optimizer", "lr_scheduler"))
    assert type(optimizer) is torch.optim.SGD
    assert (optimizer.defaults["momentum"], optimizer.defaults["weight_decay"]) == (0.9, 1e-4)
    for _ in range(10):
        assert scheduler.get_last_lr() == [0.01]
        optimizer.step()
        scheduler.step()


def test_inference_of_one_file(run: Run, trained: Trained, root: Path, sample_dir: Path, tmp_path: Path) -> None:
    image = sorted((sample_dir / "images").iterdir())[0]
    overrides = {
        "dataset_dir": str(image),
        "ckpt_dir": str(trained.folder / "models"),
        "decomposer_path": str(trained.overrides["decomposer_path"]),
        "output_dir": str(tmp_path),
    }
    finished = run("run", "inference", **overrides, score_threshold=0.0)
    assert finished.returncode == 0, finished.stderr
    told = json.loads((tmp_path / "detections.json").read_text(encoding="utf-8"))
    (result,) = told["images"]
    assert (result["rows"], result["cols"]) == (64, 64) and len(result["boxes"]) == len(result["scores"])
    assert (tmp_path / result["image_id"] / "opacities.png").is_file()
    config = str(root / "configs" / "inference.json")
    workflow = ConfigWorkflow(config, workflow_type="infer", logging_file=False, **overrides)
    hook = sys.excepthook
    workflow.initialize()
    sys.excepthook = hook
    assert workflow.check_properties() == []
    assert workflow.channel_def == {str(i): name for i, name in enumerate(DETECTION_CHANNELS)}
    workflow.evaluator.run()  # an application may drive the engine itself
    (found,) = workflow.evaluator.state.output["pred"]
    kept = found.opacities.above(told["score_threshold"] or 0.0)
    np.testing.assert_allclose(np.reshape(result["boxes"], (-1, 4)), kept.boxes, atol=0.01)


def test_another_decomposer_is_refused_in_one_line(
    run: Run, trained: Trained, sample_dir: Path, tmp_path: Path
) -> None:
    given = {
        "dataset_dir": next((sample_dir / "images").iterdir()),
        "ckpt_dir": trained.folder / "models",
        "decomposer_path": write_decomposer(tmp_path / "other", seed=1),
    }
    finished = run("run", "inference", **given, output_dir=tmp_path)
    assert finished.returncode == 1 and "--decomposer_path" in one_line(finished.stderr)


def test_train_has_what_the_platforms_tools_look_for(root: Path, tiny: Tiny, unhooked: None, tmp_path: Path) -> None:
    check_train_workflow(root, tiny(tmp_path))


@pytest.fixture(scope="module")
def metadata(root: Path) -> dict[str, Any]:
    return json.loads((root / "configs" / "metadata.json").read_text(encoding="utf-8"))


def test_versions_are_those_that_the_tests_run_with(metadata: dict[str, Any], repository: Path) -> None:
    assert metadata["version"] == monai_dgm.__version__ and metadata["version"] in metadata["changelog"]
    text = (repository / "constraints.txt").read_text()
    for name, version in metadata["required_packages_version"].items():
        assert name == "monai-dgm" or re.search(rf"(?mi)^{re.escape(name)}=={re.escape(version)}\b", text), name


def test_channels_are_the_networks(metadata: dict[str, Any]) -> None:
    prediction = metadata["network_data_format"]["outputs"]["pred"]
    assert tuple(prediction["channel_def"].values()) == DETECTION_CHANNELS
    assert prediction["num_channels"] == len(DETECTION_CHANNELS)


def test_weights_of_a_training_are_verified_and_export(root: Path, trained: Trained, tmp_path: Path) -> None:
    own = {"bundle_root": str(root), "ckpt_dir": str(trained.folder / "models")}
    verify_net_in_out("network_def", **files(root), device="cpu", n=2, **own)
    ckpt_export("network_def", tmp_path / "model.ts", trained.weights, **files(root), **own)
    image = torch.rand(2, 2, 64, 64)
    with torch.no_grad():
        expected = detector_of(trained.weights)(image)
        torch.testing.assert_close(torch.jit.load(tmp_path / "model.ts").eval()(image), expected, rtol=0, atol=1e-4)
