"""Training beside a server: one at a time, ended and gone on with, and its outcome served without a restart."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from monai_dgm.errors import InputError
from monai_dgm.labelling.server.http_errors import ConflictError, UnavailableError, UnknownError
from monai_dgm.labelling.server.models import LabellingModels
from monai_dgm.labelling.server.studies import StudyFolder, StudyImage
from monai_dgm.labelling.server.submissions import Submissions
from monai_dgm.labelling.training.detector_training import DetectorTraining
from tests.labelling.trainable import readable, true_label, write_detector
from tests.labelling.training.test_process import wait_for

# in the place of the real process, whose imports alone take seconds
PROCESS = """
import json, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
job = json.loads((folder / "job.json").read_text())
(folder / "runs").open("a").write("x")
(folder / "progress.json").write_text(json.dumps({"phase": "training", "epoch": 1, "iteration": 2, "loss": 0.5}))
(folder / "images.json").write_text(json.dumps([pathlib.Path(path).is_file() for path in job["images"].values()]))
if job["options"]["max_epochs"] == 200 and len((folder / "runs").read_text()) == 1:
    sys.stdin.read()
    sys.exit(3)
result = {"status": "DONE", "number": 1, "promoted": True, "reason": "AP", "ap": 0.5, "time": "2026-01-01T00:00:00Z"}
(folder / "partial").write_text(json.dumps(result))
(folder / "partial").rename(folder / "result.json")
"""
SHORT = {"max_epochs": 1, "epoch_length": 2, "batch_size": 4}
LONG = {"max_epochs": 200, "epoch_length": 100, "batch_size": 4}


@pytest.fixture
def studies(sample_dir: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "studies"
    folder.mkdir()
    for item in readable(sample_dir)[:14]:
        shutil.copy(item["image"], folder / f"{item['image_id']}.png")
    return folder


@pytest.fixture
def make(studies: Path, sample_dir: Path, repository: Path, tmp_path: Path) -> Iterator[Any]:
    """make(labels=14, detector=True, real=False): a server's training on so many labelled images."""
    made: list[DetectorTraining] = []

    def training(labels: int = 14, detector: bool = True, real: bool = False, **others: Any) -> DetectorTraining:
        submissions = Submissions(tmp_path / "state")
        for item in readable(sample_dir)[:labels]:
            submissions.keep(true_label(item))
        paths = {"detector": write_detector(tmp_path / "given" / "model.pt")} if detector else {}
        config = repository / "bundles" / "opacity_detection" / "configs" / "train.json"
        models = LabellingModels(tmp_path, paths)
        made.append(DetectorTraining(tmp_path / "state", models, StudyFolder(studies), submissions, config, **others))
        if not real:
            (tmp_path / "process.py").write_text(PROCESS)
            made[-1].command = [sys.executable, str(tmp_path / "process.py")]
        return made[-1]

    yield training
    for one in made:
        one.close()


def test_what_cannot_begin_says_why(make: Any) -> None:
    assert make().status() is None and make().stop() is None and make().stats() == {}
    with pytest.raises(InputError, match="^replay: expected a folder of original data"):
        make(replay=Path("/no/such/folder"))
    with pytest.raises(InputError, match="^max_epochs: "):
        make().start({"max_epochs": 0})
    with pytest.raises(UnavailableError, match="^there is no trained detector in bundles/opacity_detection/models; "):
        make(detector=False).start({})


def test_too_few_labels_are_refused_at_once(make: Any) -> None:
    with pytest.raises(InputError, match="^expected labels of at least 10 images, or original data .* got 3$"):
        make(labels=3).start({})


def test_a_status_is_what_the_panel_reads(make: Any) -> None:
    training = make()
    assert training.start(SHORT)["status"] == "RUNNING"
    training.wait(60)
    status = training.status()
    assert (status["status"], status["version"], status["promoted"]) == ("DONE", 1, True)
    assert status["details"] == ["version 1 promoted: AP"] and {"id", "start_ts", "end_ts"} <= status.keys()
    assert training.stats() == {"epoch": 1, "total_epochs": 1, "best_metric": 0.5, "total_time": 1}
    assert training.start(SHORT)["id"] != status["id"]


