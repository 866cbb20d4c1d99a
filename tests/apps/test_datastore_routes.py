"""Images and labels over HTTP, as MONAI Label's clients store and read them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.apps.panel import EMPTY, check_refusal, infer, parts, submit


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
