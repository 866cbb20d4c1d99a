"""The app over an archive, in this process: studies, its cache, and DICOMweb passed on to a viewer."""

from __future__ import annotations

import io
import json
import logging
import struct
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest

from monai_dgm.labelling.dicom_objects.derived import encode_dicom
from tests.labelling.dicom_objects.study import corners, group, region, report
from tests.labelling.fake_archive import PATIENT, FakeArchive, as_file, radiograph, serving

pytest.importorskip("monailabel", reason="MONAI Label is not installed (pip install -e '.[label]')")


@pytest.fixture
def archive() -> Iterator[FakeArchive]:
    with serving(FakeArchive()) as fake:
        yield fake


@pytest.fixture
def image(archive: FakeArchive) -> pydicom.Dataset:
    dataset = radiograph()
    archive.add(dataset)
    return dataset


@pytest.fixture
def client(start_client: Any, archive: FakeArchive, image: pydicom.Dataset, tmp_path: Path) -> Any:
    conf = {"state_dir": str(tmp_path / "state"), "poll_seconds": "0.2", "send_results": "false"}
    started = start_client(archive.url, **conf)
    deadline = time.monotonic() + 60
    while not started.get("/dgm/archive").json()["listed"]:  # in the background
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return started


def test_images_say_in_which_study_they_are(client: Any, image: pydicom.Dataset) -> None:
    found = client.get(f"/dgm/studies/{image.StudyInstanceUID}").json()
    assert found == [{"image": image.SOPInstanceUID, "series": image.SeriesInstanceUID, "rows": 90, "cols": 120}]
    info = client.get("/datastore/image/info", params={"image": image.SOPInstanceUID}).json()
    chosen = client.post("/activelearning/random").json()
    for answer in (info, chosen):
        assert (answer["study"], answer["series"]) == (image.StudyInstanceUID, image.SeriesInstanceUID)
    assert chosen["id"] == image.SOPInstanceUID and list(client.get("/datastore/?output=all").json()["objects"])


def test_models_run_on_the_archives_images(client: Any, image: pydicom.Dataset) -> None:
    answer = client.post("/infer/detect_opacities", params={"image": image.SOPInstanceUID, "output": "json"})
    assert answer.status_code == 200 and answer.json()["rows"] == 90


@pytest.mark.parametrize("study", ["1.2.3", "..", "x", "1..2", "a" * 300])
def test_unknown_studies(client: Any, study: str) -> None:
    answer = client.get(f"/dgm/studies/{study}")
    assert answer.status_code == 404 and "\n" not in answer.json()["detail"]


def test_images_are_not_added_here(client: Any) -> None:
    assert client.put("/datastore/image", files={"file": ("x.png", b"x")}).status_code == 403


def test_the_cache_is_emptied(client: Any, image: pydicom.Dataset, tmp_path: Path) -> None:
    def kept() -> list[Path]:  # what is on its way, for the watch, comes under another name
        return [path for path in (tmp_path / "state" / "cache").iterdir() if not path.name.startswith(".partial")]

    client.get("/datastore/image", params={"image": image.SOPInstanceUID})
    assert len(kept()) == 1
    assert client.delete("/dgm/cache").json() == {"removed": 1}
    assert not kept()


def test_a_viewer_reads_the_archive_through_the_server(client: Any, archive: FakeArchive, image) -> None:
    found = client.get("/dicom-web/studies/" + image.StudyInstanceUID + "/series", params={"limit": 5})
    assert found.json()[0]["0020000E"]["Value"] == [image.SeriesInstanceUID]
    assert found.headers["cache-control"] == "no-store"
    assert any(asked.endswith("/series?limit=5") for asked in archive.asked)
    path = f"studies/{image.StudyInstanceUID}/series/{image.SeriesInstanceUID}/instances/{image.SOPInstanceUID}"
    wanted = {"accept": 'multipart/related; type="application/dicom"'}
    answer = client.get(f"/dicom-web/{path}", headers=wanted)
    assert encode_dicom(image) in answer.content and answer.headers["content-type"].startswith("multipart/related")
    refused = client.get("/dicom-web/studies/1.2/metadata")
    assert refused.status_code == 404 and refused.json() == {"detail": "the archive refuses it (status 404)"}


@pytest.mark.parametrize("path", ["../system", "studies/..%2f..%2fx", "studies/%2e%2e", "system", "studies/1.2/x", ""])
def test_no_other_address_of_the_archive_is_reached(client: Any, archive: FakeArchive, path: str) -> None:
    def others() -> list[str]:  # whether the archive is Orthanc is asked once by the server itself
        return [
            line
            for line in archive.asked
            if line != "GET /system" and ("system" in line or ".." in line or "%" in line)
        ]

    asked = others()
    for method in ("GET", "POST", "DELETE", "PUT"):
        assert 400 <= client.request(method, f"/dicom-web/{path}").status_code < 500
    assert others() == asked


def test_a_report_stored_through_the_server_becomes_a_label(
    client: Any, archive: FakeArchive, image: pydicom.Dataset, tmp_path: Path
) -> None:
    drawn = as_file(report(image, group(region(image, "POLYLINE", corners(10, 20, 40, 60))), person="Roe^Ann"))
    body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + encode_dicom(drawn) + b"\r\n--x--"
    kind = 'multipart/related; type="application/dicom"; boundary=x'
    assert client.post("/dicom-web/studies", content=body, headers={"content-type": kind}).status_code == 200
    assert len(archive.of("SR")) == 1
    from monailabel.interfaces.utils.app import app_instance

    app_instance().watcher.run_round()
    (file,) = (tmp_path / "state" / "labels").rglob("0*.json")
    label = json.loads(file.read_text())
    assert label["boxes"][0]["box"] == [10, 20, 40, 60] and label["source"] == "ohif_report"
    assert client.get("/dgm/archive").json()["reports"] == {"stored": 1}