def test_one_at_a_time_and_ended_on_demand(make: Any) -> None:
    training = make()
    training.start(LONG)
    with pytest.raises(ConflictError, match="^a training is running"):
        training.start(SHORT)
    wait_for(lambda: training.job_folder.progress().get("phase") == "training")
    assert training.status()["details"] == ["epoch 1 of 200, step 2 of 20000, loss 0.500"]
    assert training.stats() == {"epoch": 1, "total_epochs": 200, "best_metric": 0.0}
    assert training.stop()["status"] == "STOPPED"
    assert not training.running() and training.status()["status"] == "STOPPED" and training.stop() is None
    assert not training.job_folder.folder.exists()


def test_a_killed_training_goes_on_with_the_next_request(make: Any) -> None:
    training = make()
    first = training.start(LONG)["id"]
    wait_for(lambda: (training.job_folder.folder / "images.json").is_file())
    os.kill(training._process.pid, signal.SIGKILL)
    training.wait(60)
    assert training.status()["status"] == "STOPPED" and "interrupted" in training.status()["details"][-1]
    again = make()  # the server was killed too
    assert again.status()["status"] == "STOPPED" and again.start(LONG)["id"] == first
    again.wait(60)
    assert again.status()["status"] == "DONE" and (again.job_folder.folder / "runs").read_text() == "xx"


def test_other_options_begin_anew(make: Any) -> None:
    training = make()
    first = training.start(LONG)["id"]
    wait_for(lambda: training.job_folder.progress())
    training.close()
    assert training.status()["status"] == "STOPPED"
    assert training.start(SHORT)["id"] != first


def test_the_process_ends_with_the_server(make: Any) -> None:
    training = make()
    training.start(LONG)
    wait_for(lambda: training.job_folder.progress())
    training._process.stdin.close()
    training.wait(60)
    assert training._process.returncode == 3 and not training.running()


def test_images_of_an_archive_are_fetched(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    training = make()
    find = training.studies.find

    def somewhere(image_id: str) -> StudyImage:
        return StudyImage(find(image_id).image_id, (0, 0), None, f"study of {image_id}", "series")

    monkeypatch.setattr(training.studies, "find", somewhere)
    monkeypatch.setattr(training.studies, "read", StudyFolder(training.studies.root).read)
    training.start(SHORT)
    training.wait(60)
    folder = training.job_folder
    assert json.loads((folder.folder / "images.json").read_text()) == [True] * 14
    assert all(name not in str(list(folder.images.iterdir())) for name in folder.job().images)
    assert set(folder.job().groups.values()) == {f"study of {name}" for name in folder.job().images}


@pytest.mark.slow
def test_the_new_version_is_served_and_every_one_can_be(make: Any, tmp_path: Path) -> None:
    told: list[int] = []
    training = make(real=True, changed=lambda: told.append(1))
    before = training.models.versions()["detector"]
    training.start({**SHORT, "promote_on_few": True})
    training.wait(300)
    status = training.status()
    assert training._process.returncode == 0
    assert status["status"] == "DONE" and status["version"] == 2 and status["reason"] in status["details"][0]
    # untrained weights find nothing, before and after: the new ones do not lose
    assert status["promoted"] and told == [1]
    after = training.models.versions()["detector"]
    assert after != before and training.models.detector().version == after
    assert training.describe()["current"] == 2 and training.describe()["model_version"] == after
    training.restore(1)
    assert training.models.versions()["detector"] == before and len(told) == 2
    with pytest.raises(UnknownError):
        training.restore(9)
    assert make().describe()["current"] == 1  # a server that starts serves what was chosen last
    assert str(tmp_path) not in str(training.describe())
