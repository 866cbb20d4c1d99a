"""OHIF's own reader and writer of reports (cornerstone's adapters, dcmjs) against ours, under Node.

npm installs them once into a cache folder; where there is no npm, or no way to its registry, the tests skip.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
import pytest
from filelock import FileLock

pytest.importorskip("highdicom", reason="DICOM output needs the label extra")

from monai_dgm.labelling.dicom_objects.derived import Algorithm, encode_dicom
from monai_dgm.labelling.dicom_objects.opacity_report import OpacityReport
from monai_dgm.labelling.dicom_objects.structured_report import write_opacity_report
from monai_dgm.labelling.dicom_objects.structured_report_reader import read_opacity_report

from .study import boxes_of, radiograph_header

pytestmark = pytest.mark.slow
CASES, TOLERANCE = 64, 0.5  # pixels
PEERS = Path(__file__).resolve().parents[2] / "peers"


class Case(NamedTuple):
    source: pydicom.Dataset
    boxes: np.ndarray
    labels: list[str]
    answer: list[dict[str, Any]]  # how the adapters understood our report
    theirs: pydicom.Dataset  # what they wrote

    @property
    def spacing(self) -> list[float]:
        return [float(value) for value in self.source.PixelSpacing]

    @property
    def square(self) -> bool:
        return self.spacing[0] == self.spacing[1]


@pytest.fixture(scope="module")
def peers() -> Path:
    """Folder with the peers installed."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("no npm and node")
    wanted = (PEERS / "package.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "monai-dgm"
    folder = cache / f"peers-{hashlib.sha256(wanted).hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "install.lock"):
        if not (folder / "complete").exists():
            (folder / "package.json").write_bytes(wanted)
            install = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]
            done = subprocess.run(install, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode:
                lines = [line for line in done.stderr.splitlines() if "error" in line.lower()]
                pytest.skip(f"npm cannot install the peers: {lines[0] if lines else done.returncode}")
            (folder / "complete").touch()
        shutil.copy(PEERS / "structured_reports.mjs", folder)
    return folder


def a_case(number: int, rng: np.random.Generator) -> tuple[pydicom.Dataset, np.ndarray, list[str], np.ndarray]:
    """Portrait and landscape, both polarities, square and oblong pixels, with and without optional attributes."""
    short, long = np.sort(rng.integers(300, 3500, 2))
    rows, cols = (short, long) if number % 2 else (long, short)
    row = rng.uniform(0.05, 0.4)
    column = row if number % 4 < 2 else row * rng.uniform(0.5, 2.0)
    dropped = dict.fromkeys(["PatientOrientation", "StudyTime", "BurnedInAnnotation"]) if number % 3 == 0 else {}
    source = radiograph_header(
        **dropped,
        Rows=int(rows),
        Columns=int(cols),
        PixelSpacing=[f"{row:.10g}", f"{column:.10g}"],
        PhotometricInterpretation=f"MONOCHROME{1 + number // 4 % 2}",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.1" if number % 5 == 0 else "1.2.840.10008.5.1.4.1.1.1.1",
    )
    count = int(rng.integers(1, 6))
    low = rng.uniform(0, 0.8, (count, 2)) * [cols, rows]
    high = low + rng.uniform(0.02, 1, (count, 2)) * ([cols, rows] - low)
    boxes = np.concatenate([low, high], axis=1)
    labels = [f"Verschattung (größer) {score:.2f}" for score in rng.uniform(0, 1, count)]
    return source, boxes, labels, rng.uniform(0, 1, count)


@pytest.fixture(scope="module")
def cases(peers: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """All of them through one Node process, both ways."""
    folder, rng = tmp_path_factory.mktemp("reports"), np.random.default_rng(0)
    made, requests = [a_case(number, rng) for number in range(CASES)], []
    for number, (source, boxes, labels, scores) in enumerate(made):
        ours = folder / f"ours-{number}.dcm"
        report = write_opacity_report(source, boxes, scores, algorithm=Algorithm("detector", "1"), label="opacity")
        ours.write_bytes(encode_dicom(report))
        requests.append(a_request(source, boxes, labels, report=str(ours), written=str(folder / f"{number}.dcm")))
    answers = ask(peers, folder, requests)
    theirs = [pydicom.dcmread(folder / f"{number}.dcm") for number in range(CASES)]
    return [Case(*case[:3], answer, report) for case, answer, report in zip(made, answers, theirs, strict=True)]


def a_request(source: pydicom.Dataset, boxes: np.ndarray, labels: list[str], **rest: Any) -> dict[str, Any]:
    image = {
        "study": str(source.StudyInstanceUID),
        "series": str(source.SeriesInstanceUID),
        "instance": str(source.SOPInstanceUID),
        "class": str(source.SOPClassUID),
        "rows": source.Rows,
        "columns": source.Columns,
        "spacing": [float(value) for value in source.PixelSpacing],
    }
    return {"image": image, "rectangles": boxes.tolist(), "labels": labels, "report": None, "written": None, **rest}


def ask(peers: Path, folder: Path, requests: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    asked, answered = folder / "requests.json", folder / "answers.json"
    asked.write_text(json.dumps(requests), encoding="utf-8")
    command = ["node", str(peers / "structured_reports.mjs"), str(asked), str(answered)]
    done = subprocess.run(command, cwd=peers, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    answers: list[list[dict[str, Any]]] = json.loads(answered.read_text(encoding="utf-8"))
    return answers


def error(found: np.ndarray, expected: np.ndarray) -> float:
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max())


def test_cases_are_of_every_kind(cases: list[Case]) -> None:
    kinds = {
        (case.source.Rows > case.source.Columns, case.source.PhotometricInterpretation, case.square) for case in cases
    }
    assert len(cases) == CASES and len(kinds) == 8


def test_our_rectangles_in_ohif_s_reader(cases: list[Case]) -> None:
    errors = [error(np.array([item["saved"] for item in case.answer]), case.boxes) for case in cases]
    print(f"ours in the adapters: {max(errors):.4f} pixels at most, {CASES} reports")
    assert max(errors) < TOLERANCE
    shown = [error(np.array([item["drawn"] for item in case.answer]), case.boxes) for case in cases if case.square]
    assert len(shown) == CASES // 2 and max(shown) < TOLERANCE
    for case in cases:
        assert all(item["label"].startswith("opacity 0.") or item["label"] == "opacity 1.00" for item in case.answer)
        assert len({item["tracking"] for item in case.answer}) == len(case.boxes)


def test_ohif_s_rectangles_in_our_reader(cases: list[Case]) -> None:
    read = [read_opacity_report(case.theirs, [case.source]) for case in cases]
    errors = [error(boxes_of(item.opacities), case.boxes) for item, case in zip(read, cases, strict=True)]
    print(f"the adapters' in ours: {max(errors):.4f} pixels at most, {CASES} reports")
    assert max(errors) < TOLERANCE
    for report, case in zip(read, cases, strict=True):
        assert [found.text for found in report.opacities] == case.labels
        assert all(found.score is not None for found in report.opacities)
        check_origin(report, case)
        if case.square:  # the image's header is not needed then
            without = read_opacity_report(case.theirs)
            assert error(boxes_of(without.opacities), case.boxes) < TOLERANCE and without.problems == ()


def check_origin(report: OpacityReport, case: Case) -> None:
    assert not report.by_us and report.reader is None and report.software.startswith("Cornerstone3DTools")
    assert report.study_uid == case.source.StudyInstanceUID and report.written is not None
    assert report.images == (case.source.SOPInstanceUID,)
    assert all(problem.startswith("image 1: pixels are not square") for problem in report.problems)
    assert {found.sop_instance_uid for found in report.opacities} == {case.source.SOPInstanceUID}


def test_cornerstone_still_draws_beside_the_place_on_oblong_pixels(cases: list[Case]) -> None:
    """When this fails, cornerstone3D has mended issue 2758: opacity_report.unstretch must then know the versions."""
    for case in cases:
        if not case.square:
            row, column = case.spacing
            stretched = (case.boxes - 0.5) * np.tile([row / column, column / row], 2) + 0.5
            assert error(np.array([item["drawn"] for item in case.answer]), stretched) < TOLERANCE


def test_rectangles_saved_before_they_were_measured_are_reported_missing(peers: Path, tmp_path: Path) -> None:
    source, boxes, labels, _ = a_case(0, np.random.default_rng(1))
    written = tmp_path / "report.dcm"
    ask(peers, tmp_path, [a_request(source, boxes, labels, written=str(written), statistics=False)])
    read = read_opacity_report(pydicom.dcmread(written))
    assert read.opacities == () and not read.no_opacity
    assert read.problems == tuple(f"group {i}: no coordinates (SCOORD)" for i in range(1, len(boxes) + 1))


def test_a_report_of_no_opacity_opens_without_rectangles(peers: Path, tmp_path: Path) -> None:
    source = radiograph_header()
    report = tmp_path / "none.dcm"
    report.write_bytes(encode_dicom(write_opacity_report(source, [], algorithm=Algorithm("detector", "1"))))
    assert ask(peers, tmp_path, [a_request(source, np.zeros((0, 4)), [], report=str(report))]) == [[]]
