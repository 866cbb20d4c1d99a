"""A folder of radiographs as a small read-only DICOMweb archive (PS3.18: QIDO-RS, WADO-RS), for a viewer in a browser.

Each radiograph, whatever its format, is one study with one series and one instance: a Digital X-Ray Image that is made
when it is asked for. Its UIDs follow from the image's id, so they are the same after a restart; patient and date are
those of :class:`Examinations`. Its pixels lie as in the file, so boxes are in the file's own pixels. Nothing is stored.
"""

from __future__ import annotations

import fnmatch
import io
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
from PIL import Image

from monai_dgm.errors import InputError
from monai_dgm.labelling.dicom_objects.derived import encode_dicom
from monai_dgm.labelling.dicom_objects.digital_xray import (
    ExaminedPatient,
    Origin,
    digital_xray_uids,
    write_digital_xray,
)
from monai_dgm.labelling.server.analysis import RadiographAnalysis
from monai_dgm.labelling.server.examinations import Examination, Examinations, dicom_text
from monai_dgm.labelling.server.http_errors import UnknownError
from monai_dgm.labelling.server.recent import Recent

__all__ = ["FolderDicomWeb", "WebAnswer"]

KEPT_INSTANCES = 4  # 120 MB each at most
THUMBNAIL_SIDE, RENDERED_SIDE = 200, 1024
EXPLICIT = "1.2.840.10008.1.2.1"
_BOUNDARY = "monai-dgm-part"
_ORIGIN = Origin("", "", "", "", "of the file", "")
_UID = r"[0-9.]{1,64}"
_PATH = re.compile(
    rf"(?P<level>studies)?(?:/(?P<study>{_UID}))?(?:/?(?P<series_level>series)(?:/(?P<series>{_UID}))?)?"
    rf"(?:/?(?P<instances>instances)(?:/(?P<instance>{_UID}))?)?"
    r"(?:/(?P<view>metadata|rendered|thumbnail|frames/1|frames/1/rendered|frames/1/thumbnail))?"
)
_KEYWORDS = {"StudyInstanceUID": "0020000D", "PatientName": "00100010", "PatientID": "00100020", "Modality": "00080060"}
_KEYWORDS |= {"StudyDate": "00080020", "ModalitiesInStudy": "00080061", "StudyDescription": "00081030"}


@dataclass(frozen=True)
class WebAnswer:
    """An answer: its bytes and their media type."""

    content: bytes
    media_type: str


@dataclass(frozen=True)
class _Names:
    """UIDs of a radiograph."""

    study: str
    series: str
    instance: str


