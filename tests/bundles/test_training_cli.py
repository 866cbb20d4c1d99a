"""The bundle's training and evaluation from the command line: what they write, resume, and say of bad input."""

from __future__ import annotations

import csv
import json
import math
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from monai_dgm.data.fingerprints import hash_file
from monai_dgm.engines.weights import load_weights, read_model_settings
from monai_dgm.handlers.history import read_history
from monai_dgm.networks.decomposer import Decomposer

if TYPE_CHECKING:
    from tests.bundles.conftest import BundleCommands
    from tests.bundles.small_trainings import Trained

Tiny = Callable[..., dict[str, Any]]


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def one_line(stderr: str) -> str:
    """The only line of an error, without a traceback."""
    lines = stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), stderr
    return lines[0]


def copied(trained: Trained, folder: Path) -> dict[str, Any]:
    """Overrides of a training that goes on in a copy of the finished one's folder."""
    shutil.copytree(trained.folder, folder)
    return {**trained.overrides, "output_dir": folder, "ckpt_dir": folder / "models"}


def test_training_writes_everything_and_names_the_report(trained: Trained) -> None:
    out = trained.folder
    said = trained.finished.stdout
    assert f"report: {out / 'report' / 'index.html'}" in said
    assert "the embedded sample" in said and "not a medical device" in said
    for name in ("checkpoint.pt", "history.jsonl", "models/model.pt", "models/model.json", "report/index.html"):
        assert (out / name).stat().st_size > 0, name
    assert len(list((out / "tensorboard").glob("panel_*.png"))) == 2  # one a validation
    assert list((out / "tensorboard").glob("events.out.tfevents.*"))
    assert not [path for path in out.rglob(".partial-*") if "cache" not in path.parts]


def test_history_has_a_row_an_iteration_with_every_loss(trained: Trained) -> None:
    history = read_history(trained.folder / "history.jsonl")
    assert [row["iteration"] for row in history] == [1, 2, 3, 4, 5, 6]
    assert [row["epoch"] for row in history] == [1, 1, 1, 2, 2, 2]
    residue_terms = {"loss", "blank_residue", "abnormality", "evidence", "paired_residue"}
    terms = {"adversarial", "reconstruction", "joint_reconstruction", "total_variation", "clean_normal"}
    terms |= {"healthy_normal", "paired_normal", "discriminator", "real_score_0", "fake_score_2", *residue_terms}
    for row in history:  # the first iteration warms the residue branch up
        assert {f"loss/{term}" for term in (residue_terms if row["iteration"] == 1 else terms)} <= set(row)
        assert all(math.isfinite(value) for value in row.values())
    assert all("validation/decomposition_score" in row for row in history if row["iteration"] % 3 == 0)


def test_figures_of_the_test_images_with_their_baselines(trained: Trained) -> None:
    report = trained.folder / "report"
    table = rows(report / "metrics.csv")
    names = {row["name"] for row in table if row["group"] == "all"}
    assert {"head_auc", "residue_pixel_ap", "residue_ratio", "normal_ssim", "lesion_error_reduction"} <= names
    assert {f"residue_pixel_ap/baseline_{name}" for name in ("lung_mask", "mean_box_prior", "mean_lung_box")} <= names
    assert [row["name"] for row in json.loads((report / "metrics.json").read_text())] == [row["name"] for row in table]
    page = (report / "index.html").read_text(encoding="utf-8")
    assert "http://" not in page.replace("http://www.w3.org", "") and "<script src" not in page
    assert "fold 0 as the test" in page


def test_model_is_the_inference_network_and_its_settings_lie_beside_it(trained: Trained) -> None:
    settings = read_model_settings(trained.weights)
    assert (settings["image_size"], settings["base_width"], settings["num_res_blocks"]) == (32, 2, 1)
    assert settings["trained_on"].startswith("the embedded sample")
    network = Decomposer(2, 1, settings["normal_skips"], settings["residue_skips"])
    load_weights(network, trained.weights)


def test_same_command_again_trains_no_further_and_reports_again(
    bundle: BundleCommands, trained: Trained, tmp_path: Path
) -> None:
    overrides = copied(trained, tmp_path / "again")
    before = {path: (tmp_path / "again" / path).read_bytes() for path in ("checkpoint.pt", "models/model.pt")}
    history = read_history(tmp_path / "again" / "history.jsonl")
    shutil.rmtree(tmp_path / "again" / "report")
    finished = bundle.run("training", "train", **overrides)
    assert finished.returncode == 0, finished.stderr
    assert "Going on from" in finished.stdout and "at iteration 6" in finished.stdout
    assert before == {path: (tmp_path / "again" / path).read_bytes() for path in before}
    assert read_history(tmp_path / "again" / "history.jsonl") == history
    assert rows(tmp_path / "again" / "report" / "metrics.csv") == rows(trained.folder / "report" / "metrics.csv")


