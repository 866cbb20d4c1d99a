"""The app over HTTP, in this process: what it has, what is next, and what it refuses on all routes."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest

from monai_dgm.labelling.active_learning.strategies import STRATEGIES
from tests.apps.panel import EMPTY, MODELS, check_refusal, files_of, infer, submit


def test_the_app_says_what_it_has(client: Any) -> None:
    info = client.get("/info/").json()
    assert {name: model["type"] for name, model in info["models"].items()} == {
        "detect_opacities": "detection", "decompose": "segmentation", "classify": "classification"
    }  # fmt: skip
    assert next(iter(info["strategies"])) == "combined" and len(info["strategies"]) == len(STRATEGIES)
    assert info["datastore"] == {"total": 3, "completed": 0, "label_tags": {}}
    listed = client.get("/datastore/", params={"output": "all"}).json()
    assert sorted(listed["objects"]) == ["Doe_Jane", "Roe_Richard", "c"]


def test_a_damaged_file_of_the_server_is_not_named_to_clients(client: Any, tmp_path: Path) -> None:
    (scores,) = tmp_path.rglob("scores.sqlite")
    assert client.post("/activelearning/combined").status_code == 200
    scores.write_bytes(b"no database" * 1000)
    answer = client.post("/activelearning/combined")
    assert answer.status_code == 500 and "its log says which" in answer.json()["detail"]
    assert "scores" not in answer.text and str(tmp_path) not in answer.text


def test_labelled_images_are_not_chosen_again(client: Any) -> None:
    for strategy in STRATEGIES:
        chosen = client.post(f"/activelearning/{strategy}", json={"client_id": "x"}).json()
        assert chosen["name"] == chosen["id"] + ".nii.gz" and "path" not in chosen
        head = client.head("/datastore/image", params={"image": chosen["id"], "check_sum": chosen["checksum"]})
        assert head.status_code == 200
    for image in ("Doe_Jane", "Roe_Richard", "c"):
        assert client.post("/activelearning/combined").json()["id"]
        submit(client, image, EMPTY)
    assert client.post("/activelearning/combined").json() == {}


TRAVERSALS = [
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    "c.png",
    "sub/../c",
    "c\0",
    "c\n",
    "~",
    "%2e%2e%2fc",
    "c" * 300,
    "",
]
NAMES = ["../x", "..%2fx", "x", "%00", "a" * 200, "wsi", "decompose/x", "..", "{}"]


def test_no_path_is_an_image(client: Any, studies: Path) -> None:
    before = files_of(studies.parent)
    for image in TRAVERSALS:
        answers = [infer(client, model, image) for model in MODELS]
        answers += [submit(client, image, EMPTY), client.get("/dgm/maps/normal", params={"image": image})]
        answers += [client.get(f"/datastore/{kind}", params={"image": image}) for kind in ("image", "image/info")]
        label = {"label": image, "tag": "final"}
        answers += [client.get(f"/datastore/{kind}", params=label) for kind in ("label", "label/info")]
        for answer in answers:
            check_refusal(answer)
    assert files_of(studies.parent) == before


def test_no_path_is_a_model_a_strategy_a_map_or_a_tag(client: Any, studies: Path) -> None:
    before = files_of(studies.parent)
    for name in NAMES:
        answers = [client.post(f"/infer/{name}", params={"image": "c"}), client.post(f"/activelearning/{name}")]
        answers += [client.get(f"/dgm/maps/{name}", params={"image": "c"}), client.post(f"/batch/infer/{name}")]
        answers += [submit(client, "c", EMPTY, tag=name)]
        answers += [client.get("/datastore/label", params={"label": "c", "tag": name})]
        answers += [infer(client, "decompose", "c", {"map": name}), infer(client, "decompose", "c", output=name)]
        answers += [client.post(f"/train/{name}", json={}), client.put(f"/model/{name}", files={"file": ("x.pt", b"")})]
        for answer in answers:
            check_refusal(answer)
    assert files_of(studies.parent) == before


CLOSED = [
    ("POST", "/reload"), ("GET", "/logs/"), ("GET", "/logs/gpu"), ("GET", "/proxy/dicom/x"), ("GET", "/ohif/../x"),
    ("GET", "/datastore/dataset"), ("PUT", "/session/"), ("DELETE", "/datastore/image"), ("DELETE", "/datastore/label"),
    ("PUT", "/datastore/label/info"), ("PUT", "/datastore/updatelabelinfo"), ("POST", "/infer/wsi_v2/decompose"),
    ("PUT", "/model/decompose"), ("GET", "/model/decompose"), ("POST", "/train/x"), ("GET", "/static/../config.py"),
]  # fmt: skip


def test_what_the_platform_offers_beyond_is_closed(client: Any) -> None:
    for method, path in CLOSED:
        check_refusal(client.request(method, path))


def test_one_unreadable_image_ends_no_strategy(client: Any, studies: Path) -> None:
    from monailabel.interfaces.utils.app import app_instance

    for name in ("Doe_Jane.png", "Roe_Richard.jpg"):
        (studies / name).write_bytes((studies / name).read_bytes()[:200])
    app_instance().analysis.studies.refresh()
    for strategy in STRATEGIES:
        answer = client.post(f"/activelearning/{strategy}")
        assert answer.status_code == 200 and answer.json()["id"] == "c", strategy
    (studies / "c.png").write_bytes(b"x")
    assert client.post("/activelearning/random").json() == {}


def test_requests_from_elsewhere_are_refused(client: Any) -> None:
    answer = client.get("/info/", headers={"origin": "http://evil.example"})
    assert answer.status_code == 403
    check_refusal(answer)
    for origin in ("http://localhost:3000", "http://127.0.0.1:8000"):  # whatever else runs on this machine
        assert client.delete("/batch/infer", headers={"origin": origin}).status_code == 403
    assert client.delete("/batch/infer", headers={"origin": "http://localhost"}).status_code == 404  # there is none
    for host in ("evil.example", "127.0.0.1.evil.example", "", "10.0.0.1", "0.0.0.0"):  # DNS rebinding
        for path in ("/info/", "/dgm/state"):
            answer = client.get(path, headers={"host": host})
            assert (answer.status_code, answer.text) == (400, "Invalid host header")
    for host in ("localhost", "127.0.0.1:8000", "LOCALHOST:8000", "[::1]:8000"):
        assert client.get("/dgm/state", headers={"host": host}).status_code == 200


def test_nothing_logged_tells_a_patient(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for model in MODELS:
            infer(client, model, "Doe_Jane", {"client_id": "Dr Roe_Richard"})
        submit(client, "Doe_Jane", EMPTY, "Dr Roe_Richard")
        submit(client, "Doe_Jane", b"{", "Dr Roe_Richard")
        client.get("/datastore/image", params={"image": "Doe_Jane"})
        client.post("/activelearning/combined")
        client.post("/batch/infer/detect_opacities", params={"run_sync": "true"})
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert not [message for message in ours if re.search("Doe|Roe|Jane|Richard", message)]
