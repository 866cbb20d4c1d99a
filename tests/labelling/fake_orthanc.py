"""The small archive as an Orthanc: with its addresses outside of DICOMweb, and its log of changes."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

import pydicom

from tests.labelling.fake_archive import FakeArchive


class FakeOrthanc(FakeArchive):
    """An Orthanc in which instances may be replaced by others of the same UID.

    Attributes:
        log: of changes, the oldest first; entries about what was deleted vanish, as in Orthanc.
        files: Orthanc's name of the file of each instance, by SOP Instance UID.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log: list[dict[str, Any]] = []
        self.files: dict[str, str] = {}
        self._number = 0

    def take(self, content: bytes) -> pydicom.Dataset:
        header = super().take(content)
        if header.SOPInstanceUID not in self.files:
            self.files[str(header.SOPInstanceUID)] = str(uuid.uuid4())
            for kind, parts in (("NewInstance", 4), ("NewSeries", 3)):
                self._number += 1
                entry = {"ChangeType": kind, "ID": _identifier(header, parts), "Seq": self._number}
                self.log.append({**entry, "Date": "20261128T023403"})
        return header

    def delete(self, uid: str) -> None:
        header = self.instances.pop(uid)[1]
        del self.files[uid]
        gone = {_identifier(header, 4), _identifier(header, 3)}
        self.log = [entry for entry in self.log if entry["ID"] not in gone]

    def replace(self, dataset: pydicom.Dataset) -> None:
        self.delete(str(dataset.SOPInstanceUID))
        self.add(dataset)

    def outside(self, path: str, query: dict[str, list[str]]) -> Any:
        names = {_identifier(header, 4): uid for uid, (_, header) in self.instances.items()}
        level, _, name = path.strip("/").partition("/")
        if path == "/system":
            return {"ApiVersion": 16, "DatabaseVersion": 6}
        if path == "/statistics":
            return {"CountInstances": len(names)}
        if path == "/changes":
            return self._changes(query)
        if path == "/instances" and "expand" in query:
            start = int(query["since"][0])
            return [self._instance(uid) for uid in list(names.values())[start : start + int(query["limit"][0])]]
        if path == "/instances":
            return list(names)
        if level == "instances" and name in names:
            return self._instance(names[name])
        if level == "series":
            for _, header in self.instances.values():
                if name == f"{_identifier(header, 3)}/study":
                    return {"MainDicomTags": {"StudyInstanceUID": header.StudyInstanceUID}}
        return None

    def _instance(self, uid: str) -> dict[str, Any]:
        header = self.instances[uid][1]
        series, tags = _identifier(header, 3), {"SOPInstanceUID": uid}
        return {
            "ID": _identifier(header, 4),
            "FileUuid": self.files[uid],
            "ParentSeries": series,
            "MainDicomTags": tags,
        }

    def _changes(self, query: dict[str, list[str]]) -> dict[str, Any]:
        if "last" in query:
            found = self.log[-1:]
            return {"Changes": found, "Done": True, "Last": found[0]["Seq"] if found else self._number}
        left = [entry for entry in self.log if entry["Seq"] > int(query["since"][0])]
        found = left[: int(query["limit"][0])]
        return {"Changes": found, "Done": found == left, "Last": found[-1]["Seq"] if found else self._number}


def _identifier(header: pydicom.Dataset, parts: int) -> str:
    """Orthanc's identifier of an instance (4 parts), or of its series (3 parts)."""
    uids = (header.get("PatientID") or "", header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID)
    digest = hashlib.sha1("|".join(map(str, uids[:parts])).encode()).hexdigest()
    return "-".join(digest[i : i + 8] for i in range(0, 40, 8))
