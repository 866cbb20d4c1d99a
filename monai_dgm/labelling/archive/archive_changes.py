"""What has changed in an archive since the last look.

Orthanc keeps a log of changes (``/changes``) beside its DICOMweb service: a look is a few small requests, however many
studies there are. Every instance that was added is in it, also one that replaces an older one of the same UID; what
was deleted is missing in ``/instances``. Orthanc's name of each instance's file is stored, with the last entry of the
log that was dealt with: so what happened while no server ran is noticed at the next start.

Other archives are listed again. A listing of a large archive takes seconds, so the next one waits until listings take
no more than :data:`SHARE` of the time; studies of the last two days are looked at each time. In these archives, an
instance that is replaced under the same UID is noticed when a reader opens it, if the archive tells another size or
time of it (:meth:`monai_dgm.labelling.archive.instance_index.ArchivedInstance.replaces`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from monai_dgm.errors import InputError
from monai_dgm.labelling.archive.archive_client import PAGE, ArchiveClient, is_uid
from monai_dgm.labelling.archive.archive_state import ArchiveState
from monai_dgm.labelling.server.http_errors import ArchiveAwayError, UnknownError

__all__ = ["ChangeFeed", "Changes", "ListingFeed", "OrthancFeed", "find_feed"]

SHARE = 0.02  # of the time, for listings
AT_ONCE = 1_000  # changes in one look
AFTER_A_PAUSE = 10_000  # changes at the start, above which all instances are compared
MANY = 200  # added instances in one look, above which the archive is listed as a whole


@dataclass
class Changes:
    """Changes of an archive.

    Attributes:
        everything: the whole archive has to be listed.
        recent: first study date (YYYYMMDD) of the studies to list; empty for none.
        studies: Study Instance UIDs of studies with added or removed instances.
        replaced: SOP Instance UIDs of instances that replaced an earlier one of the same UID, which may have been
            deleted before.
        removed: :attr:`ArchivedInstance.orthanc_id` of removed instances.
        more: there are more changes to look at.
    """

    everything: bool = False
    recent: str = ""
    studies: set[str] = field(default_factory=set)
    replaced: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    more: bool = False

    @property
    def any(self) -> bool:
        """Whether there is something to do."""
        return bool(self.everything or self.recent or self.studies or self.removed)

    def add(self, others: Changes) -> None:
        """Add changes of a later look."""
        self.everything = self.everything or others.everything
        self.recent = min(self.recent or others.recent, others.recent or self.recent)
        self.studies |= others.studies
        self.replaced |= others.replaced
        self.removed |= others.removed
        self.more = others.more


class ChangeFeed(Protocol):
    """Where changes come from."""

    def look(self) -> Changes:
        """The changes since the last look; the first one is to list everything.

        Raises:
            ArchiveAwayError: the archive does not answer; the next look has the same changes.
        """

    def listed(self, seconds: float) -> None:
        """The whole archive was listed, which took so long."""

    def keep(self) -> None:
        """The changes up to now are dealt with: the next run need not look at them again."""


class ListingFeed:
    """Changes of an archive without a log of changes."""

    def __init__(self) -> None:
        self._next = 0.0

    def look(self) -> Changes:
        """As :meth:`ChangeFeed.look`."""
        if time.monotonic() >= self._next:
            return Changes(everything=True)
        return Changes(recent=(datetime.now() - timedelta(days=1)).strftime("%Y%m%d"))

    def listed(self, seconds: float) -> None:
        """As :meth:`ChangeFeed.listed`."""
        self._next = time.monotonic() + seconds / SHARE

    def keep(self) -> None:
        """As :meth:`ChangeFeed.keep`; there is nothing to keep."""


class OrthancFeed:
    """Changes of an Orthanc server.

    Args:
        client: of its DICOMweb service.
        root: address of the server.
        state: knows the last entry of Orthanc's log that was dealt with, and the file of each instance.
    """

    def __init__(self, client: ArchiveClient, root: str, state: ArchiveState) -> None:
        self.client = client
        self.root = root
        self.state = state
        self._position: int | None = None
        self._entry: dict[str, Any] | None = None  # the last one that was read
        self._files: dict[str, str] = {}  # Orthanc's name of the file by identifier, where it is not in the state yet
        self._present: set[str] = set()  # Orthanc's identifiers of all instances

    def look(self) -> Changes:
        """As :meth:`ChangeFeed.look`; the first one has the instances that were replaced since the last run, too."""
        if self._position is None:
            changes = self._begin()
            changes.everything = True
            return changes
        changes = self._read(self._json(f"changes?since={self._position}&limit={AT_ONCE}"))
        self._remove(changes)
        return changes

    def listed(self, seconds: float) -> None:
        """As :meth:`ChangeFeed.listed`."""

    def keep(self) -> None:
        """As :meth:`ChangeFeed.keep`."""
        self.state.store_log(self._entry, self._files)
        self._files = {}

    def _begin(self) -> Changes:
        """What happened since the last run, by the log where it still has the very entry that was the last one then.

        The entry is missing, or another one, if the log was emptied, an older database was restored, or this is another
        archive; and if what it is about was deleted.
        """
        entry = self.state.last_entry()
        if entry is not None:
            page = self._json(f"changes?since={entry['Seq'] - 1}&limit={AFTER_A_PAUSE}")
            if page["Done"] and page["Changes"][:1] == [entry]:
                self._present = set(self._json("instances"))
                return self._read(page)
        return self._compare()

    def _compare(self) -> Changes:
        """Compare the files of all instances with the known ones."""
        newest = self._json("changes?last")  # before the listing, so that nothing is missed
        self._present = set(self._json("instances"))
        changes, seen = Changes(), set[str]()
        while page := self._json(f"instances?expand&since={len(seen)}&limit={PAGE}"):
            before = len(seen)
            seen |= {item["ID"] for item in page}
            self._note(page, changes)
            if len(seen) == before:
                break
        left = (self._instance(identifier) for identifier in self._present - seen)  # a deletion moved the pages
        self._note([item for item in left if item is not None], changes)
        self._entry = newest["Changes"][0] if newest["Changes"] else None
        self._position = int(newest["Last"])
        return changes

    def _read(self, page: dict[str, Any]) -> Changes:
        """The changes in a page of the log."""
        added = list(dict.fromkeys(c["ID"] for c in page["Changes"] if c["ChangeType"] == "NewInstance"))
        changes = Changes(more=not page["Done"], everything=len(added) > MANY)
        instances = [item for item in map(self._instance, added) if item is not None]
        self._note(instances, changes)
        self._present |= {item["ID"] for item in instances}
        for series in dict.fromkeys(str(item["ParentSeries"]) for item in instances):
            study = self._study_of(series)
            if study is not None and is_uid(study):
                changes.studies.add(study)
        self._entry = page["Changes"][-1] if page["Changes"] else self._entry
        self._position = int(page["Last"])
        return changes

    def _instance(self, identifier: str) -> dict[str, Any] | None:
        """What Orthanc tells of an instance; None if it was removed again."""
        try:
            found: dict[str, Any] = self._json(f"instances/{identifier}")
        except UnknownError:
            return None
        return found

    def _note(self, instances: list[dict[str, Any]], changes: Changes) -> None:
        """Note the files of instances; those that had another file before were replaced."""
        known = self.state.files(item["ID"] for item in instances)
        for item in instances:
            identifier, file, uid = item["ID"], str(item["FileUuid"]), item["MainDicomTags"].get("SOPInstanceUID")
            if known.get(identifier) != file:
                self._files[identifier] = file
                if identifier in known and is_uid(uid):
                    changes.replaced.add(uid)

    def _study_of(self, series: str) -> str | None:
        """Study Instance UID of a series by Orthanc's identifier; None if it was removed again, or has none."""
        try:
            study: str | None = self._json(f"series/{series}/study")["MainDicomTags"].get("StudyInstanceUID")
        except UnknownError:
            return None
        return study

    def _remove(self, changes: Changes) -> None:
        """Look for what was deleted, if there are fewer instances than known."""
        if int(self._json("statistics")["CountInstances"]) >= len(self._present):
            return
        present = set(self._json("instances"))
        changes.removed = self._present - present
        self._present = present

    def _json(self, path: str) -> Any:
        return self.client.json(f"{self.root}/{path}")


def find_feed(client: ArchiveClient, state: ArchiveState) -> ChangeFeed:
    """The log of changes of an Orthanc server, where the address is that of one; else listings.

    Raises:
        ArchiveAwayError: the archive does not answer.
    """
    root = client.url.rsplit("/", 1)[0]
    try:
        system: Any = client.json(f"{root}/system")
        if isinstance(system, dict) and "ApiVersion" in system and "DatabaseVersion" in system:
            client.json(f"{root}/changes?last")
            return OrthancFeed(client, root, state)
    except ArchiveAwayError as error:
        if "something unexpected" not in str(error):  # another server's page is not JSON
            raise
    except InputError:
        pass
    return ListingFeed()
