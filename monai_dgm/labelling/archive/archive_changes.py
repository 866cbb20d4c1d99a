"""What has changed in an archive since the last look.

Orthanc keeps a log of changes (``/changes``) beside its DICOMweb service: a look is a few small requests, however many
studies there are. Every instance that was added is in it, also one that replaces an older one of the same UID; what
was deleted is missing in ``/instances``. Other archives are listed again. A listing of a large archive takes seconds,
so the next one waits until listings take no more than :data:`SHARE` of the time; studies of the last two days are
looked at each time. In these archives, an instance that is replaced under the same UID is not noticed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from monai_dgm.errors import InputError
from monai_dgm.labelling.archive.archive_client import ArchiveClient, is_uid
from monai_dgm.labelling.server.http_errors import ArchiveAwayError, UnknownError

__all__ = ["ChangeFeed", "Changes", "ListingFeed", "OrthancFeed", "find_feed"]

SHARE = 0.02  # of the time, for listings
AT_ONCE = 1_000  # changes in one look
MANY = 200  # added instances in one look, above which the archive is listed as a whole


@dataclass
class Changes:
    """Changes of an archive.

    Attributes:
        everything: the whole archive has to be listed.
        recent: first study date (YYYYMMDD) of the studies to list; empty for none.
        studies: Study Instance UIDs of studies with added or removed instances.
        replaced: SOP Instance UIDs of instances that replaced an earlier one of the same UID.
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


class OrthancFeed:
    """Changes of an Orthanc server.

    Args:
        client: of its DICOMweb service.
        root: address of the server.
    """

    def __init__(self, client: ArchiveClient, root: str) -> None:
        self.client = client
        self.root = root
        self._position: int | None = None
        self._present: set[str] = set()  # Orthanc's identifiers of all instances
        self._studies: dict[str, str] = {}  # Orthanc's identifier of a series -> Study Instance UID

    def look(self) -> Changes:
        """As :meth:`ChangeFeed.look`."""
        if self._position is None:
            self._position = int(self.client.json(f"{self.root}/changes?last")["Last"])
            self._present = set(self.client.json(f"{self.root}/instances"))
            return Changes(everything=True)
        page = self.client.json(f"{self.root}/changes?since={self._position}&limit={AT_ONCE}")
        added = list(dict.fromkeys(c["ID"] for c in page["Changes"] if c["ChangeType"] == "NewInstance"))
        changes = Changes(more=not page["Done"])
        if len(added) > MANY:
            changes.everything = True
        for identifier in added:
            self._add(identifier, changes)
        self._remove(changes)
        self._position = int(page["Last"])
        return changes

    def listed(self, seconds: float) -> None:
        """As :meth:`ChangeFeed.listed`."""

    def _add(self, identifier: str, changes: Changes) -> None:
        try:
            instance = self.client.json(f"{self.root}/instances/{identifier}")
            series = str(instance["ParentSeries"])
            study = self._studies.get(series) or self._study_of(series)
        except UnknownError:  # removed again
            return
        uid = instance["MainDicomTags"].get("SOPInstanceUID")
        if is_uid(uid) and is_uid(study):
            self._studies[series] = study
            changes.studies.add(study)
            if identifier in self._present:
                changes.replaced.add(uid)
            self._present.add(identifier)

    def _study_of(self, series: str) -> str:
        return str(self.client.json(f"{self.root}/series/{series}/study")["MainDicomTags"].get("StudyInstanceUID"))

    def _remove(self, changes: Changes) -> None:
        """Look for what was deleted, if there are fewer instances than known."""
        count = int(self.client.json(f"{self.root}/statistics")["CountInstances"])
        if count >= len(self._present):
            return
        present = set(self.client.json(f"{self.root}/instances"))
        changes.removed = self._present - present
        self._present = present


def find_feed(client: ArchiveClient) -> ChangeFeed:
    """The log of changes of an Orthanc server, where the address is that of one; else listings.

    Raises:
        ArchiveAwayError: the archive does not answer.
    """
    root = client.url.rsplit("/", 1)[0]
    try:
        system: Any = client.json(f"{root}/system")
        if isinstance(system, dict) and "ApiVersion" in system and "DatabaseVersion" in system:
            client.json(f"{root}/changes?last")
            return OrthancFeed(client, root)
    except ArchiveAwayError as error:
        if "something unexpected" not in str(error):  # another server's page is not JSON
            raise
    except InputError:
        pass
    return ListingFeed()
