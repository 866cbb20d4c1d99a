"""Radiographs of a DICOMweb archive by SOP Instance UID. Each instance is one image: PA and lateral are two."""

from __future__ import annotations

import threading

import pydicom

from monai_dgm.errors import InputError, in_one_line
from monai_dgm.labelling.archive.archive_client import ArchiveClient, StudyUIDs, is_uid
from monai_dgm.labelling.archive.instance_cache import DicomCache
from monai_dgm.labelling.archive.instance_index import ArchivedInstance, ArchiveIndex
from monai_dgm.labelling.server.http_errors import ArchiveAwayError, ForbiddenError, UnknownError
from monai_dgm.labelling.server.request_options import checked_image_id
from monai_dgm.labelling.server.studies import Rescan, StudyImage, read_checked
from monai_dgm.readers.dicom.read import read_header
from monai_dgm.readers.radiograph import MAX_PIXELS, Radiograph
from monai_dgm.transforms.placement import Placement

__all__ = ["MODALITIES", "StudyArchive"]

MODALITIES = ("CR", "DX", "RG")
MAX_HEADER_BYTES = 20_000_000  # size limit of an object without pixels
_STAMP = (0, 0)  # instances do not change


class StudyArchive:
    """Radiographs of an archive; same interface as ``StudyFolder``. Safe with several threads.

    Args:
        client: of the archive.
        cache: of its instances.
        max_pixels: size limit of an image, checked before it is decoded.
        modalities: of the series that are included.
    """

    def __init__(
        self,
        client: ArchiveClient,
        cache: DicomCache,
        max_pixels: float = MAX_PIXELS,
        modalities: tuple[str, ...] = MODALITIES,
    ) -> None:
        self.client = client
        self.cache = cache
        self.max_bytes = client.max_bytes
        self.max_pixels = max_pixels
        self.left_out = 0
        self._lock = threading.Lock()
        self._index = ArchiveIndex(client, modalities)
        self._rescan = Rescan()
        self._failure: InputError | None = None

    def ids(self) -> list[str]:
        """The ids of all radiographs, sorted; new ones are found after a few seconds.

        Raises:
            ArchiveAwayError: the archive does not answer.
        """
        return sorted(item.uids.instance for item in self.instances())

    def instances(self) -> list[ArchivedInstance]:
        """All radiographs; errors as :meth:`ids`."""
        with self._lock:
            if self._rescan.due:
                self._scan()
            elif self._failure is not None:
                raise ArchiveAwayError(str(self._failure))
            return list(self._index.instances.values())

    def refresh(self) -> None:
        """Update the list from the archive now; errors as :meth:`ids`."""
        with self._lock:
            self._scan()

    def find(self, image_id: str) -> StudyImage:
        """A radiograph by its id.

        Raises:
            InputError: not an id.
            UnknownError: there is no such radiograph.
            ArchiveAwayError: it is not in the index, and the archive does not answer.
        """
        uids = self.study_of(image_id)
        return StudyImage(uids.instance, _STAMP, None, uids.study, uids.series)

    def study_of(self, image_id: str) -> StudyUIDs:
        """The UIDs of a radiograph; errors as :meth:`find`."""
        name = checked_image_id(image_id)
        found = self._index.instances.get(name)  # no request for a known image
        if found is None and is_uid(name):
            found = next((item for item in self.instances() if item.uids.instance == name), None)
        if found is None:
            raise UnknownError("image: there is none of that id")
        return found.uids

    def in_study(self, study: str) -> list[ArchivedInstance]:
        """The radiographs of a study, asked from the archive now.

        Raises:
            UnknownError: there is no such study, or no radiograph in it.
            ArchiveAwayError: the archive does not answer.
        """
        if not is_uid(study):
            raise UnknownError("study: expected a Study Instance UID, got another value")
        with self._lock:
            self._index.refresh_study(study)
            found = self._index.of_study(study)
        if not found:
            raise UnknownError("study: there is no study of that UID with a radiograph")
        return sorted(found, key=lambda item: (item.uids.series, item.uids.instance))

    def read(self, image_id: str) -> tuple[Radiograph, Placement]:
        """A radiograph, and the position of its plane in the patient.

        Raises:
            UnknownError: as :meth:`find`.
            TooLargeError: an instance of more bytes than allowed.
            InputError: as :func:`monai_dgm.labelling.server.studies.read_checked`.
            ArchiveAwayError: the archive does not answer.
        """
        uids = self.study_of(image_id)
        with self.cache.file(uids.path, lambda: self.client.retrieve(uids)) as path:
            radiograph = read_checked(path, self.max_bytes, self.max_pixels)
            return radiograph, Placement.of(radiograph)

    def header(self, uids: StudyUIDs, with_pixels: bool = True) -> pydicom.Dataset:
        """An object without its pixels.

        Args:
            uids: of the object.
            with_pixels: whether it is an image; the size limit of other objects is lower.

        Raises:
            InputError: as :meth:`read`.
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

    def _scan(self) -> None:
        try:
            self._index.refresh()
            self._failure = None
        except InputError as error:
            self._failure = error  # kept, since an archive that is away may take seconds to fail again
            raise
        finally:
            self._rescan.done()
