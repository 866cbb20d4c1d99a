"""Readers' reports from the archive as labels: OHIF's *Create Report*, and any other TID 1500 viewer's.

Every save is a complete report, so a reader's newest one in a study counts; a model's box that is not in it was
deleted. Reports of models, ours and others', are no labels. Each report is read once.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pydicom

from monai_dgm.annotation.labels import OPACITY, ImageLabel, LabelledBox, as_array, checked_reader
from monai_dgm.dicom.opacity_report import OpacityReport, ReportedOpacity, boxes_of, match_to_predictions
from monai_dgm.dicom.structured_report_reader import read_opacity_report
from monai_dgm.errors import InputError
from monai_dgm.labelling.archive.client import StudyUIDs
from monai_dgm.labelling.archive.index import ArchiveIndex
from monai_dgm.labelling.archive.state import ArchiveState, ReadReport
from monai_dgm.labelling.archive.studies import StudyArchive
from monai_dgm.labelling.refusals import ArchiveAwayError, UnknownError
from monai_dgm.labelling.requests import anonymous_reader
from monai_dgm.labelling.submissions import Submissions

__all__ = ["SOURCE", "ArchiveReports", "label_of_report"]

logger = logging.getLogger(__name__)

SOURCE = "ohif_report"
AT_ONCE = 200  # reports read in one go
_VIEWER = "Cornerstone"  # writes reports that name nobody


@dataclass(frozen=True)
class _Read:
    uids: StudyUIDs
    report: OpacityReport
    reader: str

    @property
    def written(self) -> str:
        return "" if self.report.written is None else self.report.written.isoformat(timespec="microseconds")


class ArchiveReports:
    """Reads reports as they come.

    Args:
        archive: of the radiographs and the reports.
        submissions: where labels go.
        state: which reports have been read.
    """

    def __init__(self, archive: StudyArchive, submissions: Submissions, state: ArchiveState) -> None:
        self.archive = archive
        self.submissions = submissions
        self.state = state
        self._index = ArchiveIndex(archive.client, ["SR"])

    def update(self) -> int:
        """Read new reports of the studies that have radiographs; returns how many labels were stored.

        Raises:
            ArchiveAwayError: the archive does not answer; what was read by then stays read.
        """
        studies = {item.uids.study for item in self.archive.instances()}
        self._index.refresh(studies.__contains__)
        instances = self._index.instances
        read = [self._read(instances[uid].uids) for uid in self.state.unread(instances)[:AT_ONCE]]
        newest: dict[tuple[str, str], _Read] = {}
        for item in filter(None, read):
            key = item.report.study_uid, item.reader
            known = newest.get(key)
            newest[key] = item if known is None or item.written >= known.written else known
        stored = 0
        for item in filter(None, read):
            if newest[(item.report.study_uid, item.reader)] is item:
                stored += self._keep(item)
            else:
                self._note(item, "superseded")
        return stored

    def _read(self, uids: StudyUIDs) -> _Read | None:
        """A reader's report; None for all others, which are noted."""
        try:
            header = self.archive.header(uids, with_pixels=False)
            report = read_opacity_report(header)
            reason = _no_label(report, uids)
            if reason is None:
                report = read_opacity_report(header, self._sources(report))
                return _Read(uids, report, checked_reader(report.reader or anonymous_reader(None)))
        except ArchiveAwayError:
            raise
        except UnknownError:  # removed since it was listed
            return None
        except Exception:  # one report must not end the reading of the others
            reason = "not understood"
        self.state.note_report(ReadReport(uids.instance, uids.study, None, "", reason))
        return None

    def _sources(self, report: OpacityReport) -> list[pydicom.Dataset]:
        """Headers of the radiographs that a report refers to."""
        return [self.archive.header(self.archive.study_of(uid)) for uid in report.images if self._has(uid)]

    def _has(self, image_id: str) -> bool:
        try:
            self.archive.study_of(image_id)
        except UnknownError:
            return False
        return True

    def _keep(self, item: _Read) -> int:
        latest = self.state.newest(item.report.study_uid, item.reader)
        if latest is not None and item.written < latest:
            self._note(item, "superseded")
            return 0
        labels: list[ImageLabel] = []
        try:
            for image_id in filter(self._has, item.report.images):
                label = self._label(item, image_id)
                labels += [] if label is None else [label]
        except ArchiveAwayError:
            raise
        except Exception:  # as above
            self._note(item, "not understood")
            return 0
        for label in labels:
            self.submissions.keep(label)
        self._note(item, "stored" if labels else "no boxes")
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

    def _note(self, item: _Read, outcome: str) -> None:
        study, reader = item.report.study_uid, item.reader
        self.state.note_report(ReadReport(item.uids.instance, study, reader, item.written, outcome))
        if item.report.problems:
            logger.warning("a report: %d regions or images are left out or doubtful", len(item.report.problems))


def _no_label(report: OpacityReport, uids: StudyUIDs) -> str | None:
    """Why a report is no reader's label, None where it may be one."""
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
    """What a report says of one radiograph; None where it says nothing of it.

    A box that overlaps one of the model's that the reader was shown keeps that one's score.

    Args:
        report: a reader's.
        image_id: SOP Instance UID of the radiograph.
        size: (rows, cols) of it.
        reader: who answers for it.
        shown: the model's boxes that the reader started from.
        emptied: an earlier report of the reader had boxes here: none now means that they were deleted.

    Raises:
        InputError: more boxes than a label takes.
    """
    found = report.on_image(image_id)
    if not found and not report.confirmed_negative and not emptied:
        return None
    known = shown if shown is not None and shown.size == size else None
    return ImageLabel(
        image_id=image_id,
        size=size,
        status="boxes" if found else "no_finding",
        boxes=_scored(found, known),
        reader=reader,
        source=SOURCE,
        model_boxes=None if known is None else known.boxes,
        model_version=None if known is None else known.model_version,
    )


def _scored(found: Sequence[ReportedOpacity], shown: ImageLabel | None) -> tuple[LabelledBox, ...]:
    scores: list[float | None] = [None] * len(found)
    if shown is not None:
        changes = match_to_predictions(boxes_of(found), as_array(shown.boxes))
        for model, ours in (*changes.kept, *changes.moved):
            scores[ours] = shown.boxes[model].score
        counts = Counter({name: len(getattr(changes, name)) for name in ("kept", "moved", "added", "deleted")})
        logger.info("a report: %s", ", ".join(f"{count} boxes {name}" for name, count in counts.items()))
    return tuple(
        LabelledBox(tuple(round(edge, 3) for edge in item.box), OPACITY, score)  # type: ignore[arg-type]
        for item, score in zip(found, scores, strict=True)
    )