def test_the_audit_log_names_the_study_of_a_report(client: Any, archive: FakeArchive, image: pydicom.Dataset) -> None:
    from monailabel.interfaces.utils.app import app_instance

    drawn = as_file(report(image, group(region(image, "POLYLINE", corners(10, 20, 40, 60)))))
    body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + encode_dicom(drawn) + b"\r\n--x--"
    kind = 'multipart/related; type="application/dicom"; boundary=x'
    log, study = app_instance().access.audit, str(image.StudyInstanceUID)
    for path in ("studies", f"studies/{study}"):  # OHIF sends it to the first
        assert client.post(f"/dicom-web/{path}", content=body, headers={"content-type": kind}).status_code == 200
        assert [line["event"] for line in log.lines(study=study) if line["event"] != "outcome"][-1] == "label", path
    assert len([line for line in log.lines(study=study) if line["event"] == "label"]) == 2


def test_an_object_that_is_deflated_is_not_inflated(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(repository / "apps" / "radiology_dgm"))
    from lib.archive_routes import _objects_in

    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    buffer = io.BytesIO(b"\0" * 128 + b"DICM")
    buffer.seek(132)
    pydicom.filewriter.write_file_meta_info(buffer, meta, enforce_standard=False)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = struct.pack("<HH2sHI", 0x0042, 0x0011, b"OB", 0, 100_000_000)
    content = packer.compress(head) + b"".join(packer.compress(bytes(1_000_000)) for _ in range(100)) + packer.flush()
    body = b"--x\r\n\r\n" + buffer.getvalue() + content + b"\r\n--x--"
    tracemalloc.start()
    try:
        assert _objects_in(body, "multipart/related; boundary=x") is None
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_an_archive_that_is_away_is_said_in_one_line(
    client: Any, archive: FakeArchive, image: pydicom.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.fail = 500
    deadline = time.monotonic() + 60
    while not client.get("/dgm/archive").json()["away"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    offered = client.post("/dgm/next")  # it may only be busy
    assert offered.status_code == 200 and offered.json()["image"] == image.SOPInstanceUID
    monkeypatch.setattr("monai_dgm.labelling.archive.archive_studies.AWAY_SECONDS", 0)
    assert client.post("/dgm/next").status_code == 503
    for path in ("/datastore/", "/dicom-web/studies", "/dgm/studies/1.2.3"):
        answer = client.get(path)
        assert answer.status_code == 503 and "\n" not in answer.json()["detail"], path


def test_a_case_that_is_opened_has_the_size_that_it_has_now(
    client: Any, archive: FakeArchive, image: pydicom.Dataset
) -> None:
    def size() -> tuple[int, int]:
        found = client.post("/dgm/boxes", params={"image": image.SOPInstanceUID}).json()
        return found["rows"], found["cols"]

    assert size() == (90, 120)
    del archive.instances[str(image.SOPInstanceUID)]
    archive.add(radiograph(rows=100))  # under the same UIDs
    assert size() == (100, 120)


def test_failures_are_listed_and_tried_again(client: Any, image: pydicom.Dataset) -> None:
    from monailabel.interfaces.utils.app import app_instance

    state = app_instance().watcher.results.state
    state.store_result(image.SOPInstanceUID, "some models", "failed", "image: expected pixels")
    (failure,) = client.get("/dgm/failures").json()
    assert (failure["image"], failure["reason"]) == (image.SOPInstanceUID, "image: expected pixels")
    assert client.post("/dgm/failures?image=1.2.3").json() == {"retried": 0}
    assert client.post("/dgm/failures").json() == {"retried": 1} and client.get("/dgm/failures").json() == []


def test_series_of_earlier_models_are_marked_for_the_viewer(
    client: Any, archive: FakeArchive, image: pydicom.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    from monailabel.interfaces.utils.app import app_instance

    results = app_instance().watcher.results
    address = f"/dicom-web/studies/{image.StudyInstanceUID}/series"
    before = client.get(address).json()
    monkeypatch.setattr(
        results, "superseded", lambda study: {image.SeriesInstanceUID} if study == image.StudyInstanceUID else set()
    )
    (marked,) = client.get(address).json()
    assert marked["0008103E"]["Value"][0].startswith("SUPERSEDED")
    assert {**marked, "0008103E": None} == {**before[0], "0008103E": None}


def test_nothing_logged_tells_a_patient(client: Any, image: pydicom.Dataset, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        client.get(f"/dicom-web/studies/{image.StudyInstanceUID}/series")
        client.post("/infer/classify", params={"image": image.SOPInstanceUID})
        client.get("/datastore/")
    ours = [line.getMessage() for line in caplog.records if not line.name.startswith(("httpx", "httpcore"))]
    assert not [line for line in ours if PATIENT in line or image.StudyInstanceUID in line]


def test_a_folder_has_no_archive(start_client: Any, studies: Path) -> None:
    client = start_client(studies)
    for method, path in (("POST", "/dicom-web/studies"), ("GET", "/dgm/studies/1.2"), ("DELETE", "/dgm/cache")):
        assert client.request(method, path).status_code == 404


def test_the_server_starts_without_its_archive(start_client: Any, tmp_path: Path) -> None:
    client = start_client("http://127.0.0.1:9/dicom-web", state_dir=str(tmp_path / "state"))
    assert client.get("/dgm/archive").status_code == 200
    deadline = time.monotonic() + 60
    while client.get("/datastore/").status_code != 503:
        assert time.monotonic() < deadline
        time.sleep(0.02)
