"""Index of an archive's instances of some modalities.

An update asks for the instances of a series only if the series is new or its number of instances has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from monai_dgm.labelling.archive.archive_client import ArchiveClient, StudyUIDs, is_uid, value_of
from monai_dgm.labelling.server.http_errors import UnknownError

__all__ = ["ArchiveIndex", "ArchivedInstance"]

FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"  # raw images of the X-ray detector, which are not for reading


@dataclass(frozen=True)
class ArchivedInstance:
    """One instance in the index.

    Attributes:
        uids: of study, series and instance.
        rows, cols: size of an image; None where the archive does not give it.
        study_time: date and time of the study in the form of DICOM, for sorting.
    """

    uids: StudyUIDs
    rows: int | None
    cols: int | None
    study_time: str


Series = dict[tuple[str, str], tuple[Any, list[ArchivedInstance]]]
"""Number of instances and the included ones, by (Study Instance UID, Series Instance UID)."""


class ArchiveIndex:
    """Instances of some modalities by SOP Instance UID. Not safe with several threads.

    Args:
        client: of the archive.
        modalities: DICOM Modality (0008,0060) of the series.
    """

    def __init__(self, client: ArchiveClient, modalities: Iterable[str]) -> None:
        self.client = client
        self.modalities = tuple(modalities)
        self.instances: dict[str, ArchivedInstance] = {}
        self._series: Series = {}

    def refresh(self, wanted: Callable[[str], bool] = lambda study: True) -> None:
        """Update the index from the whole archive.

        Args:
            wanted: whether to include a study, by its Study Instance UID.

        Raises:
            ArchiveAwayError: the archive does not answer; the index stays as it was.
        """
        listed: Series = {}
        for modality in self.modalities:
            for item in self.client.series(modality):
                if value_of(item, "00080060") not in (None, modality) or not wanted(str(value_of(item, "0020000D"))):
                    continue
                self._add_series(item, listed)
        self._replace(listed)

    def refresh_study(self, study: str) -> None:
        """Update the index from one study; errors as :meth:`refresh`."""
        listed = {key: known for key, known in self._series.items() if key[0] != study}
        for modality in self.modalities:
            for item in self.client.series(modality, study):
                if value_of(item, "00080060") in (None, modality):
                    self._add_series({"0020000D": {"Value": [study]}, **item}, listed)
        self._replace(listed)

    def of_study(self, study: str) -> list[ArchivedInstance]:
        """The instances of a study."""
        return [item for item in self.instances.values() if item.uids.study == study]

    def _add_series(self, item: dict[str, Any], listed: Series) -> None:
        key = str(value_of(item, "0020000D")), str(value_of(item, "0020000E"))
        count = value_of(item, "00201209")
        known = self._series.get(key)
        if known is not None and count is not None and known[0] == count:
            listed[key] = known
            return
        study_time = f"{value_of(item, '00080020') or ''}{value_of(item, '00080030') or ''}"
        try:
            found = self.client.instances(*key)
        except UnknownError:  # removed since it was listed
            return
        kept = [instance for entry in found if (instance := _instance(entry, *key, study_time)) is not None]
        listed[key] = (count, kept)

    def _replace(self, listed: Series) -> None:
        self._series = listed
        self.instances = {item.uids.instance: item for _, found in listed.values() for item in found}


def _instance(entry: dict[str, Any], study: str, series: str, study_time: str) -> ArchivedInstance | None:
    uid = value_of(entry, "00080018")
    if not is_uid(uid) or value_of(entry, "00080016") == FOR_PROCESSING:
        return None
    rows, cols = (_side(value_of(entry, tag)) for tag in ("00280010", "00280011"))
    return ArchivedInstance(StudyUIDs(study, series, uid), rows, cols, study_time)


def _side(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
