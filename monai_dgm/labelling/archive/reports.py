"""Labels from readers' reports in the archive: OHIF's *Create Report*, or TID 1500 of another viewer.

Each report is complete, so the last one of a reader in a study replaces the earlier ones, and a model's box that is
missing in it was deleted by the reader. The order is that of arrival, for clocks can be wrong; the time in a report
counts among those that are found together alone. Reports of models are not labels. Each report is read once.

Where users log in, a report is a label of the user who sent it through this server, whatever name is in it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import pydicom

from monai_dgm.errors import InputError
from monai_dgm.labelling.archive.archive_changes import Changes
from monai_dgm.labelling.archive.archive_client import StudyUIDs
from monai_dgm.labelling.archive.archive_state import ArchiveState, ReadReport
from monai_dgm.labelling.archive.archive_studies import StudyArchive
from monai_dgm.labelling.archive.instance_index import ArchiveIndex
from monai_dgm.labelling.archive.wanted_images import WantedImages
from monai_dgm.labelling.dicom_objects.opacity_report import OpacityReport
from monai_dgm.labelling.dicom_objects.structured_report_reader import read_opacity_report
from monai_dgm.labelling.labels.image_label import OPACITY, ImageLabel, checked_reader, make_boxes
from monai_dgm.labelling.labels.reader_boxes import with_model_boxes
from monai_dgm.labelling.server.http_errors import ArchiveAwayError, UnknownError
from monai_dgm.labelling.server.request_options import anonymous_reader
from monai_dgm.labelling.server.submissions import Submissions

__all__ = ["SOURCE", "ArchiveReports", "label_of_report"]

logger = logging.getLogger(__name__)

SOURCE = "ohif_report"
AT_ONCE = 200  # number of reports read in one update
_VIEWER = "Cornerstone"  # this software writes reports without a reader's name


@dataclass(frozen=True)
class _Read:
    uids: StudyUIDs
    report: OpacityReport
    reader: str

    @property
    def written(self) -> str:
        return "" if self.report.written is None else self.report.written.isoformat(timespec="microseconds")


class ArchiveReports:
    """Reads new reports.

    Args:
        archive: has the radiographs and the reports.
        submissions: get the labels.
        state: knows which reports were read, and who sent them.
        by_login: whether users log in.
    """

    def __init__(
        self, archive: StudyArchive, submissions: Submissions, state: ArchiveState, by_login: bool = False
    ) -> None:
        self.archive = archive
        self.submissions = submissions
        self.state = state
        self.by_login = by_login
        self.more = False  # whether the last update left reports unread
        self._index = ArchiveIndex(archive.client, WantedImages(("SR",)))
        self._waiting: list[str] = []  # unread reports, also those in studies without radiographs
        self._changes = 0  # of the index, up to which `_waiting` is known

    def update(self, changes: Changes = Changes(everything=True)) -> int:  # noqa: B008, it is not changed
        """Read new reports in studies with radiographs; returns the number of stored labels.

        Args:
            changes: since the last update; the whole archive by default.

        Raises:
            ArchiveAwayError: the archive does not answer; reports that were read before stay read.
        """
        radiographs = self.archive.known_in_study
        if changes.everything:
            self._index.refresh(lambda study: bool(radiographs(study)))
        elif changes.recent:
            self._index.refresh_recent(changes.recent)
        for study in filter(radiographs, changes.studies):
            self._index.refresh_study(study)
        instances, latest = self._index.instances, self._index.changes
        names = dict.fromkeys(self._waiting + self._index.changed_since(self._changes))
        self._waiting, self._changes = self.state.unread(name for name in names if name in instances), latest
        unread = [uid for uid in self._waiting if radiographs(instances[uid].uids.study)]
        together, self.more = self.more, len(unread) > AT_ONCE  # those of one look have no order of arrival
        read = [self._read(instances[uid].uids) for uid in unread[:AT_ONCE]]
        newest: dict[tuple[str, str], _Read] = {}
        for item in filter(None, read):
            key = item.report.study_uid, item.reader
            known = newest.get(key)
            newest[key] = item if known is None or item.written >= known.written else known
        stored = 0
        for item in filter(None, read):
            if newest[(item.report.study_uid, item.reader)] is item:
                stored += self._keep(item, together)
            else:
                self._store_outcome(item, "superseded")
        return stored

    def _read(self, uids: StudyUIDs) -> _Read | None:
        """The report of a reader; None for another one, whose outcome is stored."""
        try:
            header = self.archive.header(uids, with_pixels=False)
            report = read_opacity_report(header)
            reason, reader = _reason_to_skip(report, uids), report.reader or anonymous_reader(None)
            if self.by_login:
                reader = self.state.sender(uids.instance) or ""
                reason = reason or (None if reader else "of nobody who logged in")
            if reason is None:
                report = read_opacity_report(header, self._sources(report))
                return _Read(uids, report, checked_reader(reader))
        except ArchiveAwayError:
            raise
        except UnknownError:  # removed after it was listed
            return None
        except Exception:  # one report must not end the reading of the others
            reason = "not understood"
        self.state.store_report(ReadReport(uids.instance, uids.study, None, "", reason))
        return None

    def _sources(self, report: OpacityReport) -> list[pydicom.Dataset]:
        """Headers of the radiographs to which a report refers."""
        return [self.archive.header(self.archive.study_of(uid)) for uid in report.images if self._has(uid)]

    def _has(self, image_id: str) -> bool:
        try:
            self.archive.study_of(image_id)
        except UnknownError:
            return False
        return True

    def _keep(self, item: _Read, together: bool) -> int:
        latest = self.state.newest(item.report.study_uid, item.reader)
        if together and latest is not None and item.written < latest:
            self._store_outcome(item, "superseded")
            return 0
        labels: list[ImageLabel] = []
        try:
            for image_id in filter(self._has, item.report.images):
                label = self._label(item, image_id)
                labels += [] if label is None else [label]
        except ArchiveAwayError:
            raise
        except Exception:  # one report must not end the reading of the others
            self._store_outcome(item, "not understood")
            return 0
        for label in labels:
            self.submissions.keep(label)
        self._store_outcome(item, "stored" if labels else "no boxes")
        return len(labels)

    def _label(self, item: _Read, image_id: str) -> ImageLabel | None:
        header = self.archive.header(self.archive.study_of(image_id))
        emptied = any(
            label.reader == item.reader and label.source == SOURCE and label.status == "boxes"
            for label in self.submissions.of_image(image_id)
        )
        shown = self.submissions.shown(image_id, item.reader)
        try:
            size = int(header.Rows), int(header.Columns)
        except (AttributeError, TypeError, ValueError):
            raise InputError("image: expected Rows and Columns") from None
        return label_of_report(item.report, image_id, size, item.reader, shown, emptied)

    def _store_outcome(self, item: _Read, outcome: str) -> None:
        study, reader = item.report.study_uid, item.reader
        self.state.store_report(ReadReport(item.uids.instance, study, reader, item.written, outcome))
        if item.report.problems:
            logger.warning("a report: %d regions or images are left out or doubtful", len(item.report.problems))


def _reason_to_skip(report: OpacityReport, uids: StudyUIDs) -> str | None:
    """Why a report is not a reader's label; None if it may be one."""
    if report.is_prediction:
        return "ours"
    if report.study_uid != uids.study:
        return "not understood"
    if report.reader is None and not report.software.startswith(_VIEWER):
        return "of a device"
    return None


def label_of_report(
    report: OpacityReport,
    image_id: str,
    size: tuple[int, int],
    reader: str,
    shown: ImageLabel | None,
    emptied: bool = False,
) -> ImageLabel | None:
    """The label of one radiograph in a report; None if the report says nothing about the radiograph.

    Args:
        report: of a reader.
        image_id: SOP Instance UID of the radiograph.
        size: (rows, cols) of the radiograph.
        reader: name of the reader.
        shown: the model's boxes that the reader saw.
        emptied: an earlier report of the reader had boxes here, so no box now means that they were deleted.

    Raises:
        InputError: more boxes than a label may have.
    """
    found = report.on_image(image_id)
    if not found and not report.confirmed_negative and not emptied:
        return None
    label = ImageLabel(
        image_id=image_id,
        size=size,
        status="boxes" if found else "no_finding",
        boxes=make_boxes(np.round([item.box for item in found], 3), [OPACITY] * len(found)),
        reader=reader,
        source=SOURCE,
    )
    return with_model_boxes(label, shown)
