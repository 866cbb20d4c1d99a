"""The app over HTTP, in this process: what MONAI Label's clients see."""

from __future__ import annotations

import io
import json
import logging
import re
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from monai_dgm.labelling.active_learning.strategies import STRATEGIES
from tests.apps.hostile import bombs

MODELS = ("detect_opacities", "decompose", "classify")
EMPTY = b'{"markups": []}'


def infer(client: Any, model: str, image: str, params: dict[str, Any] | None = None, **query: str) -> Any:
    fields = {"params": json.dumps({"client_id": "reader one", **(params or {})})}
    return client.post(f"/infer/{model}", params={"image": image, **query}, data=fields)


def parts(answer: Any) -> tuple[dict[str, Any], str | None, bytes]:
    """(params, file name, file) of a multipart answer, as the panel takes it apart."""
    header = f"content-type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser().parsebytes(header + answer.content)
    found = {part.get_param("name", header="content-disposition"): part for part in message.get_payload()}
    file = found.get("image")
    params = json.loads(found["params"].get_payload(decode=True))
    return (params, None, b"") if file is None else (params, file.get_filename(), file.get_payload(decode=True))


def submit(client: Any, image: str, document: bytes, reader: str = "reader one", **query: str) -> Any:
    fields = {"params": json.dumps({"label_info": [], "client_id": reader})}
    files = {"label": ("boxes.json", document)}
    return client.put("/datastore/label", params={"image": image, **query}, data=fields, files=files)


def test_the_app_says_what_it_has(client: Any) -> None:
    info = client.get("/info/").json()
    assert {name: model["type"] for name, model in info["models"].items()} == {
        "detect_opacities": "detection", "decompose": "segmentation", "classify": "classification"
    }  # fmt: skip
    assert next(iter(info["strategies"])) == "combined" and len(info["strategies"]) == len(STRATEGIES)
    assert info["datastore"] == {"total": 3, "completed": 0, "label_tags": {}}
    listed = client.get("/datastore/", params={"output": "all"}).json()
    assert sorted(listed["objects"]) == ["Doe_Jane", "Roe_Richard", "c"]


def test_the_saliency_lies_on_the_image_that_is_served(client: Any, tmp_path: Path) -> None:
    params, name, content = parts(infer(client, "decompose", "c", {"threshold": 0.01}))
    assert name == "saliency.nii.gz" and {"abnormality_probability", "severity", "lung_mask_source"} <= params.keys()
    (tmp_path / name).write_bytes(content)
    served = client.get("/datastore/image", params={"image": "c"})
    (tmp_path / "image.nii.gz").write_bytes(served.content)
    image, label = nibabel.load(tmp_path / "image.nii.gz"), nibabel.load(tmp_path / name)
    assert image.shape == label.shape == (120, 90, 1)
    np.testing.assert_array_equal(image.affine, label.affine)


@pytest.mark.parametrize("name", ["saliency", "heat", "normal", "residue", "overlay"])
def test_further_maps_have_an_address(client: Any, name: str) -> None:
    answer = client.get(f"/dgm/maps/{name}", params={"image": "c"})
    assert answer.status_code == 200 and len(answer.content) > 100


def test_boxes_go_to_the_panel_and_come_back(client: Any, studies: Path) -> None:
    params, name, content = parts(infer(client, "detect_opacities", "c"))
    assert name == "opacities.json" and params["boxes"]
    stored = submit(client, "c", content).json()
    assert (stored["status"], stored["reader"], stored["number"]) == ("boxes", "reader one", 1)
    (file,) = (studies / ".monai_dgm" / "labels").rglob("0*.json")
    label = json.loads(file.read_text())
    assert label["model_version"] == params["model_version"] and label["size"] == [90, 120]
    assert [box["box"] for box in label["model_boxes"]] == [box["box"] for box in params["boxes"]]
    for box in label["boxes"]:
        assert min(np.abs(np.subtract(box["box"], other["box"])).max() for other in params["boxes"]) < 1e-2


