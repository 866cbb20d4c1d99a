"""What the viewer's extension asks for, over HTTP, in this process."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from monai_dgm.transforms.boxes import SAME_BOX_PIXELS

BOXES = [{"box": [10, 20, 60, 70], "label": "lung_opacity", "score": 0.5}, {"box": [-2, 30, 40, 95]}]


def put(client: Any, document: Any, image: str = "c", **query: str) -> Any:
    content = document if isinstance(document, (str, bytes)) else json.dumps(document)
    return client.put("/dgm/boxes", params={"image": image, **query}, content=content)


def stored(studies: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted((studies / ".monai_dgm" / "labels").rglob("*.json"))]


def test_boxes_are_shown_and_submitted(client: Any, studies: Path) -> None:
    seen = {"image": "c", "reader": "one"}
    looked = client.get("/dgm/boxes", params=seen).json()
    assert not list((studies / ".monai_dgm" / "predictions").rglob("*.json"))  # looking stores nothing
    shown = client.post("/dgm/boxes", params=seen).json()
    assert shown == {**looked, "own": None, "reserved": True}
    assert (shown["rows"], shown["cols"], shown["box_source"]) == (90, 120, "saliency")
    assert shown["remark"] == "" and shown["boxes_withheld"] == 0
    again = client.post("/dgm/boxes", params={**seen, "fresh": "true"}).json()
    assert again == shown and shown["readers"] == [] and shown["same_box_pixels"] == SAME_BOX_PIXELS
    answer = put(client, {"status": "boxes", "boxes": BOXES}, reader="one")
    assert answer.status_code == 200 and answer.json()["boxes"][1]["box"] == [0, 30, 40, 90]
    (label,) = stored(studies)
    assert (label["image_id"], label["reader"], label["source"]) == ("c", "one", "ohif")
    assert label["boxes"] == answer.json()["boxes"]
    assert (label["model_boxes"], label["model_version"]) == (shown["boxes"], shown["model_version"])
    own = client.post("/dgm/boxes", params=seen).json()["own"]
    assert (own["status"], own["boxes"], own["time"]) == ("boxes", label["boxes"], label["time"])
    assert client.post("/dgm/boxes", params={"image": "c", "reader": "two"}).json()["own"] is None


def test_a_box_that_was_left_alone_is_the_models_box_again(client: Any, studies: Path) -> None:
    shown = client.post("/dgm/boxes", params={"image": "c", "reader": "one"}).json()["boxes"]
    assert shown
    nudged = [{**box, "box": [edge - 0.4 * (edge > 1) for edge in box["box"]], "score": None} for box in shown]
    assert put(client, {"status": "boxes", "boxes": nudged}, reader="one").json()["boxes"] == shown
    moved = [{**shown[0], "box": [edge - 3 * (edge > 3) for edge in shown[0]["box"]]}]
    assert put(client, {"status": "boxes", "boxes": moved}, reader="one").json()["boxes"] == moved


def test_a_second_reader_is_kept_and_a_negative_is_a_label(client: Any, studies: Path) -> None:
    assert put(client, {"status": "boxes", "boxes": BOXES}, reader="one").status_code == 200
    assert put(client, {"status": "no_finding", "boxes": []}, reader="two").json()["status"] == "no_finding"
    assert [(label["reader"], label["status"]) for label in sorted(stored(studies), key=lambda one: one["time"])] == [
        ("one", "boxes"),
        ("two", "no_finding"),
    ]
    state = client.get("/dgm/state").json()
    assert (state["state"], state["images"], state["labelled"]) == ("ready", 3, 1)
    assert state["models"]["decomposer"].startswith("decomposer-")


@pytest.mark.parametrize(
    "document",
    [
        "",
        "[]",
        {"status": "boxes", "boxes": []},
        {"status": "no_finding", "boxes": BOXES},
        {"status": "boxes", "boxes": [{"box": [500, 500, 600, 600]}]},
        '{"status": "boxes", "boxes": [{"box": [1, 2, NaN, 4]}]}',
        {"status": "boxes", "boxes": [{"box": [i / 2, 0, 50, 50]} for i in range(201)]},
        b"\xff" * 1000,
    ],
)
def test_what_is_no_label_is_refused_in_one_line(client: Any, studies: Path, document: Any) -> None:
    answer = put(client, document)
    assert answer.status_code == 400 and "\n" not in answer.json()["detail"]
    assert stored(studies) == []


def test_unknown_images_and_names_are_not_found(client: Any) -> None:
    for image in ("none", "../c", "/etc/passwd", ".monai_dgm"):
        assert client.get("/dgm/boxes", params={"image": image}).status_code == 404
        assert put(client, {"status": "no_finding", "boxes": []}, image).status_code == 404
        assert client.get("/dgm/layers/normal", params={"image": image}).status_code == 404
        assert client.get("/dgm/numbers", params={"image": image}).status_code == 404
    assert client.get("/dgm/layers/passwd", params={"image": "c"}).status_code == 404


def test_the_numbers_of_a_case_and_its_maps(client: Any) -> None:
    numbers = client.get("/dgm/numbers", params={"image": "c"}).json()
    assert 0 <= numbers["abnormality_probability"] <= 1 and 0 <= numbers["burden"]["total"]["salient_share"] <= 1
    assert "not for diagnosis" in numbers["disclaimer"] and {"residue", "saliency"} <= numbers["layers"].keys()
    for name in ("radiograph", "normal", *numbers["layers"]):
        answer = client.get(f"/dgm/layers/{name}", params={"image": "c"})
        assert answer.headers["content-type"] == "image/png"
        assert Image.open(io.BytesIO(answer.content)).size[0] >= 512


def test_the_next_case_is_one_that_nobody_labelled_or_skipped(client: Any) -> None:
    def ask_next(**values: Any) -> Any:
        return client.post("/dgm/next", json=values)

    first = ask_next().json()["image"]
    assert put(client, {"status": "no_finding", "boxes": []}, first, reader="one").status_code == 200
    second = ask_next().json()["image"]
    third = ask_next(skipped=[second]).json()["image"]
    assert {first, second, third} == {"Doe_Jane", "Roe_Richard", "c"}
    assert ask_next(skipped=[second, third]).json() == {}
    for wrong in ({"skipped": "c"}, {"skipped": ["c"] * 2000}, {"other": 1}, {"strategy": "../x"}):
        assert ask_next(**wrong).status_code in (400, 404)


def test_the_viewer_and_our_extension_are_served(start_client: Any, studies: Path, tmp_path: Path) -> None:
    folder = tmp_path / "dist"
    folder.mkdir()
    (folder / "index.html").write_text('<script src="/app-config.js"></script>')
    (tmp_path / "secret.js").write_text("secret")
    client = start_client(studies, ohif_dir=str(folder))
    page = client.get("/ohif/viewer", params={"StudyInstanceUIDs": "1.2.3"})
    assert page.status_code == 200 and "/ohif/app-config.js" in page.text
    assert "connect-src 'self'" in page.headers["content-security-policy"]
    assert client.get("/ohif").url.path == "/ohif/"
    script = client.get("/ohif/app-config.js").text
    assert script.index("dgm.server = ") < script.index("dgm.extension = ") < script.index("window.config = ")
    for path in ("../secret.js", "..%2fsecret.js", "%2e%2e/secret.js", "none.js"):
        assert client.get(f"/ohif/{path}").status_code == 404
    assert client.post("/ohif/viewer").status_code == 405


def test_without_the_viewer_there_is_advice(start_client: Any, studies: Path, tmp_path: Path) -> None:
    answer = start_client(studies, ohif_dir=str(tmp_path / "none")).get("/ohif/")
    assert answer.status_code == 503 and "make ohif" in answer.json()["detail"]


@pytest.fixture
def fetch_ohif(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(repository / "apps" / "radiology_dgm"))
    import fetch_ohif

    yield fetch_ohif
    sys.modules.pop("fetch_ohif")


def package(path: Path, **files: str) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def test_a_package_is_checked_and_unpacked(fetch_ohif: Any, tmp_path: Path) -> None:
    archive = package(tmp_path / "a.tgz", **{"package/dist/index.html": "new", "package/package.json": "{}"})
    expected = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    fetch_ohif.check_integrity(archive, expected)
    with pytest.raises(fetch_ohif.FetchError, match="integrity"):
        fetch_ohif.check_integrity(archive)
    for _ in range(2):  # a second time in the place of the first
        assert (fetch_ohif.unpack(archive, tmp_path / "there") / "index.html").read_text() == "new"
    assert [file.name for file in (tmp_path / "there").iterdir()] == ["dist"]


def test_a_package_that_leads_out_is_refused(fetch_ohif: Any, tmp_path: Path) -> None:
    archive = package(tmp_path / "a.tgz", **{"package/dist/index.html": "x", "../../out.txt": "x"})
    with pytest.raises(fetch_ohif.FetchError):
        fetch_ohif.unpack(archive, tmp_path / "there")
    assert not (tmp_path / "out.txt").exists() and list((tmp_path / "there").iterdir()) == []


def test_without_npm_there_is_advice(
    fetch_ohif: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(fetch_ohif, "fetch", lambda fetch=fetch_ohif.fetch: fetch(tmp_path / "there"))
    assert fetch_ohif.main() == 1
    assert "npm is not installed" in capsys.readouterr().err
