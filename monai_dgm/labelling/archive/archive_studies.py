"""Radiographs of a DICOMweb archive by SOP Instance UID. Each instance is one image: PA and lateral are two.

No request of a user waits for a listing: the index is what the last update found. :class:`ArchiveWatcher` updates it in
the background.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pydicom

from monai_dgm.errors import InputError, in_one_line
from monai_dgm.labelling.archive.archive_changes import Changes
from monai_dgm.labelling.archive.archive_client import ArchiveClient, StudyUIDs, is_uid
from monai_dgm.labelling.archive.instance_cache import DicomCache
from monai_dgm.labelling.archive.instance_index import ArchivedInstance, ArchiveIndex
from monai_dgm.labelling.archive.wanted_images import WantedImages
from monai_dgm.labelling.server.http_errors import ArchiveAwayError, ForbiddenError, UnknownError
from monai_dgm.labelling.server.request_options import checked_image_id
from monai_dgm.labelling.server.studies import Studies, StudyImage
from monai_dgm.readers.dicom.read import read_header
from monai_dgm.readers.radiograph import MAX_PIXELS

__all__ = ["StudyArchive"]

MAX_HEADER_BYTES = 20_000_000  # size limit of an object without pixels
# Radiographs that are analysed without being asked for one by one, where no condition but the modality was given:
# whoever names the archive of a hospital does not mean all that it holds.
MAX_UNASKED = 1_000
# A busy archive may fail to answer once; what it held a moment ago is good enough for that long.
AWAY_SECONDS = 30.0


class StudyArchive(Studies):
    """Radiographs of an archive. Safe with several threads.

    Args:
        client: of the archive.
        cache: of its instances.
        max_pixels: size limit of an image, checked before it is decoded.
        wanted: conditions for the radiographs.
    """

    def __init__(
        self,
        client: ArchiveClient,
        cache: DicomCache,
        max_pixels: float = MAX_PIXELS,
        wanted: WantedImages = WantedImages(),  # noqa: B008, it cannot be changed
    ) -> None:
        self.client = client
        self.cache = cache
        self.max_bytes = client.max_bytes
        self.max_pixels = max_pixels
        self.left_out = 0
        self.wanted = wanted
        self._index = ArchiveIndex(client, wanted)
        self._sorted: tuple[int, list[str]] = (-1, [])  # at this number of changes
        self._failure: InputError | None = None
        self._failing_since = 0.0  # of time.monotonic

    @property
    def listed(self) -> bool:
        """Whether the whole archive was listed once; before, the radiographs known so far are few."""
        return self._index.listed

    @property
    def changes(self) -> int:
        """A number that grows with each change of the index, or of an instance in it."""
        return self._index.changes

    def changed_since(self, changes: int) -> list[str]:
        """Ids of the radiographs that came, changed or were replaced since :attr:`changes` was this number."""
        return self._index.changed_since(changes)

    def ids(self) -> list[str]:
        """The ids of all radiographs, sorted; new ones are found after a few seconds.

        Raises:
            ArchiveAwayError: the archive has not answered for :data:`AWAY_SECONDS`, or was never listed and does not
                answer.
        """
        self._require_answers()
        changes, instances = self.changes, self._index.instances
        if self._sorted[0] != changes:
            self._sorted = changes, sorted(instances)
        return list(self._sorted[1])

    def asked_for(self) -> list[str]:
        """Ids of the radiographs that are analysed without a request for each; errors as :meth:`ids`.

        All of them, if the conditions say more than the modality, or if there are at most :data:`MAX_UNASKED`.
        """
        names = self.ids()
        return names if self.asks_for_all else []

    @property
    def asks_for_all(self) -> bool:
        """Whether :meth:`asked_for` are all radiographs; else none."""
        return self.wanted.narrowed or len(self._index.instances) <= MAX_UNASKED

    def instances(self) -> Mapping[str, ArchivedInstance]:
        """All radiographs by id; errors as :meth:`ids`."""
        self._require_answers()
        return self._index.instances

    def note_failure(self, error: InputError | None) -> None:
        """That the archive did not answer, which :meth:`ids` says if it lasts, or that it does again."""
        if self._failure is None:
            self._failing_since = time.monotonic()
        self._failure = error

    def _require_answers(self) -> None:
        lasts = time.monotonic() - self._failing_since >= AWAY_SECONDS
        if self._failure is not None and (lasts or not self._index.listed):
            raise ArchiveAwayError(str(self._failure))

    def refresh(self) -> None:
        """List the whole archive now; errors as :meth:`ids`."""
        self.apply(Changes(everything=True))

    def apply(self, changes: Changes) -> set[str]:
        """Update the index after changes; returns the ids of radiographs whose instances were replaced.

        Raises:
            ArchiveAwayError: the archive does not answer; the index stays as it was, or is partly updated.
        """
        first, gone = not self._index.listed, list[ArchivedInstance]()
        try:
            if changes.everything:
                gone = self._index.refresh()
            else:
                if changes.recent:
                    gone += self._index.refresh_recent(changes.recent)
                for study in changes.studies | self._studies_of(changes.removed):
                    gone += self._index.refresh_study(study)
            self.note_failure(None)
        except InputError as error:
            self.note_failure(error)  # kept, since an archive that is away may take seconds to fail again
            raise
        finally:
            self._drop(gone)
        if first and self._index.listed:  # what was deleted while no server ran
            self.cache.keep_only(item.uids.path for item in list(self._index.instances.values()))
        told = changes.replaced | self._index.take_replaced()
        now = {name: item for name in told if (item := self._index.instances.get(name)) is not None}
        self._drop(now.values())
        replaced = now.keys() | (told & {item.uids.instance for item in gone})
        self._index.note_changed(replaced)
        return replaced

    def _drop(self, gone: Iterable[ArchivedInstance]) -> None:
        for item in gone:
            self.cache.drop(item.uids.path)

    def find(self, image_id: str) -> StudyImage:
        """A radiograph by its id.

        Raises:
            InputError: not an id.
            UnknownError: there is no such radiograph.
            ArchiveAwayError: it is not in the index, and the archive does not answer.
        """
        uids = self.study_of(image_id)
        return StudyImage(uids.instance, (self._index.last_change(uids.instance), 0), None, uids.study, uids.series)

    def study_of(self, image_id: str) -> StudyUIDs:
        """The UIDs of a radiograph; errors as :meth:`find`."""
        found = self._index.instances.get(image_id) if isinstance(image_id, str) else None
        if found is not None:
            return found.uids
        if is_uid(checked_image_id(image_id)):
            if self._failure is not None:
                raise ArchiveAwayError(str(self._failure))
            if not self._index.listed:
                raise ArchiveAwayError("the archive is being listed; try again in a moment")
        raise UnknownError("image: there is none of that id")

    def in_study(self, study: str) -> list[ArchivedInstance]:
        """The radiographs of a study, asked from the archive now.

        Raises:
            UnknownError: there is no such study, or no radiograph in it.
            ArchiveAwayError: the archive does not answer.
        """
        if not is_uid(study):
            raise UnknownError("study: expected a Study Instance UID, got another value")
        self._drop(self._index.refresh_study(study))
        found = self._index.of_study(study)
        if not found:
            raise UnknownError("study: there is no study of that UID with a radiograph")
        return sorted(found, key=lambda item: (item.uids.series, item.uids.instance))

    def known_in_study(self, study: str) -> list[ArchivedInstance]:
        """The radiographs of a study that are in the index, without a request."""
        return self._index.of_study(study)

    @contextmanager
    def file(self, image_id: str) -> Iterator[Path]:
        """The file of a radiograph, from the cache or the archive.

        Raises:
            UnknownError: as :meth:`find`.
            TooLargeError: an instance of more bytes than allowed.
            ArchiveAwayError: the archive does not answer.
        """
        uids = self.study_of(image_id)
        if not self._index.listed:
            self.cache.drop(uids.path)  # it may have been replaced while no server ran
        with self.cache.file(uids.path, lambda: self.client.retrieve(uids)) as path:
            yield path

    def header(self, uids: StudyUIDs, with_pixels: bool = True) -> pydicom.Dataset:
        """An object without its pixels.

        Args:
            uids: of the object.
            with_pixels: whether it is an image; the size limit of other objects is lower.

        Raises:
            InputError: as :meth:`file`.
        """
        limit = self.max_bytes if with_pixels else MAX_HEADER_BYTES
        with self.cache.file(uids.path, lambda: self.client.retrieve(uids, limit)) as path:
            try:
                header = read_header(path)
            except InputError as error:
                raise InputError(in_one_line(error).replace(str(path), "object")) from None
        try:
            instance = str(header.get("SOPInstanceUID") or "")
        except Exception:  # a damaged element raises when it is read
            instance = ""
        if instance != uids.instance:
            raise InputError("expected the requested object, the archive sent another")
        return header

    def add(self, image_id: str, content: bytes, suffix: str) -> None:
        """Not supported.

        Raises:
            ForbiddenError: always; images are sent to the archive directly.
        """
        raise ForbiddenError("expected images to be sent to the archive, not to this server")

    def remove(self, image_id: str) -> None:
        """Refuse it: radiographs of an archive are deleted there, by its own administrators.

        Raises:
            ForbiddenError: always.
        """
        raise ForbiddenError("radiographs of an archive are deleted in the archive")

    def _studies_of(self, orthanc_ids: set[str]) -> set[str]:
        """Studies of instances by Orthanc's identifiers."""
        return {study for name in orthanc_ids if (study := self._index.study_of_orthanc(name)) is not None}