def test_a_second_reader_is_kept_and_a_negative_is_a_label(client: Any, studies: Path) -> None:
    for reader, document in (("one", EMPTY), ("two", parts(infer(client, "detect_opacities", "c"))[2]), ("one", EMPTY)):
        assert submit(client, "c", document, reader).status_code == 200
    assert len(list((studies / ".monai_dgm" / "labels").rglob("0*.json"))) == 2  # the same again adds nothing
    readers = client.get("/datastore/label/info", params={"label": "c", "tag": "final"}).json()["readers"]
    assert [(reader["reader"], reader["status"]) for reader in readers] == [("one", "no_finding"), ("two", "boxes")]
    objects = client.get("/datastore/?output=all").json()["objects"]
    assert objects["c"]["labels"] and not objects["Doe_Jane"]["labels"]
    assert client.get("/datastore/").json()["completed"] == 1
    assert json.loads(client.get("/datastore/label", params={"label": "c", "tag": "final"}).content)["markups"]


def test_without_boxes_the_panel_gets_a_note(client: Any) -> None:
    params, name, content = parts(infer(client, "detect_opacities", "c", {"score_threshold": 1.0}))
    assert name == "opacities.json" and params["boxes"] == []
    assert "no opacity" in json.loads(content)["markups"][0]["controlPoints"][0]["label"]


def test_classification_is_plain_json(client: Any) -> None:
    values = infer(client, "classify", "c").json()
    assert 0 <= values["abnormality_probability"] <= 1 and values["opacity_probability"] is None


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


def test_a_batch_notes_boxes_for_later_readers(client: Any, studies: Path) -> None:
    assert client.get("/batch/infer/").status_code == 404
    run = client.post("/batch/infer/detect_opacities", params={"run_sync": "true"}).json()
    assert (run["status"], run["done"], run["failed"]) == ("DONE", 3, 0)
    assert client.get("/batch/infer/").json()["id"] == run["id"]
    submit(client, "c", EMPTY, "later")
    (file,) = (studies / ".monai_dgm" / "labels").rglob("0*.json")
    assert json.loads(file.read_text())["model_boxes"]


def test_an_image_is_added_once(client: Any, studies: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(1600, dtype=np.uint8).reshape(40, 40)).save(buffer, "PNG")
    for address, name, status in (("/datastore/image", "new.png", 200), ("/datastore/", "new.PNG", 409)):
        assert client.put(address, files={"file": (name, buffer.getvalue())}).status_code == status
    assert (studies / "new.png").read_bytes() == buffer.getvalue()
    assert infer(client, "classify", "new").status_code == 200


def test_labels_outlive_the_server(start_client: Any, studies: Path) -> None:
    submit(start_client(studies), "c", EMPTY)
    from monailabel.interfaces.utils.app import clear_cache

    clear_cache()
    assert start_client(studies).get("/datastore/").json()["completed"] == 1


def test_without_weights_the_server_says_how_to_train(start_client: Any, studies: Path, tmp_path: Path) -> None:
    client = start_client(studies, decomposer="")
    answer = infer(client, "decompose", "c")
    assert answer.status_code == 503
    assert answer.json()["detail"].startswith("there is no trained decomposer in bundles/dgm/models; train one: ")
    assert submit(client, "c", EMPTY).status_code == 200


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


DOCUMENTS = [
    b"", b"[]", b"null", b"3", b"{", b"\xff\xfe", b"[" * 20_000, b'{"markups": {}}', b'{"markups": [3]}',
    b"\x1f\x8b" * 50, b'{"markups": [{"type": "ROI", "size": [1, 1, 1]}]}',
    b'{"markups": [{"type": "ROI", "center": [0, 0, 0], "size": [NaN, 1, 1]}]}',
    b'{"markups": [{"type": "ROI", "center": [9e9, 0, 0], "size": [1, 1, 1], "controlPoints": [{}]}]}',
    b'{"markups": [{"type": "Line"}]}', b'{"markups": []' + b" " * 2_100_000 + b"}",
]  # fmt: skip


