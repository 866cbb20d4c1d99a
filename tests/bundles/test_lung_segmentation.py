"""The lung segmentation bundle: training, resuming, figures, files, and what the platform's tools ask for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow, ckpt_export, verify_net_in_out
from PIL import Image

from monai_dgm.engines.lungs.segmentor import load_lung_segmentor
from monai_dgm.engines.weights import load_weights, read_model_settings, save_weights
from monai_dgm.handlers.history import read_history
from monai_dgm.networks.lung_segmentation import build_lung_network
from monai_dgm.transforms.lungs import clean_lung_mask
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

SMALL = {"unet": {"width": 4}, "criss_cross": {"layers": [1, 1, 1, 1], "width": 4}}


@pytest.fixture(scope="module")
def root(repository: Path) -> Path:
    return repository / "bundles" / "lung_segmentation"


@pytest.fixture(scope="module")
def tiny(sample_dir: Path) -> Tiny:
    """tiny(output_dir, **others): overrides of train.json that make an iteration take milliseconds."""
    own = {"network_settings": SMALL["unet"]}
    return lambda output_dir, **others: small_network_training(output_dir, sample_dir, **{**own, **others})


@pytest.fixture(scope="module")
def trained(run: Run, tiny: Tiny, tmp_path_factory: Any) -> Trained:
    """One training for all tests: read its files, do not write into its folder."""
    return train(run, tiny(tmp_path_factory.mktemp("lungs")))


def test_training_writes_weights_figures_and_picture(trained: Trained) -> None:
    said = trained.finished.stdout
    assert f"metrics: {trained.folder / 'report' / 'metrics.json'}" in said and "not a medical device" in said
    history = read_history(trained.folder / "history.jsonl")
    assert [row["iteration"] for row in history] == [1, 2, 3, 4, 5, 6]
    assert all("loss/loss" in row for row in history)
    names = ("lung_dice", "lung_box_iou", "right_lung_dice", "left_lung_dice")
    assert all(f"validation/{name}" in row for row in history[2::3] for name in names)
    assert {"lung_dice", "lung_dice_sd", "lung_box_iou"} <= {row["name"] for row in metrics(trained.folder)}
    settings = read_model_settings(trained.weights)
    assert settings["architecture"] == "unet" and settings["image_size"] == 32
    assert settings["trained_on"].startswith("the embedded sample") and "lung_dice" in settings["metrics"]["all"]
    assert (trained.folder / "report" / "lungs.png").stat().st_size > 0
    assert not [path for path in trained.folder.rglob(".partial-*") if "cache" not in path.parts]
    assert load_lung_segmentor(trained.weights).size == 32


def test_same_command_again_trains_no_further_and_more_epochs_go_on(run: Run, trained: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "again"
    shutil.copytree(trained.folder, folder)
    overrides = {**trained.overrides, "output_dir": folder, "ckpt_dir": folder / "models"}
    finished = run("training", "train", **overrides)
    assert finished.returncode == 0 and "at iteration 6" in finished.stdout, finished.stderr
    assert (folder / "models" / "model.pt").read_bytes() == trained.weights.read_bytes()
    assert metrics(folder) == metrics(trained.folder)
    finished = run("training", "train", **{**overrides, "max_epochs": 3})
    assert finished.returncode == 0, finished.stderr
    history = read_history(folder / "history.jsonl")
    assert [row["iteration"] for row in history] == list(range(1, 10))
    assert history[:6] == read_history(trained.folder / "history.jsonl")


def test_resumed_within_an_epoch_ends_with_the_same_bits(
    run: Run, tiny: Tiny, trained: Trained, tmp_path: Path
) -> None:
    """Stopped after 4 iterations of 6 by a checkpoint taken there, it goes on to the weights of the whole run."""
    folder = tmp_path / "part"
    schedule = {"lr_scheduler#t_total": 6, "lr_scheduler#warmup_steps": 3}  # that of the whole run
    finished = run("training", "train", **tiny(folder, epoch_length=3, max_epochs=1, **schedule))
    assert finished.returncode == 0, finished.stderr
    finished = run("training", "train", **tiny(folder))
    assert finished.returncode == 0, finished.stderr
    one, other = (torch.load(place / "checkpoint.pt", weights_only=True) for place in (folder, trained.folder))
    for name, tensor in one["network"].items():
        assert torch.equal(tensor, other["network"][name]), name


def test_evaluating_gives_the_figures_of_the_training_and_leaves_the_model_alone(
    run: Run, trained: Trained, tmp_path: Path
) -> None:
    own = ("image_size", "network_settings", "output_dir")  # the first two come from the settings beside the weights
    overrides = {name: value for name, value in trained.overrides.items() if name not in own}
    before = {path: path.read_bytes() for path in trained.weights.parent.iterdir()}
    finished = run("evaluating", "train", "evaluate", **overrides, output_dir=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert metrics(tmp_path) == metrics(trained.folder)
    assert before == {path: path.read_bytes() for path in trained.weights.parent.iterdir()}
    assert not (tmp_path / "checkpoint.pt").exists()


def test_criss_cross_trains(run: Run, tiny: Tiny, tmp_path: Path) -> None:
    overrides = tiny(tmp_path, architecture="criss_cross", network_settings=SMALL["criss_cross"], max_epochs=1)
    finished = run("training", "train", **overrides)
    assert finished.returncode == 0, finished.stderr
    assert type(load_lung_segmentor(tmp_path / "models" / "model.pt").network).__name__ == "CrissCrossLungNet"


def test_files(run: Run, trained: Trained, sample_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    image = sorted((sample_dir / "images").iterdir())[0]
    (folder / "a.png").write_bytes(image.read_bytes())
    (folder / "broken.png").write_bytes(image.read_bytes()[:200])
    finished = run("run", "inference", dataset_dir=folder, ckpt_dir=trained.weights.parent, output_dir=tmp_path / "out")
    assert finished.returncode == 0, finished.stderr
    told = json.loads((tmp_path / "out" / "lungs.json").read_text(encoding="utf-8"))
    assert [entry["image_id"] for entry in told["images"]] == ["a"]
    assert [entry["file"] for entry in told["failed"]] == ["broken.png"]
    assert told["model"]["file"] == "model.pt" and told["settings"]["size"] == 32
    mask = Image.open(tmp_path / "out" / "a" / "lung_mask.png")
    assert mask.size == Image.open(image).size and set(np.unique(np.asarray(mask))) <= {0, 255}


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("no dataset_dir", "dataset_dir: expected a radiograph or a folder of them"),
        ("no model", "model.pt: expected a file of trained weights, there is none; run training first"),
        ("another network", "model.pt: expected weights of UNet as configured"),
    ],
)
def test_what_cannot_be_done_is_one_line(run: Run, sample_dir: Path, tmp_path: Path, fault: str, expected: str) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "model.json").write_text(json.dumps({"network_settings": {"width": 8}, "image_size": 32}))
    if fault != "no model":
        width = 4 if fault == "another network" else 8
        save_weights(build_lung_network("unet", {"width": width}).state_dict(), models / "model.pt")
    given = {} if fault == "no dataset_dir" else {"dataset_dir": sample_dir / "images"}
    finished = run("run", "inference", ckpt_dir=models, output_dir=tmp_path / "out", **given)
    assert finished.returncode == (2 if fault == "no dataset_dir" else 1)
    assert expected in one_line(finished.stderr)


def test_data_without_masks_is_one_line(run: Run, tiny: Tiny, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    lines = ["image,label,patient_id"]
    for number in range(6):
        Image.fromarray(np.full((40, 40), 9 * number, np.uint8)).save(folder / f"{number}.png")
        lines.append(f"{number}.png,normal,{number}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    finished = run("training", "train", **tiny(tmp_path / "out"), dataset_dir=folder)
    assert finished.returncode == 1
    assert "expected images with a lung_mask for the training, found none" in one_line(finished.stderr)


def test_train_has_what_the_platforms_tools_look_for(root: Path, tiny: Tiny, unhooked: None, tmp_path: Path) -> None:
    check_train_workflow(root, tiny(tmp_path))


def test_inference_has_what_the_platforms_tools_look_for(
    root: Path, trained: Trained, sample_dir: Path, unhooked: None, tmp_path: Path
) -> None:
    image = sorted((sample_dir / "images").iterdir())[0]
    overrides = {"dataset_dir": str(image), "ckpt_dir": str(trained.weights.parent), "output_dir": str(tmp_path)}
    config = str(root / "configs" / "inference.json")
    workflow = ConfigWorkflow(config, workflow_type="infer", logging_file=False, **overrides)
    workflow.initialize()
    assert workflow.check_properties() == [] and workflow.channel_def["0"] == "lung"
    item = workflow.preprocessing({"image": str(image)})
    workflow.evaluator.run()
    (result,) = workflow.evaluator.state.output["pred"]
    (mask,) = load_lung_segmentor(trained.weights).masks(item["image"][None])
    assert np.array_equal(clean_lung_mask(result.lung_probability), mask)


@pytest.mark.parametrize("architecture", SMALL)
def test_verify_net_in_out_and_ckpt_export(root: Path, tmp_path: Path, architecture: str) -> None:
    bundle, models = tmp_path / "lungs", tmp_path / "lungs" / "models"
    shutil.copytree(root / "configs", bundle / "configs")
    models.mkdir()
    settings = {"architecture": architecture, "network_settings": SMALL[architecture], "image_size": 32}
    (models / "model.json").write_text(json.dumps(settings))
    network = build_lung_network(architecture, SMALL[architecture]).eval()
    save_weights(network.state_dict(), models / "model.pt")
    verify_net_in_out("network_def", **files(bundle), device="cpu", bundle_root=str(bundle))
    ckpt_export("network_def", models / "model.ts", models / "model.pt", **files(bundle), bundle_root=str(bundle))
    load_weights(network, models / "model.pt")
    image = torch.rand(2, 1, 64, 64) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.load(models / "model.ts").eval()(image), network(image), rtol=0, atol=1e-5)
