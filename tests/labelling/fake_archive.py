"""A small DICOMweb archive in this process, which can also behave badly."""

from __future__ import annotations

import io
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from monai_dgm.labelling.dicom_objects.derived import encode_dicom
from monai_dgm.labelling.dicom_objects.digital_xray import ExaminedPatient, write_digital_xray

ROOT = "/dicom-web"
PATIENT = "Doe-Jane-4711"
_BOUNDARY = "part"


def radiograph(key: str = "one", rows: int = 90, cols: int = 120, **tags: Any) -> pydicom.Dataset:
    """A small DX of a patient with a name."""
    random = np.random.default_rng(len(key))
    y, x = np.mgrid[:rows, :cols]
    spot = 20_000 * np.exp(-((x - 40) ** 2 + (y - 40) ** 2) / 200)
    pixels = (8_000 + spot + random.integers(0, 2_000, (rows, cols))).astype(np.uint16)
    image = write_digital_xray(pixels, ExaminedPatient(PATIENT, "F", 60), key, pixel_spacing=(0.5, 0.5))
    for keyword, value in tags.items():
        setattr(image, keyword, value)
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    return image


class FakeArchive:
    """What it holds, what it was asked, and how it behaves.

    Attributes:
        instances: file and header by SOP Instance UID.
        asked: "METHOD path" of each request.
        fail: status that every request gets; 0 for none.
        knows_offset, counts: whether it knows these two of QIDO-RS.
        searches_all: whether it searches for instances of all studies.
        page: results that it answers with at most.
        cut_store_after: instances of a STOW after which it hangs up, as if its peer had been killed; None for none.
        refuse: SOP Instance UIDs' Modality that it does not take.
    """

    def __init__(self) -> None:
        self.instances: dict[str, tuple[bytes, pydicom.Dataset]] = {}
        self.asked: list[str] = []
        self.fail = 0
        self.knows_offset = self.counts = self.searches_all = True
        self.page = 1000
        self.cut_store_after: int | None = None
        self.refuse = ""
        self.url = ""

    def add(self, *datasets: pydicom.Dataset) -> None:
        for dataset in datasets:
            if not hasattr(dataset, "file_meta"):
                continue
            self.take(encode_dicom(dataset))

    def take(self, content: bytes) -> pydicom.Dataset:
        header = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
        self.instances.setdefault(str(header.SOPInstanceUID), (content, header))
        return header

    def outside(self, path: str, query: dict[str, list[str]]) -> Any:
        """JSON at an address outside of DICOMweb; None for nothing."""
        return None

    def of(self, modality: str) -> list[pydicom.Dataset]:
        """Headers of a modality."""
        return [header for _, header in self.instances.values() if header.Modality == modality]

    def search(self, path: str, query: dict[str, list[str]]) -> list[dict[str, Any]] | None:
        found = re.fullmatch(r"(?:/studies/([0-9.]+))?(?:/series/([0-9.]+))?/(series|instances)", path)
        if found is None:
            return None
        study, series, level = found.groups()
        results: dict[str, dict[str, Any]] = {}
        wanted = query.get("Modality", [None])[0]
        first_date = query.get("StudyDate", ["-"])[0].rstrip("-")
        if level == "instances" and study is None and not self.searches_all:
            return None
        for _, header in self.instances.values():
            if study not in (None, header.StudyInstanceUID) or series not in (None, header.SeriesInstanceUID):
                continue
            if wanted in (None, header.Modality) and str(header.get("StudyDate", "")) >= first_date:
                key = header.SeriesInstanceUID if level == "series" else header.SOPInstanceUID
                known = results.get(key)
                count = known["00201209"]["Value"][0] + 1 if known and self.counts else 1
                results[key] = _described(header, level, count if self.counts else None)
        start = int(query.get("offset", ["0"])[0]) if self.knows_offset else 0
        return list(results.values())[start : start + min(self.page, int(query.get("limit", ["1000"])[0]))]


def _described(header: pydicom.Dataset, level: str, count: int | None) -> dict[str, Any]:
    values = {"00080060": header.Modality, "0020000D": header.StudyInstanceUID, "0020000E": header.SeriesInstanceUID}
    values |= {"00080020": header.get("StudyDate", ""), "00180015": header.get("BodyPartExamined")}
    if level == "series" and count is not None:
        values["00201209"] = count
    if level == "instances":
        values |= {"00080018": header.SOPInstanceUID, "00080016": header.SOPClassUID}
        values |= {
            "00280010": header.get("Rows"),
            "00280011": header.get("Columns"),
            "00100020": header.get("PatientID"),
            "00080033": header.get("ContentTime") or None,
        }
    return {tag: {"vr": "UI", "Value": [value]} for tag, value in values.items() if value is not None}


@contextmanager
def serving(archive: FakeArchive) -> Iterator[FakeArchive]:
    """Serve it on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"archive": archive}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    archive.url = f"http://127.0.0.1:{server.server_address[1]}{ROOT}"
    try:
        yield archive
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    archive: FakeArchive

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        archive, parts = self.archive, urlsplit(self.path)
        archive.asked.append(f"GET {self.path}")
        path = parts.path.removeprefix(ROOT)
        if archive.fail:
            headers = {"Location": "http://127.0.0.1:9/elsewhere"} if 300 <= archive.fail < 400 else {}
            return self.answer(archive.fail, "text/plain", b"no", headers)
        found = archive.search(path, parse_qs(parts.query))
        if found is not None and parts.path.startswith(ROOT):
            return self.answer(200, "application/dicom+json", json.dumps(found).encode())
        values = None if parts.path.startswith(ROOT) else archive.outside(parts.path, parse_qs(parts.query, True))
        if values is not None:
            return self.answer(200, "application/json", json.dumps(values).encode())
        uid = path.rsplit("/", 1)[-1]
        if "/instances/" not in path or uid not in archive.instances:
            return self.answer(404, "text/plain", b"none")
        part = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        body = part + archive.instances[uid][0] + f"\r\n--{_BOUNDARY}--".encode()
        return self.answer(200, f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}', body)

    def do_POST(self) -> None:
        archive = self.archive
        archive.asked.append(f"POST {self.path}")
        boundary = re.search(r'boundary="?([^";]+)', self.headers["Content-Type"])
        assert boundary is not None
        body = self.rfile.read(int(self.headers["Content-Length"]))
        parts = body.split(f"--{boundary[1]}".encode())[1:-1]
        failed = []
        for i, part in enumerate(parts):
            if i == archive.cut_store_after:
                self.close_connection = True
                return self.connection.close()
            content = part.partition(b"\r\n\r\n")[2][:-2]
            header = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
            if header.Modality == archive.refuse:
                failed.append({"00081155": {"vr": "UI", "Value": [header.SOPInstanceUID]}})
            else:
                archive.take(content)
        answer = {"00081198": {"vr": "SQ", "Value": failed}} if failed else {}
        return self.answer(200, "application/dicom+json", json.dumps(answer).encode())

    def answer(self, status: int, kind: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def as_file(report: pydicom.Dataset) -> pydicom.Dataset:
    """A report of ``tests.labelling.dicom_objects.study`` as another viewer stores it: in a series of its own."""
    report.SeriesInstanceUID = generate_uid(None)
    report.SeriesDescription = "Create Report"
    report.is_little_endian, report.is_implicit_VR = True, False
    report.file_meta = FileMetaDataset()
    report.file_meta.MediaStorageSOPClassUID = report.SOPClassUID
    report.file_meta.MediaStorageSOPInstanceUID = report.SOPInstanceUID
    report.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return report
