"""Training from corrections over HTTP: labels in, a version out, killed and ended on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

LABELLED = 12
SHORT = {"max_epochs": 2, "epoch_length": 2, "batch_size": 4, "client_id": "reader one"}
LONG = {**SHORT, "max_epochs": 200, "epoch_length": 100}
EMPTY = b'{"markups": []}'


@pytest.fixture
def truth(sample_dir: Path) -> list[dict[str, Any]]:
    """Simulated radiographs and their boxes."""
    from monai_dgm.data.manifest import load_manifest

    items = [item for item in load_manifest(sample_dir) if item["category"] in ("normal", "lung_opacity")]
    return items[:LABELLED]


@pytest.fixture
def server(
    start_client: Callable[..., Any], truth: list[dict[str, Any]], detector_weights: Path, tmp_path: Path
) -> Iterator[Any]:
    """The app on simulated radiographs."""
    folder = tmp_path / "images"
    folder.mkdir()
    for item in truth:
        shutil.copy(item["image"], folder / f"{item['image_id']}.png")
    yield start_client(folder, detector=str(detector_weights))
    app().training.close()


def app() -> Any:
    from monailabel.interfaces.utils.app import app_instance

    return app_instance()


def submit_truth(client: Any, items: list[dict[str, Any]], reader: str = "one") -> None:
    from monai_dgm.labelling.labels.image_label import make_boxes
    from monai_dgm.labelling.labels.markups import boxes_to_markups

    for item in items:
        placement = app().analysis.placement(item["image_id"])
        document = json.dumps(boxes_to_markups(make_boxes(item["opacity_boxes"]), placement)).encode()
        fields = {"params": json.dumps({"client_id": reader})}
        files = {"label": ("boxes.json", document)}
        answer = client.put("/datastore/label", params={"image": item["image_id"]}, data=fields, files=files)
        assert answer.status_code == 200, answer.text


def train(client: Any, **options: Any) -> Any:
    return client.post("/train/detect_opacities", json=options)


def wait_for(condition: Callable[[], Any], seconds: float = 300.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def served(client: Any, image: str) -> str:
    answer = client.post("/infer/detect_opacities", params={"image": image, "output": "json"})
    return str(answer.json()["model_version"])


def test_labels_become_a_version_although_the_training_is_killed(
    server: Any, truth: list[dict[str, Any]], tmp_path: Path
) -> None:
    assert server.get("/train/").status_code == 404 and server.get("/dgm/versions").json()["versions"] == []
    submit_truth(server, truth)
    submit_truth(server, truth[:2], "two")
    before = served(server, truth[0]["image_id"])
    options = {**SHORT, "max_epochs": 20}
    started = train(server, **options).json()
    assert started["status"] == "RUNNING" and started["details"]
    assert server.get("/train/", params={"check_if_running": "true"}).status_code == 200
    assert train(server, **options).status_code == 409
    checkpoint = app().training.job_folder.output / "checkpoint.pt"
    wait_for(lambda: checkpoint.is_file() or app().training.job_folder.result())
    if app().training.job_folder.result() is None:
        os.kill(app().training._process.pid, signal.SIGKILL)
        app().training.wait(60)
        assert server.get("/train/").json()["status"] == "STOPPED"
        assert server.get("/train/", params={"check_if_running": "true"}).status_code == 404
        assert train(server, **options).json()["id"] == started["id"]
    app().training.wait(300)
    status = server.get("/train/").json()
    assert status["status"] == "DONE" and status["version"] == 2, app().training.job_folder.log.read_text()
    info = server.get("/info/").json()
    assert info["train_stats"]["detect_opacities"]["epoch"] == 20 and info["trainers"]["detect_opacities"]["config"]
    listed = server.get("/dgm/versions").json()
    _, trained = listed["versions"]
    assert listed["current"] == (2 if status["promoted"] else 1) and trained["reason"] == status["reason"]
    assert trained["corrections"]["readers"] == 2 and trained["corrections"]["labels"] == LABELLED + 2
    assert (served(server, truth[0]["image_id"]) != before) == status["promoted"]
    assert server.post("/dgm/versions/1").json()["current"] == 1 and served(server, truth[0]["image_id"]) == before
    assert server.post("/dgm/versions/2").json()["current"] == 2 and served(server, truth[0]["image_id"]) != before
    assert server.get("/datastore/").json()["completed"] == LABELLED
    assert str(tmp_path) not in json.dumps([status, listed, info])


def test_a_training_is_ended_on_demand(server: Any, truth: list[dict[str, Any]]) -> None:
    assert server.delete("/train/").json() is None
    submit_truth(server, truth)
    train(server, **LONG)
    stopped = server.delete("/train/").json()
    assert stopped["status"] == "STOPPED" and server.get("/train/").json()["status"] == "STOPPED"
    assert not app().training.running() and server.get("/dgm/versions").json()["current"] is None
    assert server.get("/datastore/").json()["completed"] == LABELLED


WRONG = [{"max_epochs": 0}, {"max_epochs": "../x"}, {"learning_rate": 5}, {"batch_size": [1]}, {"replay": "/etc"}]


def test_what_is_wrong_is_refused_in_one_line(server: Any, truth: list[dict[str, Any]]) -> None:
    submit_truth(server, truth)
    answers = [train(server, **options) for options in WRONG]
    answers += [server.post("/train/detect_opacities", content=content) for content in (b"[]", b"{", b"\xff", b"3")]
    answers += [server.post(f"/train/{name}", json={}) for name in ("decompose", "x", "..%2fx", "%00")]
    answers += [server.post(f"/dgm/versions/{name}") for name in ("1", "0", "-1", "x", "..%2f1", "9" * 30, "%d9%a1")]
    for answer in answers:
        assert 400 <= answer.status_code < 500, answer.text
        detail = answer.json()["detail"]
        assert isinstance(detail, str) and "\n" not in detail and "etc" not in detail
    assert server.get("/train/").status_code == 404 and not app().training.folder.exists()


def test_too_few_labels_and_no_detector(
    server: Any, start_client: Callable[..., Any], truth: list[dict[str, Any]], tmp_path: Path
) -> None:
    submit_truth(server, truth[:3])
    answer = train(server)
    assert answer.status_code == 400 and answer.json()["detail"].startswith("expected labels of at least 10 images, or")
    other = tmp_path / "other"
    shutil.copytree(tmp_path / "images", other)
    answer = train(start_client(other))
    assert answer.status_code == 503
    assert answer.json()["detail"].startswith("there is no trained detector in bundles/opacity_detection/models; ")