class FolderDicomWeb:
    """The archive. Safe with several threads.

    Args:
        analysis: of the folder's radiographs.
        examinations: whose the radiographs are, and of which day.
    """

    def __init__(self, analysis: RadiographAnalysis, examinations: Examinations) -> None:
        self.analysis = analysis
        self.examinations = examinations
        self._known: dict[str, str] = {}  # any UID -> image id
        self._names: dict[str, _Names] = {}
        self._listed: list[str] = []
        self._instances: Recent[pydicom.Dataset] = Recent(KEPT_INSTANCES)

    def names(self, image_id: str) -> _Names:
        """Study, Series and SOP Instance UID of a radiograph."""
        if image_id not in self._names:
            self._names[image_id] = _Names(*digital_xray_uids(image_id))
        return self._names[image_id]

    def image_of(self, uid: str) -> str | None:
        """The id of the radiograph that has a UID, of study, series or instance; None where there is none."""
        if uid not in self._known:
            self._list()
        return self._known.get(uid)

    def answer(self, path: str, query: Mapping[str, str]) -> WebAnswer:
        """The answer to a GET request.

        Args:
            path: after the address of the archive, without a slash at its start.
            query: of the address.

        Raises:
            UnknownError: there is no such address, study, series or instance.
            InputError: as :meth:`RadiographAnalysis.view`.
        """
        found = _PATH.fullmatch(path)
        if found is None or not path:
            raise UnknownError("expected an address of DICOMweb")
        images = self._images([found["study"], found["series"], found["instance"]])
        view = found["view"]
        if view is None and not found["instance"]:
            level = "instances" if found["instances"] else "series" if found["series_level"] else "studies"
            if (found["series"] and not found["instances"]) or (found["study"] and level == "studies"):
                return self._files(images)
            return _json(self._search(images, level, query))
        if view == "metadata":
            return _json([_metadata(self.instance(name)) for name in images])
        (image, *_) = images
        if view is None:
            return self._files(images)
        if view == "frames/1":
            kind = f"application/octet-stream; transfer-syntax={EXPLICIT}"
            return _multipart([self.instance(image).PixelData], kind, "application/octet-stream")
        return self._rendered(image, THUMBNAIL_SIDE if "thumbnail" in view else RENDERED_SIDE)

    def instance(self, image_id: str) -> pydicom.Dataset:
        """A radiograph as Digital X-Ray Image; errors as :meth:`RadiographAnalysis.view`."""
        view = self.analysis.view(image_id)
        examination = self.examinations.of(view.image)
        radiograph = view.radiograph
        return self._instances.get(
            (image_id, view.image.stamp, examination),
            lambda: _digital_xray(image_id, radiograph.pixels, radiograph.pixel_spacing, examination),
        )

    def _list(self) -> list[str]:
        names = self.analysis.studies.ids()
        if names != self._listed:
            known = {uid: name for name in names for uid in vars(self.names(name)).values()}
            self._known, self._listed = known, names
        return names

    def _images(self, uids: Sequence[str | None]) -> list[str]:
        """Ids of the radiographs that have all of some UIDs."""
        names = self._list()
        given = [uid for uid in uids if uid]
        if not given:
            return names
        found = {self._known.get(uid) for uid in given}
        if len(found) != 1 or None in found:
            raise UnknownError("there is no such study, series or instance")
        return [str(found.pop())]

    def _search(self, images: Iterable[str], level: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
        keys = {_KEYWORDS.get(key, key): value for key, value in query.items()}
        wanted = {tag: value for tag, value in keys.items() if re.fullmatch(r"[0-9A-F]{8}", tag) and value}
        first, count = _whole(query.get("offset"), 0), _whole(query.get("limit"), len(self._listed))
        items = (self._described(name, level) for name in images)  # one by one, as the files' headers are read
        matching = (item for item in items if all(_matches(item, tag, value) for tag, value in wanted.items()))
        return list(itertools.islice(matching, first, first + count))

    def _described(self, image_id: str, level: str) -> dict[str, Any]:
        names = self.names(image_id)
        examination = self.examinations.of(self.analysis.studies.find(image_id))
        item: dict[str, Any] = {
            "0020000D": _value("UI", names.study),
            "00080020": _value("DA", *filter(None, [examination.date])),
            "00080030": _value("TM", *filter(None, [examination.time])),
            "00080050": _value("SH"),
            "00081030": _value("LO", _description(image_id)),
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": examination.patient_name}]},
            "00100020": _value("LO", examination.patient_id),
        }
        if level == "studies":
            numbers = {"00201206": _value("IS", 1), "00201208": _value("IS", 1)}
            return {**item, "00080061": _value("CS", "DX"), **numbers}
        item |= {"0020000E": _value("UI", names.series), "00080060": _value("CS", "DX"), "00200011": _value("IS", 1)}
        item |= {"0008103E": _value("LO", "Chest"), "00201209": _value("IS", 1)}
        if level == "series":
            return item
        instance = {"00080018": _value("UI", names.instance), "00080016": _value("UI", "1.2.840.10008.5.1.4.1.1.1.1")}
        return {**item, **instance, "00200013": _value("IS", 1)}

    def _files(self, images: Iterable[str]) -> WebAnswer:
        files = [encode_dicom(self.instance(name)) for name in images]
        return _multipart(files, "application/dicom", "application/dicom")

    def _rendered(self, image_id: str, side: int) -> WebAnswer:
        dataset = self.instance(image_id)
        levels = np.frombuffer(dataset.PixelData, "<u2").reshape(dataset.Rows, dataset.Columns).astype(np.float32)
        low = float(dataset.WindowCenter) - float(dataset.WindowWidth) / 2
        shown = np.clip((levels - low) / float(dataset.WindowWidth), 0, 1)
        picture = Image.fromarray(np.rint(255 * shown).astype(np.uint8))
        picture.thumbnail((side, side))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=90)
        return WebAnswer(buffer.getvalue(), "image/jpeg")


