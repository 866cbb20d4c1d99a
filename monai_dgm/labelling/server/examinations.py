"""Whose radiograph a file of a folder is, and of which day: what the browser lists, and finds priors by.

A DICOM file says it itself. For other files ``manifest.csv``, in the folder or beside it, may have the columns
``image``, ``patient_id`` and ``study_date`` (YYYYMMDD or YYYY-MM-DD). Where neither says it, each file is a patient of
its own without a date: nothing is guessed from names, folders or the file's time, as a wrong prior is worse than none.
"""

from __future__ import annotations

import csv
import datetime
import os
import re
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path

import pydicom

from monai_dgm.labelling.server.recent import Recent
from monai_dgm.labelling.server.studies import StudyImage
from monai_dgm.readers.dicom.read import read_header
from monai_dgm.readers.read import sniff_format

__all__ = ["Examination", "Examinations", "dicom_text"]

KEPT = 50_000
_TAGS = ["PatientID", "PatientName", "StudyDate", "StudyTime", "SeriesDate", "AcquisitionDate"]


@dataclass(frozen=True)
class Examination:
    """Patient and time of a radiograph.

    Attributes:
        patient_id: 1 to 64 characters; the image's id where the patient is not known.
        patient_name: as DICOM writes it, such as ``Roe^Richard``; the image's id where it is not known.
        date: YYYYMMDD; "" where it is not known.
        time: HHMMSS, or a part of it; "" where it is not known.
    """

    patient_id: str
    patient_name: str
    date: str = ""
    time: str = ""


class Examinations:
    """Patients and dates of a folder's files. Safe with several threads.

    Args:
        root: the folder.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).resolve()
        self._lock = threading.Lock()
        self._known: Recent[Examination] = Recent(KEPT)
        self._rows: dict[Path, dict[str, str]] = {}
        self._stamps: tuple[tuple[Path, int], ...] = ()

    def of(self, image: StudyImage) -> Examination:
        """The examination of a file; a damaged header is as one that says nothing."""
        rows = self._manifest()
        return self._known.get((image.image_id, image.stamp), lambda: _of_file(image, rows))

    def _manifest(self) -> dict[Path, dict[str, str]]:
        """Rows by file, read again when a manifest has changed."""
        files = [folder / "manifest.csv" for folder in (self.root.parent, self.root)]
        stamps = tuple((file, file.stat().st_mtime_ns) for file in files if file.is_file())
        with self._lock:
            if stamps == self._stamps:
                return self._rows
        rows: dict[Path, dict[str, str]] = {}
        for file, _ in stamps:
            rows |= {path: row for path, row in _read_manifest(file).items() if path.is_relative_to(self.root)}
        with self._lock:
            self._rows, self._stamps = rows, stamps
            self._known.clear()
        return rows


def dicom_text(text: str) -> str:
    """A text as a value of DICOM: 1 to 64 characters without a backslash, a caret or an equals sign."""
    plain = "".join(c if c.isprintable() and c not in "\\^=" else "_" for c in text)
    return plain[-64:].strip() or "_"


def _of_file(image: StudyImage, rows: dict[Path, dict[str, str]]) -> Examination:
    own = dicom_text(image.image_id)
    row = {} if image.path is None else rows.get(image.path.resolve(), {})
    header = None if image.path is None else _header(image.path)
    if header is None:
        patient = dicom_text(row["patient_id"]) if row.get("patient_id") else own
        return Examination(patient, own, _date(row.get("study_date", "").replace("-", "")))
    patient = _first(header, "PatientID")
    name = "".join(c for c in _first(header, "PatientName").split("=")[0] if c.isprintable())[:64].strip("^ ")
    dates = [_date(_first(header, keyword)) for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate")]
    time = _first(header, "StudyTime") if dates[0] else ""
    hours = re.match(r"([01]\d|2[0-3])([0-5]\d([0-5]\d)?)?", time)
    known = dicom_text(patient) if patient else own
    return Examination(known, name or known, next(filter(None, dates), ""), hours[0] if hours else "")


def _header(path: Path) -> pydicom.Dataset | None:
    """The tags of a DICOM file that say whose it is; None of another file, or a damaged one."""
    try:
        if sniff_format(path) != "dicom":
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's remarks on values can quote patient data
            found = read_header(path)
            for keyword in _TAGS:
                found.get(keyword)  # decoded now
            return found
    except Exception:  # a header that is damaged fails in many ways
        return None


def _first(header: pydicom.Dataset, keyword: str) -> str:
    """The first value of a tag; "" if it is missing or empty."""
    value = header.get(keyword)
    if isinstance(value, (list, pydicom.multival.MultiValue)):
        value = value[0] if value else None
    return "" if value is None else str(value).strip()


def _date(text: str) -> str:
    try:
        datetime.datetime.strptime(text, "%Y%m%d")
    except ValueError:
        return ""
    return text if len(text) == 8 else ""


def _read_manifest(file: Path) -> dict[Path, dict[str, str]]:
    """The rows of a manifest by the file that they are about; none of one that cannot be read.

    Unlike for a training, its other columns may be anything.
    """
    try:
        with open(file, encoding="utf-8-sig", newline="") as stream:
            rows = [
                {key: (value or "").strip() for key, value in row.items() if isinstance(key, str)}
                for row in csv.DictReader(stream)
            ]
        return {(file.parent / row["image"]).resolve(): row for row in rows if row.get("image")}
    except (OSError, ValueError, csv.Error):
        return {}
