"""Hostile requests over our routes: refused in one line, nothing written, nothing logged of what came in."""

from __future__ import annotations

import json
import logging
import random
import resource
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.apps.hostile import BOXES, COCO, MARK, MARKUPS, NAMES, bombs, malformed
from tests.apps.panel import files_of
from tests.labelling.fake_archive import FakeArchive, serving

pytest.importorskip("monailabel", reason="MONAI Label is not installed (pip install -e '.[label]')")

IMAGE = "Doe_Jane"
MAX_GROWTH = 400_000  # kB; one of the bombs would take a GB at least
RaiseHttpError = Callable[[Any], None]


@pytest.fixture
def watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[RaiseHttpError]:
    """A function that an answer has to stand up to; afterwards no file is new, and no log knows what was asked."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    before = files_of(tmp_path)  # of the server that runs already

    def refuse(answer: Any) -> None:
        text = answer.text
        assert 400 <= answer.status_code < 500, (answer.request.url, answer.status_code, text[:300])
        assert len(text) < 600 and MARK not in text and IMAGE not in text, (answer.request.url, text[:600])
        assert "Traceback" not in text and str(tmp_path) not in text
        detail = answer.json()["detail"]
        assert isinstance(detail, str) and "\n" not in detail

    with caplog.at_level(logging.DEBUG):
        yield refuse
    assert files_of(tmp_path) == before
    ours = [line.getMessage() for line in caplog.records if not line.name.startswith(("httpx", "httpcore"))]
    assert not [line for line in ours if MARK in line or IMAGE in line or "Traceback" in line]


def put_label(client: Any, content: bytes, image: str = IMAGE) -> Any:
    return client.put("/datastore/label", params={"image": image}, files={"label": (f"../{MARK}.json", content)})


def put_boxes(client: Any, content: bytes, image: str = IMAGE) -> Any:
    return client.put("/dgm/boxes", params={"image": image}, content=content)


def put_labels(client: Any, content: bytes, **query: str) -> Any:
    return client.put("/dgm/labels", params={"form": "coco", "reader": "one", **query}, content=content)


def test_no_name_leads_anywhere(client: Any, watched: RaiseHttpError) -> None:
    boxes, empty = json.dumps(BOXES).encode(), b'{"markups": []}'
    header = "patientId,x,y,width,height,Target\n"
    for name in NAMES:
        watched(client.get("/dgm/boxes", params={"image": name}))
        watched(client.get("/dgm/boxes", params={"image": IMAGE, "fresh": name}))
        watched(put_boxes(client, boxes, name))
        watched(put_label(client, empty, name))
        watched(client.get("/dgm/layers/normal", params={"image": name}))
        watched(client.get("/dgm/labels", params={"form": name}))
        watched(client.get("/dgm/labels", params={"form": "json", "readers": name}))
        watched(put_labels(client, json.dumps(COCO).encode(), form=name))
        image = {**COCO["images"][0], "image_id": name}
        watched(put_labels(client, json.dumps({**COCO, "images": [image]}).encode()))
        del image["image_id"]
        watched(put_labels(client, json.dumps({**COCO, "images": [{**image, "file_name": name}]}).encode()))
        watched(put_labels(client, f"{header}{name},1,2,3,4,1\n".encode(), form="rsna"))
        file = {"file": (name, b"x")}
        watched(client.put("/datastore/image", params={"image": name}, files=file))
        watched(client.put("/datastore/image", files={"file": (name + ".png", b"x")}))
        query = {"image": IMAGE, "session_id": name}
        watched(client.post("/infer/classify", params=query))


def test_no_address_leads_anywhere(client: Any, watched: RaiseHttpError) -> None:
    for name in (
        "..%2f",
        "%2e%2e/",
        "%2e%2e%2f%2e%2e%2f",
        "%252e%252e%252f",
        "%00",
        "%0d%0a",
        "%ff%fe",
        "%5c",
        "a" * 3000,
    ):
        for start in ("/dgm/layers/", "/dgm/maps/", "/dgm/versions/", "/dgm/studies/", "/dgm/labels/", "/dicom-web/"):
            watched(client.get(f"{start}{name}{MARK}", params={"image": IMAGE}))
        watched(client.post(f"/dicom-web/studies/{name}{MARK}", content=b"x"))
        watched(client.get(f"/dgm/boxes?image={name}{MARK}"))
        watched(client.get(f"/datastore/image?image={name}{MARK}"))
    for method, path in (
        ("DELETE", "/dgm/labels"),
        ("POST", "/dgm/boxes"),
        ("PUT", "/dgm/state"),
        ("PUT", "/dgm/archive"),
    ):
        watched(client.request(method, path))


def test_readers_become_no_path(client: Any, studies: Path) -> None:
    outside = [path for path in files_of(studies.parent) if ".monai_dgm" not in path.parts]
    for name in NAMES:
        answer = client.put(
            "/dgm/boxes", params={"image": IMAGE, "reader": name}, content=b'{"status": "no_finding", "boxes": []}'
        )
        assert answer.status_code in (200, 400), answer.text
        fields = {"params": json.dumps({"reader": name})}
        files = {"label": ("x.json", b'{"markups": []}')}
        assert client.put("/datastore/label", params={"image": IMAGE}, data=fields, files=files).status_code in (
            200,
            400,
        )
        imported = put_labels(client, json.dumps({**COCO, "annotations": []}).encode(), reader=name)
        assert imported.status_code in (200, 400) and "x-evil" not in imported.headers
    assert [path for path in files_of(studies.parent) if ".monai_dgm" not in path.parts] == outside
    for path in (studies / ".monai_dgm" / "labels").rglob("*.json"):
        assert [len(part) for part in path.relative_to(studies / ".monai_dgm" / "labels").parts] == [64, 64, 11]


def test_the_documents_are_sound_before_they_are_damaged(client: Any) -> None:
    for answer in (
        put_label(client, json.dumps(MARKUPS).encode()),
        put_boxes(client, json.dumps(BOXES).encode()),
        put_labels(client, json.dumps(COCO).encode()),
    ):
        assert answer.status_code == 200, answer.text


def test_malformed_documents(client: Any, watched: RaiseHttpError) -> None:
    puts = (put_label, put_boxes, put_labels)
    for seed in range(100):
        for kind, put in enumerate(puts):
            watched(put(client, malformed(kind, seed)))
        value = NUMBERS[seed % len(NUMBERS)]
        row = ["c", "1", "2", "3", "4", "1"]
        row[1 + seed % 5] = value
        content = f"patientId,x,y,width,height,Target\nc,5,6,7,8,1\n{','.join(row)}\n".encode()
        watched(put_labels(client, content, form="rsna"))


NUMBERS = ("nan", "inf", "-1", "1e400", "9" * 400, MARK, "", "\0", "0x10")

VALUES: list[Any] = [None, True, [], {}, [MARK], {"a": MARK}, MARK, f"../{MARK}", "", "\u0665", "\u00b2", "1e999", "-0"]
VALUES += [10**400, -1, 1e308, float("nan"), float("inf"), "x" * 10_000, "\ud800", "\0"]
OPTIONS = ("map", "threshold", "fixed_threshold", "score_threshold", "client_id", "reader", "latency", "label_info")


def test_options_of_every_type(client: Any) -> None:
    rng = random.Random(0)
    for _ in range(60):
        params = {rng.choice(OPTIONS): rng.choice(VALUES) for _ in range(2)}
        for model in ("detect_opacities", "decompose", "classify"):
            query, fields = {"image": "c", "output": "json"}, {"params": json.dumps(params)}
            answer = client.post(f"/infer/{model}", params=query, data=fields)
            assert answer.status_code in (200, 400), (params, answer.text)
        answer = client.post("/activelearning/random", content=json.dumps(params).encode())
        assert answer.status_code in (200, 400, 422), (params, answer.text)


def test_bombs_are_not_decoded(client: Any, watched: RaiseHttpError, studies: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    files = bombs()
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # to make them takes memory too
    for name, content in files.items():
        assert len(content) < 5_000_000
        watched(client.put("/datastore/image", files={"file": (name, content)}))
    for name, content in files.items():
        (studies / name).write_bytes(content)
    client.get("/datastore/")
    from monailabel.interfaces.utils.app import app_instance

    app_instance().analysis.studies.refresh()
    for name in files:
        image = {"image": name.split(".")[0]}
        watched(client.get("/datastore/image", params=image))
        watched(client.post("/infer/detect_opacities", params=image))
        watched(client.get("/dgm/boxes", params=image))
        watched(client.get("/datastore/image/info", params=image))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - max(before, base) < MAX_GROWTH
    for name in files:
        (studies / name).unlink()


BODIES: list[tuple[str, bytes]] = [
    ("application/json", b'{"label": 3}'),
    ("application/x-www-form-urlencoded", b"label=" + MARK.encode()),
    ("application/x-www-form-urlencoded; charset=none", b"params=%ff"),
    ("multipart/form-data", b"--x\r\n"),
    ("multipart/form-data; boundary=x", b""),
    ("multipart/form-data; boundary=x", b"--y\r\nz" + MARK.encode()),
    (
        "multipart/form-data; boundary=x; charset=none",
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--',
    ),
    ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--\r\n"),
    ("multipart/form-data; boundary=" + "x" * 5000, b"--x"),
    ("multipart/form-data; boundary=x", b"--x\r\n" + b"A: b\r\n" * 5000 + b"\r\n1\r\n--x--\r\n"),
    ("application/dicom", b"DICM" * 9),
    ("", b"\xff" * 9),
    ("image/png\xff", b"x"),
    ("text/html", b"<script>"),
]
FIELDS = b"".join(b'--x\r\nContent-Disposition: form-data; name="%d"\r\n\r\n1\r\n' % i for i in range(3000)) + b"--x--"


def test_wrong_types_of_content(client: Any, watched: RaiseHttpError) -> None:
    for kind, content in [*BODIES, ("multipart/form-data; boundary=x", FIELDS)]:
        headers = {"content-type": kind.encode("latin-1")}
        for method, path in (
            ("PUT", f"/datastore/label?image={IMAGE}"),
            ("PUT", f"/datastore/image?image={MARK}"),
            ("PUT", f"/dgm/boxes?image={IMAGE}"),
            ("PUT", "/dgm/labels?form=coco&reader=one"),
            ("PUT", "/dgm/labels?form=rsna&reader=one"),
            ("POST", "/dicom-web/studies"),
            ("POST", "/train/x"),
            ("POST", "/activelearning/x"),
            ("POST", "/batch/infer/x"),
            ("POST", "/infer/x"),
        ):
            watched(client.request(method, path, content=content, headers=headers))


def test_fields_twice_and_missing(client: Any, watched: RaiseHttpError) -> None:
    for path in ("/dgm/labels", "/dgm/labels?form=coco", "/dgm/boxes", "/datastore/label", "/datastore/image"):
        watched(client.put(path, content=b"{}"))
    for path in ("/dgm/boxes", "/dgm/layers/normal", "/datastore/image", "/datastore/label", "/dgm/maps/normal"):
        watched(client.get(path))
        watched(client.get(path, params=[("image", IMAGE), ("image", MARK), ("label", MARK)]))
    watched(client.get("/dgm/boxes", params={"image": IMAGE, "reader": "x" * 300}))
    watched(client.get("/dgm/labels", params={"readers": "x" * 9000}))


@pytest.fixture
def archive() -> Iterator[FakeArchive]:
    with serving(FakeArchive()) as fake:
        yield fake


@pytest.fixture
def archive_client(start_client: Any, archive: FakeArchive, tmp_path: Path) -> Any:
    conf = {"state_dir": str(tmp_path / "state"), "poll_seconds": "1000", "send_results": "false"}
    return start_client(archive.url, **conf)


def test_an_archive_is_asked_for_nothing_hostile(
    archive_client: Any, archive: FakeArchive, watched: RaiseHttpError
) -> None:
    for name in NAMES:
        quoted = "".join(f"%{byte:02x}" for byte in name.encode())
        watched(archive_client.get(f"/dgm/studies/{quoted}"))
        watched(archive_client.get(f"/dicom-web/studies/{quoted}/metadata"))
        watched(archive_client.post(f"/dicom-web/studies/{quoted}", content=b"x"))
        watched(archive_client.post("/infer/classify", params={"image": name}))
        watched(archive_client.get("/dgm/boxes", params={"image": name}))
        watched(archive_client.get(f"/dicom-web/studies/1.2.3/metadata?{quoted}"))
    assert not [line for line in archive.asked if MARK in line.partition("?")[0]]