def test_a_label_that_is_none_is_refused(client: Any, studies: Path) -> None:
    for document in DOCUMENTS:
        check_refusal(submit(client, "c", document))
    assert not list((studies / ".monai_dgm" / "labels").rglob("*.json"))


PARAMS = ["[", "[]", "3", '{"map": 3}', '{"threshold": {}}', '{"client_id": [1]}', '{"threshold": 1e999}', "\0"]


def test_wrong_params_are_refused(client: Any) -> None:
    for params in PARAMS:
        check_refusal(client.post("/infer/decompose", params={"image": "c"}, data={"params": params}))


def test_params_cannot_change_what_the_address_says(client: Any) -> None:
    hostile = {"image": "/etc/passwd", "model": "x", "_id": 1, "label": "/etc/passwd", "session": {}, "reader": "one"}
    assert infer(client, "classify", "c", hostile).status_code == 200


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


def test_a_file_is_analysed_and_not_kept(client: Any, studies: Path) -> None:
    content, before = (studies / "c.png").read_bytes(), kept_files(studies)
    for model in MODELS:
        files = {"file": ("anything.png", content)}
        answer = client.post(f"/infer/{model}", files=files, params={"output": "json"}).json()
        same = infer(client, model, "c", output="json").json()
        assert {**answer, "latency": 0} == {**same, "latency": 0}
    assert kept_files(studies) == before
    for name, data in {**bombs(), "x.png": b"x", "x.sh": content}.items():
        check_refusal(client.post("/infer/decompose", files={"file": (name, data)}))
    check_refusal(client.post("/infer/decompose"))


def test_a_full_disk_is_told_in_one_line(client: Any, studies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    app = client.get("/dgm/state").json()
    monkeypatch.setattr(os, "fsync", full)
    for answer in (
        submit(client, "c", EMPTY),
        client.put("/dgm/boxes?image=c", content=b'{"status": "no_finding", "boxes": []}'),
        client.put("/datastore/image", files={"file": ("new.png", (studies / "c.png").read_bytes())}),
    ):
        assert (answer.status_code, answer.json()["detail"]) == (507, "the server's disk is full; nothing was stored")
    monkeypatch.undo()
    assert client.get("/dgm/state").json()["labelled"] == app["labelled"] == 0
    assert not (studies / "new.png").exists()


def test_a_body_that_finds_no_place_on_the_disk_is_told_too(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "write", full)
    answer = submit(client, "c", EMPTY)
    assert (answer.status_code, answer.json()["detail"]) == (507, "the server's disk is full; nothing was stored")


def test_files_beside_the_image_are_not_taken(client: Any) -> None:
    files = {"file": ("../../x.png", b"x")}
    check_refusal(client.post("/infer/decompose", params={"image": "c"}, files=files))
    check_refusal(infer(client, "decompose", "c", session_id="../x"))
    check_refusal(client.put("/datastore/image", params={"image": "../x"}, files={"file": ("x.png", b"x")}))
    check_refusal(client.put("/datastore/image", files={"file": ("../../.x.png", b"x")}))
    check_refusal(client.put("/datastore/image", params={"image": "x"}, files={"file": ("x.sh", b"x")}))


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


def check_refusal(answer: Any) -> None:
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:200])
    detail = answer.json()["detail"]
    assert isinstance(detail, str) and "\n" not in detail and "Traceback" not in detail
    assert "/tmp" not in detail and "/etc/passwd" not in detail


def kept_files(folder: Path) -> list[Path]:
    """Files but the model's boxes, which each inference on an image of the studies keeps."""
    return [path for path in files_of(folder) if "predictions" not in path.parts]


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if "scores.sqlite" not in path.name)