def test_more_epochs_go_on_from_where_it_ended(bundle: BundleCommands, trained: Trained, tmp_path: Path) -> None:
    history = read_history(trained.folder / "history.jsonl")
    finished = bundle.run("training", "train", **{**copied(trained, tmp_path / "more"), "max_epochs": 3})
    assert finished.returncode == 0, finished.stderr
    longer = read_history(tmp_path / "more" / "history.jsonl")
    assert longer[:6] == history and [row["iteration"] for row in longer[6:]] == [7, 8, 9]


def test_a_training_may_start_from_weights_and_leave_the_residue_encoder_alone(
    bundle: BundleCommands, tiny: Tiny, trained: Trained, tmp_path: Path
) -> None:
    weights = trained.weights
    overrides = {"decomposer_weights": weights, "residue_encoder_lr_factor": 0.0, "max_epochs": 1}
    finished = bundle.run("training", "train", **tiny(tmp_path, **overrides))
    assert finished.returncode == 0, finished.stderr
    settings = read_model_settings(tmp_path / "models" / "model.pt")
    assert settings["decomposer_weights_sha256"] == hash_file(weights)
    assert settings["residue_encoder_weights_sha256"] is None
    before, after = (torch.load(path, weights_only=True) for path in (weights, tmp_path / "models" / "model.pt"))
    for name, tensor in before.items():
        kept = name.startswith(("residue_encoder.", "abnormality_head."))
        assert not kept or torch.allclose(tensor, after[name], rtol=1e-6, atol=1e-8), name
    assert any(not torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_evaluating_gives_the_figures_of_the_training_and_leaves_the_model_alone(
    bundle: BundleCommands, trained: Trained, tmp_path: Path
) -> None:
    weights = (trained.weights).read_bytes()
    # neither size nor width is given: they come from the settings beside the weights
    own = ("image_size", "base_width", "num_res_blocks", "output_dir")
    overrides = {name: value for name, value in trained.overrides.items() if name not in own}
    finished = bundle.run("evaluating", "train", "evaluate", **overrides, output_dir=tmp_path)
    assert finished.returncode == 0, finished.stderr
    told = rows(tmp_path / "report" / "metrics.csv")
    # evaluating knows two things more: groups of patients, and the classifier that ships as a baseline
    known = [row for row in told if not row["name"].endswith("grad_cam_classifier")]
    by_source = [row for row in known if not row["group"].startswith(("view:", "sex:"))]
    assert by_source == rows(trained.folder / "report" / "metrics.csv") and len(by_source) < len(known) < len(told)
    assert str(trained.weights) in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert (trained.weights).read_bytes() == weights
    assert not (tmp_path / "checkpoint.pt").exists() and not (tmp_path / "tensorboard").exists()


def test_a_transform_is_added_by_a_configuration_and_a_resumed_training_draws_the_same(
    bundle: BundleCommands, tiny: Tiny, trained: Trained, tmp_path: Path
) -> None:
    noise = {"_target_": "RandGaussianNoised", "keys": "image", "prob": 0.7, "std": 0.2}
    overlay = tmp_path / "noise.json"
    overlay.write_text(json.dumps({"+train#preprocessing#transforms": [noise]}))
    losses = {}
    for name, epochs in (("whole", [2]), ("resumed", [1, 2])):
        for count in epochs:
            overrides = tiny(tmp_path / name, max_epochs=count, lr_milestones="[1]", log_interval=1)
            finished = bundle.run("training", "train", str(overlay), **overrides)
            assert finished.returncode == 0, finished.stderr
        losses[name] = [row["loss/loss"] for row in read_history(tmp_path / name / "history.jsonl")]
    assert losses["whole"] == losses["resumed"] and len(losses["whole"]) == 6
    assert losses["whole"][0] != read_history(trained.folder / "history.jsonl")[0]["loss/loss"]


def manifest(folder: Path, label: str) -> Path:
    from PIL import Image

    folder.mkdir()
    Image.new("L", (40, 40)).save(folder / "a.png")
    (folder / "manifest.csv").write_text(f"image,label\na.png,{label}\n")
    return folder


def test_bad_data_is_one_line_on_stderr(bundle: BundleCommands, tiny: Tiny, tmp_path: Path) -> None:
    nowhere, other = tmp_path / "nowhere", manifest(tmp_path / "data", "pneumonia")
    overrides = tiny(tmp_path / "out")
    finished = bundle.run("training", "train", **overrides, dataset_dir=nowhere)
    assert finished.returncode == 2  # usage: there is no such folder
    assert one_line(finished.stderr).startswith(f"error: {nowhere}: expected a folder with a manifest.csv or the RSNA")
    finished = bundle.run("training", "train", **overrides, dataset_dir=other)
    assert finished.returncode == 1
    message = one_line(finished.stderr)
    assert f"{other / 'manifest.csv'}, row 2: expected a label of normal, lung_opacity" in message
    assert "got 'pneumonia'" in message
    assert not (tmp_path / "out" / "models").exists()


def test_checkpoint_of_other_settings_is_one_line_on_stderr(
    bundle: BundleCommands, trained: Trained, tmp_path: Path
) -> None:
    overrides = copied(trained, tmp_path / "other")
    kept = (tmp_path / "other" / "checkpoint.pt").read_bytes()
    finished = bundle.run("training", "train", **{**overrides, "base_width": 4})
    assert finished.returncode == 1
    assert f"{tmp_path / 'other' / 'checkpoint.pt'}: expected a checkpoint of this training" in one_line(
        finished.stderr
    )
    assert (tmp_path / "other" / "checkpoint.pt").read_bytes() == kept
    (tmp_path / "other" / "checkpoint.pt").write_bytes(kept[: len(kept) // 2])
    finished = bundle.run("training", "train", **overrides)
    assert finished.returncode == 1 and "it cannot be read" in one_line(finished.stderr)


def test_evaluating_without_a_model_is_one_line_on_stderr(bundle: BundleCommands, tiny: Tiny, tmp_path: Path) -> None:
    finished = bundle.run("evaluating", "train", "evaluate", **tiny(tmp_path))
    assert finished.returncode == 1
    assert f"{tmp_path / 'models' / 'model.pt'}: expected a file of trained weights" in one_line(finished.stderr)


def test_mlflow_tracking_records_the_loss(bundle: BundleCommands, tiny: Tiny, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    finished = bundle.run("training", "train", **tiny(tmp_path, max_epochs=1), tracking="mlflow")
    assert finished.returncode == 0, finished.stderr
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlruns.db'}")
    experiment = client.get_experiment_by_name("monai_experiment")
    (run,) = client.search_runs([experiment.experiment_id])
    loss = client.get_metric_history(run.info.run_id, "train_loss")
    history = read_history(tmp_path / "history.jsonl")
    assert [point.value for point in loss] == pytest.approx([row["loss/loss"] for row in history])
    assert run.data.metrics["decomposition_score"] == pytest.approx(history[-1]["validation/decomposition_score"])


def last_iteration(path: Path) -> int:
    lines = path.read_text().splitlines() if path.is_file() else []
    return json.loads(lines[-1])["iteration"] if lines else 0


def assert_same(one: Any, other: Any, where: str) -> None:
    """Nested states are equal to the last bit."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for place, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}/{place}")
    else:
        assert one == other, where


@pytest.mark.slow
def test_killed_four_times_it_ends_with_the_same_bits(bundle: BundleCommands, tiny: Tiny, tmp_path: Path) -> None:
    total, kills, chance = 60, 4, random.Random(0)
    few = {"max_epochs": 3, "epoch_length": total // 3, "train#checkpoint#save_interval": 4}
    whole = bundle.arguments("training", "train", **tiny(tmp_path / "whole", **few))
    assert bundle.start(*whole).wait() == 0
    out = tmp_path / "killed"
    command = bundle.arguments("training", "train", **tiny(out, **few))
    for number in range(kills):
        # Any moment: from the start-up on, then later and later in the training, with whatever is being written then.
        target = int((number + chance.random()) * total / (kills + 1))
        process, end = bundle.start(*command), time.monotonic() + 120
        while process.poll() is None and last_iteration(out / "history.jsonl") < target and time.monotonic() < end:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.2))
        assert process.poll() is None, "the training ended before it could be killed"
        process.kill()
        process.wait()
    assert bundle.start(*command).wait() == 0
    for name in ("models/model.pt", "checkpoint.pt"):
        one, other = (torch.load(tmp_path / run / name, weights_only=True) for run in ("whole", "killed"))
        assert_same(one, other, name)
    assert read_history(out / "history.jsonl") == read_history(tmp_path / "whole" / "history.jsonl")
    assert rows(out / "report" / "metrics.csv") == rows(tmp_path / "whole" / "report" / "metrics.csv")
    assert not [path for path in out.rglob(".partial-*") if "cache" not in path.parts], "leftovers of a kill"
