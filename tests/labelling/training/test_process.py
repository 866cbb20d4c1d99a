"""The process of a training: what it leaves, that it goes on after a kill, and that labels are never touched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from monai_dgm.data.fingerprints import hash_file
from monai_dgm.engines.weights import save_weights
from monai_dgm.labelling.training.fine_tuning import FineTuneOptions
from monai_dgm.labelling.training.job import JobFolder
from monai_dgm.labelling.training.model_versions import ModelVersions
from monai_dgm.labelling.training.process import main
from monai_dgm.networks.detector import build_detector
from tests.labelling.trainable import readable, write_job


@pytest.fixture(autouse=True)
def own_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundle sets these for its process."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", torch.backends.cudnn.deterministic)
    monkeypatch.setattr(os, "nice", lambda increment: 0)


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): hash_file(path) for path in folder.rglob("*") if path.is_file()}


def test_a_training_becomes_a_version_beside_the_one_it_came_from(
    tmp_path: Path, sample_dir: Path, repository: Path
) -> None:
    items = readable(sample_dir)
    folder = write_job(tmp_path, items, repository)
    labels = files(tmp_path / "labels")
    assert main([str(folder.folder)]) == 0
    result = folder.result()
    assert result is not None and result["status"] == "DONE" and result["number"] == 2
    given, trained = ModelVersions(tmp_path / "models").all()
    assert given.info["status"] == "given" and given.info["sha256"] == hash_file(tmp_path / "given" / "model.pt")
    info = trained.info
    assert info["parent"] == info["compared_with"] == 1 and info["status"] in ("promoted", "kept_aside")
    assert (info["status"] == "promoted") == result["promoted"] and not result["promoted"]
    assert (
        f"on {info['validation']['images']} validation images" in info["reason"] or "no opacity box" in info["reason"]
    )
    counts, validation = info["corrections"], info["validation"]
    assert counts["labels"] == len(items) and counts["trained"] + counts["validation"] == len(items)
    assert {"ap", "ap40"} <= validation["before"].keys() & validation["after"].keys()
    weights, before = load_file(trained.weights), torch.load(given.weights, weights_only=True)
    assert any(not torch.equal(weights[name], before[name]) for name in before)
    settings = json.loads(trained.weights.with_suffix(".json").read_text())
    assert settings["image_size"] == 32 and "score_threshold" in settings
    assert str(tmp_path) not in trained.weights.with_suffix(".json").read_text()
    assert files(tmp_path / "labels") == labels
    assert not folder.output.exists() and not folder.cache.exists() and not folder.splits.exists()
    current = ModelVersions(tmp_path / "models").current()
    assert (current is not None and current.number == 2) == result["promoted"]


def test_the_network_is_that_of_the_weights(tmp_path: Path, sample_dir: Path, repository: Path) -> None:
    torch.manual_seed(0)
    weights = tmp_path / "efficientnet" / "model.safetensors"
    weights.parent.mkdir()
    settings = {"image_size": 32, "backbone": "efficientnet_lite2", "fpn_channels": 32, "channels": ["image"]}
    save_weights(build_detector(settings).state_dict(), weights)
    weights.with_suffix(".json").write_text(json.dumps(settings), encoding="utf-8")
    options = FineTuneOptions(max_epochs=1, epoch_length=2, batch_size=4)
    folder = write_job(tmp_path, readable(sample_dir), repository, weights=str(weights), options=options)
    assert main([str(folder.folder)]) == 0, folder.result()
    trained = ModelVersions(tmp_path / "models").get(2).weights
    before, after = load_file(weights), load_file(trained)
    assert before.keys() == after.keys() and any(not torch.equal(before[name], after[name]) for name in before)
    stored = json.loads(trained.with_suffix(".json").read_text())
    assert {name: stored[name] for name in settings} == settings


def test_what_cannot_be_trained_on_ends_with_a_line(tmp_path: Path, sample_dir: Path, repository: Path) -> None:
    folder = write_job(tmp_path, readable(sample_dir)[:3], repository)
    assert main([str(folder.folder)]) == 1
    result = folder.result()
    assert result is not None and result["status"] == "ERROR" and result["reason"].startswith("expected labels of at")
    assert main([str(folder.folder)]) == 2  # it had its end


def test_a_damaged_image_is_left_out(tmp_path: Path, sample_dir: Path, repository: Path) -> None:
    items = readable(sample_dir)
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(Path(items[0]["image"]).read_bytes()[:-200])
    folder = write_job(tmp_path, [{**items[0], "image": str(damaged)}, *items[1:]], repository)
    assert main([str(folder.folder)]) == 0
    counts = ModelVersions(tmp_path / "models").get(2).info["corrections"]
    assert counts["unusable"] == 1 and counts["trained"] + counts["validation"] == len(items) - 1


def start(folder: JobFolder) -> int:
    """The process of a training, forked: imports take longer than it does."""
    process = os.fork()
    if process == 0:
        status = 9
        try:
            os.setsid()
            status = main([str(folder.folder)])
        finally:
            os._exit(status)
    return process


def wait_for(condition: Any, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_training_goes_on_where_it_was(tmp_path: Path, sample_dir: Path, repository: Path) -> None:
    options = FineTuneOptions(max_epochs=8, epoch_length=3, batch_size=4)
    items = readable(sample_dir)
    whole = write_job(tmp_path / "whole", items, repository, options=options, id="1", created="2026-01-01T00:00:00Z")
    assert main([str(whole.folder)]) == 0
    folder = write_job(tmp_path / "killed", items, repository, options=options)
    process = start(folder)
    wait_for(lambda: folder.progress().get("iteration", 0) > 3 and (folder.output / "checkpoint.pt").is_file())
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    assert folder.result() is None and folder.splits.is_file()
    assert main([str(folder.folder)]) == 0
    one, other = (load_file(ModelVersions(tmp_path / name / "models").get(2).weights) for name in ("whole", "killed"))
    assert all(torch.equal(one[name], other[name]) for name in one)  # the same bits as without the kill


def test_a_kill_after_the_version_was_stored_stores_no_second_one(
    tmp_path: Path, sample_dir: Path, repository: Path
) -> None:
    folder = write_job(tmp_path, readable(sample_dir), repository)
    assert main([str(folder.folder)]) == 0
    first = folder.result()
    (folder.folder / "result.json").unlink()
    assert main([str(folder.folder)]) == 0
    second = folder.result()
    assert first is not None and second is not None and second["number"] == first["number"] == 2
    assert len(ModelVersions(tmp_path / "models").all()) == 2


def test_a_process_whose_parent_lives_ends_with_a_status_of_its_own(tmp_path: Path) -> None:
    """Python aborted at the end while a thread waited for the end of standard input."""
    words = [sys.executable, "-m", "monai_dgm.labelling.training.process", str(tmp_path), "--with-parent"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as ended:
        assert ended.wait(120) == 2  # there is no job
        assert ended.stderr is not None and b"Fatal" not in ended.stderr.read()
