"""Sends the results of new radiographs to the archive, as DICOM objects in their studies.

Objects of an archive are never changed: those of earlier models stay, the new report names the ones that it replaces,
and :meth:`ArchiveResults.superseded` tells a viewer which series are not of the present models.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import pydicom

from monai_dgm.errors import InputError, in_one_line
from monai_dgm.labelling.archive.archive_client import ArchiveClient, value_of
from monai_dgm.labelling.archive.archive_state import FAILED, ArchiveState, ReadReport
from monai_dgm.labelling.archive.archive_studies import StudyArchive
from monai_dgm.labelling.archive.dicom_results import KINDS, ResultObjects, results_version, series_uid
from monai_dgm.labelling.archive.instance_index import ArchivedInstance
from monai_dgm.labelling.server.analysis import RadiographAnalysis
from monai_dgm.labelling.server.analysis_results import shown_boxes
from monai_dgm.labelling.server.http_errors import UnavailableError
from monai_dgm.labelling.server.submissions import MODEL_READER, Submissions

__all__ = ["ArchiveResults", "store_missing"]

logger = logging.getLogger(__name__)


def store_missing(client: ArchiveClient, objects: Sequence[pydicom.Dataset], study: str) -> int:
    """Store those objects whose series are not in their study yet; returns their number.

    Raises:
        ArchiveAwayError: the archive does not answer.
        InputError: it refuses one of them.
    """
    present = {str(value_of(item, "0020000E")) for item in client.series(study=study)}
    missing = [item for item in objects if item.SeriesInstanceUID not in present]
    if missing:
        client.store(missing, study)
    return len(missing)


class ArchiveResults:
    """Sends results of new radiographs to the archive.

    Args:
        analysis: of the archive's radiographs.
        archive: the same archive.
        submissions: have the labels, and the boxes that readers see.
        state: knows what was sent.
    """

    def __init__(
        self, analysis: RadiographAnalysis, archive: StudyArchive, submissions: Submissions, state: ArchiveState
    ) -> None:
        self.analysis = analysis
        self.archive = archive
        self.submissions = submissions
        self.state = state
        self._waiting: list[str] = []  # without results, labelled or not
        self._known: tuple[object, ...] = ()  # of which models, and after which demand to try again
        self._changes = 0  # of the archive, up to which `_waiting` is known

    def version(self) -> str:
        """Version of all models that the objects depend on."""
        return results_version(self.analysis.models.versions())

    def pending(self) -> list[str]:
        """Radiographs without a label and without results of the present models, newest study first.

        Labelled ones are left out: after a training, readers get no new results for images they have read.

        Raises:
            ArchiveAwayError: the archive does not answer.
        """
        if not self.analysis.models.has("decomposer"):
            return []
        instances = self.archive.instances()
        if not self.archive.asks_for_all:
            return []
        self._update_waiting(instances)
        labelled = self.submissions.labelled()
        found = [item for name in self._waiting if name not in labelled and (item := instances.get(name)) is not None]
        found.sort(key=lambda item: item.uids.instance)
        found.sort(key=lambda item: item.study_time, reverse=True)
        return [item.uids.instance for item in found]

    def _update_waiting(self, instances: Mapping[str, ArchivedInstance]) -> None:
        """Look at the images that waited and those that have changed; at all of them for other models."""
        known, changes = (self.version(), self.state.revision), self.archive.changes
        names = self._waiting + self.archive.changed_since(self._changes)
        if known != self._known:
            names = list(instances)
        self._waiting = self.state.pending((name for name in dict.fromkeys(names) if name in instances), known[0])
        self._known, self._changes = known, changes

    def send_results(self, image_id: str) -> int:
        """Compute an image's results and send those that the archive does not have; returns the number of objects.

        Nothing is sent for images that are not frontal chest radiographs by their header or the chest check.

        Raises:
            UnavailableError: no decomposer, or the archive does not answer.
            InputError: an image that cannot be read, or objects that the archive refuses.
        """
        version, uids = self.version(), self.archive.study_of(image_id)
        key, earlier = self.state.key(image_id, version), self.state.sent([image_id])[image_id]
        result = self.analysis.examine(image_id)
        if result.remarks:
            self.state.store_result(image_id, version, "left out")
            return 0
        found = self.analysis.detections(image_id)
        boxes = shown_boxes(found, found.score_threshold)
        self.submissions.remember(boxes, image_id, found.placement, MODEL_READER, found.version)
        header = self.archive.header(uids)
        replaces = [name for name in earlier if name != key]
        objects = ResultObjects(result, header, boxes, found.version, key, replaces).all()
        number = store_missing(self.archive.client, objects, uids.study)
        for item in objects:
            if item.Modality == "SR":  # so that it is not fetched to find its author
                self.state.store_report(ReadReport(str(item.SOPInstanceUID), uids.study, None, "", "ours"))
        self.state.store_result(image_id, version, "sent")
        return number

    def delete(self, images: Sequence[str]) -> dict[str, int]:
        """Delete the objects that were sent for images, and do not send those of the same models again.

        Returns:
            "deleted" and "left" series in the archive; it may refuse to delete.

        Raises:
            ArchiveAwayError: the archive does not answer.
        """
        counts = {"deleted": 0, "left": 0}
        for image_id, keys in self.state.sent(images).items():
            study = self.archive.study_of(image_id).study
            present = {str(value_of(item, "0020000E")) for item in self.archive.client.series(study=study)}
            ours = {series_uid(image_id, key, kind) for key in keys for kind in KINDS}
            for series in sorted(ours & present):
                counts["deleted" if self.archive.client.delete_series(study, series) else "left"] += 1
            self.state.mark_deleted(image_id)
            self.state.store_result(image_id, self.version(), "deleted")
        return counts

    def try_to_send(self, image_id: str) -> None:
        """As :meth:`send_results`; an error of this image is stored, and the image is not tried again.

        Raises:
            UnavailableError: no decomposer, or the archive does not answer.
        """
        try:
            self.send_results(image_id)
        except UnavailableError:
            raise
        except InputError as error:
            self.state.store_result(image_id, self.version(), FAILED, in_one_line(error))
        except Exception as error:  # of any kind; its message may contain patient data
            logger.error("results of an image: %s", type(error).__name__)
            self.state.store_result(image_id, self.version(), FAILED, type(error).__name__)

    def failures(self) -> dict[str, str]:
        """Reason why an image has no results, by its id."""
        return {item.image_id: item.reason for item in self.state.failures()}

    def superseded(self, study: str) -> set[str]:
        """Series Instance UIDs of the results in a study that are not of the present models, of each image that has
        results of the present ones."""
        version, found = self.version(), set[str]()
        images = [item.uids.instance for item in self.archive.known_in_study(study)]
        for image_id, keys in self.state.sent(images).items():
            current = self.state.key(image_id, version)
            if current in keys:
                others = [key for key in keys if key != current]
                found |= {series_uid(image_id, key, kind) for key in others for kind in KINDS}
        return found
