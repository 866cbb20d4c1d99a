"""Index of an archive's instances of some modalities.

The first listing asks for all instances at once. Later ones ask for the series, and for the instances of a series only
if the series is new or its number of instances has changed.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from monai_dgm.errors import InputError
from monai_dgm.labelling.archive.archive_client import ArchiveClient, StudyUIDs, is_uid, value_of
from monai_dgm.labelling.archive.wanted_images import WantedImages
from monai_dgm.labelling.server.http_errors import ArchiveAwayError, UnknownError

__all__ = ["ArchiveIndex", "ArchivedInstance"]

# InstanceCreationDate, InstanceCreationTime, ContentDate, ContentTime
_TIMES = ("00080012", "00080013", "00080023", "00080033")
FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"  # raw images of the X-ray detector, which are not for reading


@dataclass(frozen=True)
class ArchivedInstance:
    """One instance in the index.

    Attributes:
        uids: of study, series and instance.
        rows, cols: size of an image; None where the archive does not give it.
        study_time: date and time of the study in the form of DICOM, for sorting.
        times: when the object was made, in the form of DICOM; "" where the archive does not give it.
        orthanc_id: identifier that Orthanc computes from patient ID and UIDs; means nothing in another archive.
    """

    uids: StudyUIDs
    rows: int | None
    cols: int | None
    study_time: str
    times: tuple[str, ...] = ()
    orthanc_id: str = ""

    def replaces(self, other: ArchivedInstance) -> bool:
        """Whether this is another object than one of the same UID, by what the archive tells of both."""
        ours, theirs = ((item.rows, item.cols, *item.times) for item in (self, other))
        return any(one != another for one, another in zip(ours, theirs, strict=False) if one and another)


Series = dict[tuple[str, str], tuple[Any, list[ArchivedInstance]]]
"""Number of instances and the included ones, by (Study Instance UID, Series Instance UID)."""


def _any_study(study: str) -> bool:
    return True


class ArchiveIndex:
    """Instances by SOP Instance UID. Updates come one after the other; reading is safe beside them.

    An update costs what it changes, but for that of the whole archive.

    Args:
        client: of the archive.
        wanted: conditions for an instance.

    Attributes:
        instances: of the last update. Of one that is in several series, the one of the smallest UIDs.
        listed: whether the whole archive was listed once.
        changes: how often an instance came, went or changed.
    """

    def __init__(self, client: ArchiveClient, wanted: WantedImages) -> None:
        self.client = client
        self.wanted = wanted
        self.instances: dict[str, ArchivedInstance] = {}
        self.listed = False
        self.changes = 0
        self._last_changes: dict[str, int] = {}  # of each instance the number of its last change, the latest last
        self._noting = threading.Lock()
        self._replaced: set[str] = set()
        self._series: Series = {}
        self._by_study: dict[str, tuple[tuple[str, str], ...]] = {}
        self._copies: dict[str, list[ArchivedInstance]] = {}  # of each instance those in all series
        self._by_orthanc_id: dict[str, str] = {}  # -> Study Instance UID
        self._updating = threading.Lock()

    def refresh(self, include: Callable[[str], bool] = _any_study) -> list[ArchivedInstance]:
        """Update the index from the whole archive.

        Args:
            include: whether to include a study, by its Study Instance UID.

        Returns:
            The instances that are not in the archive any more.

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
            gone = self._update(listed, self._series.keys())
            self.listed = True
            return gone

    def refresh_study(self, study: str) -> list[ArchivedInstance]:
        """Update the index from one study; as :meth:`refresh`."""
        with self._updating:
            listed: Series = {}
            for modality in self.wanted.modalities:
                for item in self._matching_series(modality, study):
                    self._add_series({"0020000D": {"Value": [study]}, **item}, listed, fresh=True)
            return self._update(listed, self._by_study.get(study, ()))

    def refresh_recent(self, first_date: str) -> list[ArchivedInstance]:
        """Add what is new in studies from a date (YYYYMMDD) on; no series is removed. As :meth:`refresh`."""
        with self._updating:
            listed: Series = {}
            for modality in self.wanted.modalities:
                for item in self._matching_series(modality, since=first_date):
                    self._add_series(item, listed)
            return self._update(listed, ())

    def of_study(self, study: str) -> list[ArchivedInstance]:
        """The instances of a study."""
        series = self._series
        return [item for key in self._by_study.get(study, ()) for item in series.get(key, (0, []))[1]]

    def take_replaced(self) -> set[str]:
        """SOP Instance UIDs of instances that updates since the last call found replaced by others of the same UID."""
        with self._updating:
            found, self._replaced = self._replaced, set()
        return found

    def changed_since(self, changes: int) -> list[str]:
        """SOP Instance UIDs of the instances that came or changed since :attr:`changes` was this number, in the order
        of their last changes."""
        with self._noting:
            later = takewhile(lambda item: item[1] > changes, reversed(self._last_changes.items()))
            return [uid for uid, _ in later][::-1]

    def last_change(self, uid: str) -> int:
        """:attr:`changes` when an instance changed last; 0 if it is not in the index."""
        with self._noting:
            return self._last_changes.get(uid, 0)

    def note_changed(self, uids: Iterable[str]) -> None:
        """These instances came, went or changed. Those that went are not remembered: the memory is that of the index,
        however long a server runs."""
        with self._noting:
            for uid in uids:
                self.changes += 1
                self._last_changes.pop(uid, None)
                if uid in self.instances:
                    self._last_changes[uid] = self.changes

    def study_of_orthanc(self, orthanc_id: str) -> str | None:
        """Study Instance UID of an instance by :attr:`ArchivedInstance.orthanc_id`; None if it is not in the index."""
        return self._by_orthanc_id.get(orthanc_id)

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

    def _update(self, listed: Series, known: Iterable[tuple[str, str]]) -> list[ArchivedInstance]:
        """Take over the listed series in the place of the known ones; returns the instances that are gone."""
        before: list[ArchivedInstance] = []
        now: list[ArchivedInstance] = []
        for key in [key for key in known if key not in listed]:
            before += self._series.pop(key)[1]
            self._by_study[key[0]] = tuple(other for other in self._by_study[key[0]] if other != key)
            if not self._by_study[key[0]]:
                del self._by_study[key[0]]
        for key, found in listed.items():
            if key not in self._series:
                self._by_study[key[0]] = (*self._by_study.get(key[0], ()), key)
            elif self._series[key] == found:
                continue
            before += self._series.get(key, (0, []))[1]
            now += found[1]
            self._series[key] = found
        for item in before:
            self._copies[item.uids.instance].remove(item)
            self._by_orthanc_id.pop(item.orthanc_id, None)
        for item in now:
            self._copies.setdefault(item.uids.instance, []).append(item)
            self._by_orthanc_id[item.orthanc_id] = item.uids.study
        for uid in dict.fromkeys(item.uids.instance for item in (*before, *now)):
            self._choose(uid)
        kept = {item.uids: item for item in now}
        self._replaced |= {old.uids.instance for old in before if old.uids in kept and kept[old.uids].replaces(old)}
        return [item for item in before if item.uids not in kept]

    def _choose(self, uid: str) -> None:
        """Take the copy of an instance that counts."""
        copies, shown = self._copies[uid], self.instances.get(uid)
        chosen = min(copies, key=lambda item: item.uids.path, default=None)
        if chosen is None:
            del self._copies[uid]
            self.instances.pop(uid, None)
        else:
            self.instances[uid] = chosen
        if chosen != shown:
            self.note_changed([uid])


def _study_time(item: dict[str, Any]) -> str:
    return f"{value_of(item, '00080020') or ''}{value_of(item, '00080030') or ''}"


def _instance(entry: dict[str, Any], study: str, series: str, study_time: str) -> ArchivedInstance | None:
    uid = value_of(entry, "00080018")
    if not is_uid(uid) or value_of(entry, "00080016") == FOR_PROCESSING:
        return None
    rows, cols = (_side(value_of(entry, tag)) for tag in ("00280010", "00280011"))
    uids = StudyUIDs(study, series, uid)
    times = tuple(str(value_of(entry, tag) or "") for tag in _TIMES)
    return ArchivedInstance(uids, rows, cols, study_time, times, _orthanc_id(entry, uids))


def _orthanc_id(entry: dict[str, Any], uids: StudyUIDs) -> str:
    patient = value_of(entry, "00100020") or ""  # Orthanc computes with an empty text where there is no patient ID
    text = "|".join((str(patient), uids.study, uids.series, uids.instance))
    digest = hashlib.sha1(text.encode("utf-8"), usedforsecurity=False)
    return "-".join(digest.hexdigest()[i : i + 8] for i in range(0, 40, 8))


def _side(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