def _digital_xray(
    image_id: str, pixels: Any, spacing: tuple[float, float] | None, examination: Examination
) -> pydicom.Dataset:
    low, high = float(pixels.min()), float(pixels.max())
    scale = 65535 / (high - low) if high > low else 1.0
    levels = np.rint((np.asarray(pixels, dtype=np.float64) - low) * scale).astype(np.uint16)
    patient = ExaminedPatient(examination.patient_id)
    image = write_digital_xray(levels, patient, image_id, pixel_spacing=spacing or (1.0, 1.0), origin=_ORIGIN)
    image.PatientName, image.StudyDescription = examination.patient_name, _description(image_id)
    image.StudyDate, image.StudyTime = examination.date, examination.time
    if spacing is None:  # a viewer must not measure in mm
        for keyword in ("PixelSpacing", "ImagerPixelSpacing", "PixelSpacingCalibrationType"):
            delattr(image, keyword)
        del image.PixelSpacingCalibrationDescription
    first, last = (float(value) for value in np.percentile(levels[:: max(1, levels.shape[0] // 512)], (0.5, 99.5)))
    image.WindowCenter, image.WindowWidth = f"{(first + last) / 2:.1f}", f"{max(last - first, 1.0):.1f}"
    return image


def _description(image_id: str) -> str:
    """The study's description, so that the file is found in the list, too."""
    return dicom_text(f"File {dicom_text(image_id)[-59:]}")


def _value(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}


def _matches(item: Mapping[str, Any], tag: str, wanted: str) -> bool:
    """QIDO-RS matching (PS3.18 8.3.4.1) of single values, lists and wildcards; unknown keys match."""
    if tag not in item:
        return True
    values = item[tag].get("Value") or [""]
    value = values[0].get("Alphabetic", "") if isinstance(values[0], dict) else str(values[0])
    if item[tag]["vr"] == "UI":
        return value in re.split(r"[,\\]", wanted)
    if item[tag]["vr"] == "DA":  # a date that is not known is in no range
        first, dash, last = wanted.partition("-")
        return value == wanted if not dash else bool(value) and (first or "0") <= value <= (last or "99999999")
    patterns = [part.lower().replace("[", "[[]") for part in re.split(r"[,\\]", wanted)]
    return any(fnmatch.fnmatchcase(value.lower(), pattern) for pattern in patterns)


def _whole(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise InputError("query: expected whole numbers for limit and offset")
    return int(text)


def _metadata(dataset: pydicom.Dataset) -> dict[str, Any]:
    """A data set as DICOM JSON, without its pixels."""
    header = pydicom.Dataset()
    header.update({tag: dataset[tag] for tag in dataset.keys() if tag != 0x7FE00010})  # noqa: SIM118
    found: dict[str, Any] = header.to_json_dict()
    return found


def _json(items: list[dict[str, Any]]) -> WebAnswer:
    return WebAnswer(json.dumps(items).encode(), "application/dicom+json")


def _multipart(parts: Iterable[bytes], kind: str, root: str) -> WebAnswer:
    head = f"--{_BOUNDARY}\r\nContent-Type: {kind}\r\n\r\n".encode()
    content = b"".join(head + part + b"\r\n" for part in parts) + f"--{_BOUNDARY}--\r\n".encode()
    return WebAnswer(content, f'multipart/related; type="{root}"; boundary={_BOUNDARY}')
