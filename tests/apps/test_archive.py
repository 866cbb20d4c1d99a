"""The app over a real Orthanc: results in, reports back, and what remains when it is killed."""

from __future__ import annotations

import io
import json
import os
import signal
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from monai_dgm.labelling.dicom_objects.derived import encode_dicom
from tests.apps.test_server import running
from tests.labelling.dicom_objects.study import area, comment, corners, group, region, report
from tests.labelling.fake_archive import as_file, radiograph
from tests.programs import Program, Programs

pytestmark = pytest.mark.service
WAITING_SECONDS = 240.0  # on a machine that is busy


@pytest.fixture
def orthanc(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(repository / "apps" / "radiology_dgm"))
    import pacs

    if pacs.orthanc_program() is None:
        pytest.skip(f"Orthanc is not installed (apt-get install {' '.join(pacs.PACKAGES)})")
    server = pacs.Orthanc(tmp_path / "orthanc")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def command(repository: Path, orthanc: Any) -> list[str]:
    app = str(repository / "apps" / "radiology_dgm")
    return [
        "-m",
        "monailabel.main",
        "start_server",
        "--app",
        app,
        "--studies",
        orthanc.address,
        "--host",
        "127.0.0.1",
    ]


@pytest.fixture
def environment(environment: dict[str, str], decomposer_weights: Path, tmp_path: Path) -> dict[str, str]:
    ours = {"MONAI_DGM_DECOMPOSER": str(decomposer_weights), "MONAI_DGM_BUNDLES": str(tmp_path)}
    return {**environment, **ours, "MONAI_DGM_STATE_DIR": str(tmp_path / "state"), "MONAI_DGM_POLL_SECONDS": "0.3"}


def ask(url: str) -> Any:
    request = urllib.request.Request(url, headers={"Accept": "application/json"})
    return json.loads(urllib.request.urlopen(request, timeout=30).read() or b"[]")


def until(condition: Callable[[], Any], server: Program) -> None:
    deadline = time.monotonic() + WAITING_SECONDS
    while not condition():
        assert time.monotonic() < deadline and server.poll() is None, "it never came"
        time.sleep(0.05)


def modalities(orthanc: Any, image: pydicom.Dataset) -> Counter[str]:
    """Instances of a study by modality."""
    series = ask(f"{orthanc.address}/studies/{image.StudyInstanceUID}/series")
    counted: Counter[str] = Counter()
    for item in series:
        counted[item["00080060"]["Value"][0]] += int(item["00201209"]["Value"][0])
    return counted


def fetch_report(orthanc: Any, image: pydicom.Dataset) -> pydicom.Dataset:
    """The SR of a study, from Orthanc's own interface."""
    base = f"http://127.0.0.1:{orthanc.port}"
    for name in ask(f"{base}/instances"):
        tags = ask(f"{base}/instances/{name}/simplified-tags")
        if tags["Modality"] == "SR" and tags["StudyInstanceUID"] == image.StudyInstanceUID:
            return pydicom.dcmread(io.BytesIO(urllib.request.urlopen(f"{base}/instances/{name}/file").read()))
    raise AssertionError("no report")


def test_a_study_arrives_and_a_report_comes_back(
    orthanc: Any, programs: Programs, command: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    from monai_dgm.labelling.dicom_objects.structured_report_reader import read_opacity_report

    plain = radiograph("plain")
    plane = {"ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}
    placed = radiograph("placed", FrameOfReferenceUID="1.2.3.4", **plane)
    with running(programs, command, environment, tmp_path / "server.log") as (address, server):
        for image in (plain, placed):
            orthanc.upload(encode_dicom(image))
        until(lambda: modalities(orthanc, plain) == {"DX": 1, "SR": 1, "OT": 2}, server)
        until(lambda: modalities(orthanc, placed) == {"DX": 1, "SR": 1, "OT": 2, "SEG": 1}, server)
        assert ask(f"{address}/dgm/studies/{plain.StudyInstanceUID}")[0]["image"] == plain.SOPInstanceUID
        assert read_opacity_report(fetch_report(orthanc, plain)).is_prediction
        boxes = [(10.5, 12.25, 40.0, 50.75), (60.0, 20.0, 90.0, 61.5)]
        groups = [group(area(region(plain, "POLYLINE", corners(*box))), comment("seen")) for box in boxes]
        orthanc.upload(encode_dicom(as_file(report(plain, *groups, person="Roe^Ann"))))
        until(lambda: list((tmp_path / "state" / "labels").rglob("0*.json")), server)
        (file,) = (tmp_path / "state" / "labels").rglob("0*.json")
        label = json.loads(file.read_text())
        np.testing.assert_allclose([box["box"] for box in label["boxes"]], boxes, atol=1)
        assert (label["reader"], label["source"], label["image_id"]) == ("Roe^Ann", "ohif_report", plain.SOPInstanceUID)
        assert label["model_boxes"] is not None
    log = (tmp_path / "server.log").read_text(errors="replace")
    assert not [word for word in ("Doe", "Roe", plain.StudyInstanceUID, "Traceback") if word in log]


def test_killed_while_it_stores_nothing_is_lost_or_doubled(
    orthanc: Any, programs: Programs, command: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    images = [radiograph(f"image {i}") for i in range(6)]
    for image in images:
        orthanc.upload(encode_dicom(image))

    def stored() -> int:
        return sum(modalities(orthanc, image).total() - 1 for image in images)

    for so_far in (1, 7):
        with running(programs, command, environment, tmp_path / "server.log") as (_, server):
            until(lambda least=so_far: stored() >= least, server)
            os.kill(server.pid, signal.SIGKILL)
            server.wait()
    with running(programs, command, environment, tmp_path / "server.log") as (address, server):
        until(lambda: ask(f"{address}/dgm/archive")["results"].get("sent") == len(images), server)
        assert [modalities(orthanc, image) for image in images] == [{"DX": 1, "SR": 1, "OT": 2}] * len(images)
        assert ask(f"{address}/dgm/archive")["reports"] == {"ours": len(images)}
