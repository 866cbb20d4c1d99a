"""Index of an archive's instances of some modalities.

The first listing asks for all instances at once. Later ones ask for the series, and for the instances of a series only
if the series is new or its number of instances has changed.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from monai_dgm.errors import InputError
from monai_dgm.labelling.archive.archive_client import ArchiveClient, StudyUIDs, is_uid, value_of
from monai_dgm.labelling.archive.wanted_images import WantedImages
from monai_dgm.labelling.server.http_errors import ArchiveAwayError, UnknownError

__all__ = ["ArchiveIndex", "ArchivedInstance"]

FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"  # raw images of the X-ray detector, which are not for reading


@dataclass(frozen=True)
class ArchivedInstance:
    """One instance in the index.

    Attributes:
        uids: of study, series and instance.
        rows, cols: size of an image; None where the archive does not give it.
        study_time: date and time of the study in the form of DICOM, for sorting.
        orthanc_id: identifier that Orthanc computes from patient ID and UIDs; means nothing in another archive.
    """

    uids: StudyUIDs
    rows: int | None
    cols: int | None
    study_time: str
    orthanc_id: str = ""


Series = dict[tuple[str, str], tuple[Any, list[ArchivedInstance]]]
"""Number of instances and the included ones, by (Study Instance UID, Series Instance UID)."""


def _any_study(study: str) -> bool:
    return True


class ArchiveIndex:
    """Instances by SOP Instance UID. Updates come one after the other; reading is safe beside them.

    Args:
        client: of the archive.
        wanted: conditions for an instance.

    Attributes:
        instances: of the last update.
        listed: whether the whole archive was listed once.
        changes: number of updates that changed something.
    """

    def __init__(self, client: ArchiveClient, wanted: WantedImages) -> None:
        self.client = client
        self.wanted = wanted
        self.instances: dict[str, ArchivedInstance] = {}
        self.listed = False
        self.changes = 0
        self._series: Series = {}
        self._by_study: dict[str, list[tuple[str, str]]] = {}
        self._updating = threading.Lock()

    def refresh(self, include: Callable[[str], bool] = _any_study) -> None:
        """Update the index from the whole archive.

        Args:
            include: whether to include a study, by its Study Instance UID.

        Raises:
            ArchiveAwayError: the archive does not answer; the index stays as it was.
        """
        with self._updating:
            listed: Series = {}
            for modality in self.wanted.modalities:
                if not self.listed and (found := self._all_instances(modality)):
                    listed |= {key: value for key, value in found.items() if include(key[0])}
                    continue
                for item in self._matching_series(modality):
                    if include(str(value_of(item, "0020000D"))):
                        self._add_series(item, listed)
            self._replace(listed)
            self.listed = True

    def refresh_study(self, study: str) -> None:
        """Update the index from one study; errors as :meth:`refresh`."""
        with self._updating:
            known = {key: self._series[key] for key in self._by_study.get(study, [])}
            listed: Series = {}
            for modality in self.wanted.modalities:
                for item in self._matching_series(modality, study):
                    self._add_series({"0020000D": {"Value": [study]}, **item}, listed, fresh=True)
            if listed != known:
                self._replace({**{key: found for key, found in self._series.items() if key not in known}, **listed})

    def refresh_recent(self, first_date: str) -> None:
        """Add what is new in studies from a date (YYYYMMDD) on; nothing is removed. Errors as :meth:`refresh`."""
        with self._updating:
            listed: Series = {}
            for modality in self.wanted.modalities:
                for item in self._matching_series(modality, since=first_date):
                    self._add_series(item, listed)
            if any(self._series.get(key) != found for key, found in listed.items()):
                self._replace({**self._series, **listed})

    def of_study(self, study: str) -> list[ArchivedInstance]:
        """The instances of a study."""
        series = self._series
        return [item for key in self._by_study.get(study, []) if key in series for item in series[key][1]]

    def _matching_series(self, modality: str, study: str | None = None, since: str = "") -> Iterator[dict[str, Any]]:
        filters = self.wanted.filters(modality)
        if since:
            filters["StudyDate"] = f"{max(since, self.wanted.since)}-"
        for item in self.client.series(study, filters):
            if self.wanted.fits(item, modality):
                yield item

    def _all_instances(self, modality: str) -> Series:
        """All instances of a modality, by one search; nothing from archives that have no such search."""
        found: Series = {}
        try:
            items = self.client.all_instances(self.wanted.filters(modality))
        except ArchiveAwayError:
            raise
        except InputError:
            return {}
        counts: dict[tuple[str, str], int] = {}
        for item in items:
            if not self.wanted.fits(item, modality):
                continue
            key = str(value_of(item, "0020000D")), str(value_of(item, "0020000E"))
            counts[key] = counts.get(key, 0) + 1
            instance = _instance(item, *key, _study_time(item))
            kept = found.get(key, (0, []))[1]
            found[key] = (counts[key], kept if instance is None else [*kept, instance])
        return found

    def _add_series(self, item: dict[str, Any], listed: Series, fresh: bool = False) -> None:
        key = str(value_of(item, "0020000D")), str(value_of(item, "0020000E"))
        count = value_of(item, "00201209")
        known = self._series.get(key)
        if not fresh and known is not None and count is not None and known[0] == count:
            listed[key] = known
            return
        try:
            found = self.client.instances(*key)
        except UnknownError:  # removed since it was listed
            return
        kept = [instance for entry in found if (instance := _instance(entry, *key, _study_time(item))) is not None]
        listed[key] = (count, kept)

    def _replace(self, listed: Series) -> None:
        by_study: dict[str, list[tuple[str, str]]] = {}
        for key in listed:
            by_study.setdefault(key[0], []).append(key)
        if listed != self._series:
            self.changes += 1
        self._series, self._by_study = listed, by_study
        self.instances = {item.uids.instance: item for _, found in listed.values() for item in found}


def _study_time(item: dict[str, Any]) -> str:
    return f"{value_of(item, '00080020') or ''}{value_of(item, '00080030') or ''}"


def _instance(entry: dict[str, Any], study: str, series: str, study_time: str) -> ArchivedInstance | None:
    uid = value_of(entry, "00080018")
    if not is_uid(uid) or value_of(entry, "00080016") == FOR_PROCESSING:
        return None
    rows, cols = (_side(value_of(entry, tag)) for tag in ("00280010", "00280011"))
    uids = StudyUIDs(study, series, uid)
    return ArchivedInstance(uids, rows, cols, study_time, _orthanc_id(entry, uids))


def _orthanc_id(entry: dict[str, Any], uids: StudyUIDs) -> str:
    patient = value_of(entry, "00100020") or ""  # Orthanc computes with an empty text where there is no patient ID
    text = "|".join((str(patient), uids.study, uids.series, uids.instance))
    digest = hashlib.sha1(text.encode("utf-8"), usedforsecurity=False)
    return "-".join(digest.hexdigest()[i : i + 8] for i in range(0, 40, 8))


def _side(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
