"""`monai-dgm train`, `evaluate` and `serve` start what the documentation's longer commands start."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from monai_dgm.cli import bundle_run
from monai_dgm.cli.commands import evaluate, serve, train
from monai_dgm.utils.bundle_files import app_folder, bundles_folder

CONFIGS = bundles_folder() / "dgm" / "configs"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """Words of the processes that are started; nothing is run."""
    commands: list[list[str]] = []

    def run(words: Sequence[str], quiet: bool = False) -> int:
        commands.append(list(words))
        return 0

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "run_bundle", run)
    monkeypatch.setattr(evaluate, "run_bundle", run)
    monkeypatch.setattr(serve.os, "execv", lambda program, words: commands.append(words))
    return commands


def test_train(command: Callable, started: list[list[str]]) -> None:
    assert command("train", "DATA", "-o", "OUT", "--with", "boxes", "--", "--max_epochs", "3").status == 0
    configs = str([str(CONFIGS / "train.json"), str(CONFIGS / "boxes.json")])
    expected = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", configs]
    expected += ["--dataset_dir", "DATA", "--output_dir", "OUT", "--ckpt_dir", "OUT/models", "--max_epochs", "3"]
    assert started == [expected]


def test_train_in_several_processes(command: Callable, started: list[list[str]]) -> None:
    assert command("train", "--nproc", "2").status == 0
    words = started[0]
    assert words[1:5] == ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    assert words[5:9] == ["-m", "monai.bundle", "run", "training"]
    assert words[-1] == str([str(CONFIGS / "train.json"), str(CONFIGS / "multi_gpu_train.json")])


def test_keys_without_a_data_set(command: Callable, started: list[list[str]]) -> None:
    assert command("train", "--", "--max_epochs", "3").status == 0
    assert command("evaluate", "--", "--batch_size", "8").status == 0
    assert all("--dataset_dir" not in words for words in started)
    assert [words[-2:] for words in started] == [["--max_epochs", "3"], ["--batch_size", "8"]]


def test_a_configuration_that_is_not_there_is_refused(command: Callable, started: list[list[str]]) -> None:
    finished = command("train", "--bundle", "lung_segmentation", "--nproc", "2")
    assert finished.status == 2 and "multi_gpu_train.json: expected a configuration" in finished.stderr
    assert command("train", "--bundle", "spleen").status == 1 and not started


def test_evaluate_takes_the_weights_that_ship(command: Callable, started: list[list[str]]) -> None:
    Path("evaluated", "report").mkdir(parents=True)
    Path("evaluated", "report", "metrics.json").write_text('{"auc": 0.5}', encoding="utf-8")
    finished = command("evaluate", "DATA", "--fold", "all", "--json")
    words = started[0]
    shipped = str(bundles_folder() / "dgm" / "models" / "shipped" / "model.safetensors")
    assert words[words.index("--model_path") + 1] == shipped
    assert words[words.index("--fold") + 1] == "all" and words[words.index("--output_dir") + 1] == "evaluated"
    assert json.loads(finished.stdout) == {"auc": 0.5}


def test_the_status_of_the_run_is_the_commands(command: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "run_bundle", lambda words, quiet: 2)
    assert command("evaluate", "nowhere", "--json").status == 2


def test_a_bundle_is_run(capfd: pytest.CaptureFixture[str]) -> None:
    words = bundle_run.bundle_words("training", ["a.json"], {"key": None, "other": 3}, [])
    assert words[-2:] == ["--other", "3"] and "--key" not in words
    assert bundle_run.run_bundle([sys.executable, "-c", "print('told'); raise SystemExit(3)"], quiet=True) == 3
    assert capfd.readouterr() == ("", "told\n")


def test_serve(command: Callable, started: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "version_of", lambda name: "0.8.5")
    assert command("serve", "STUDIES", "--port", "9000", "--conf", "device=cuda:0").status == 0
    start = str(app_folder() / "start.py")
    expected = [sys.executable, start, "--port", "9000", "--studies", "STUDIES", "--conf", "device", "cuda:0"]
    assert started == [expected]
    assert command("serve", "--conf", "device").status == 2
    monkeypatch.setattr(serve, "version_of", lambda name: None)
    assert "pip install 'monai-dgm[label]'" in command("serve").stderr


def test_benchmark(command: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr("monai_dgm.benchmark.__main__.main", lambda words: started.append(list(words)) or 1)
    assert command("benchmark", "DATA", "-o", "OUT", "--seeds", "0,1", "--report-only", "--", "--fold", "1").status == 1
    expected = ["--output_dir", "OUT", "--dataset_dir", "DATA", "--preset", "toy", "--seeds", "0,1", "--report_only"]
    assert started == [[*expected, "--fold", "1"]]
