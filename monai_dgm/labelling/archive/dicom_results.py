"""Results of a radiograph as DICOM objects in its study: boxes (SR), normal image, overlay (SC), saliency (SEG).

The UIDs of series and instances are computed from the image, the models and the kind of object. So even if the server
is killed at any moment, no object is stored twice, and missing ones are sent again.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.uid import UID

from monai_dgm.engines.overlay import draw_overlay
from monai_dgm.engines.residues.decomposed_radiograph import OriginalDecomposition, to_original
from monai_dgm.labelling.dicom_objects.derived import Algorithm
from monai_dgm.labelling.dicom_objects.secondary_capture import NORMAL, RESIDUE, write_secondary_capture
from monai_dgm.labelling.dicom_objects.segmentation import segmentation_obstacle, write_saliency_segmentation
from monai_dgm.labelling.dicom_objects.structured_report import write_opacity_report
from monai_dgm.labelling.labels.image_label import LabelledBox, as_array
from monai_dgm.labelling.server.analysis import AnalysisResult
from monai_dgm.labelling.server.pictures import normal_picture

__all__ = ["KINDS", "ResultObjects", "derived_uid", "results_version", "series_uid"]

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "results.monai-dgm")
KINDS = ("boxes", "normal", "residue", "saliency")
_MODELS = ("decomposer", "detector", "lungs")  # the models that the objects depend on


def derived_uid(*parts: str) -> str:
    """A UID below 2.25 (PS3.5 B.2) that is computed from ``parts`` alone."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, '/'.join(parts)).int}"


def series_uid(image_id: str, key: str, kind: str) -> str:
    """Series Instance UID of the results of one kind (:data:`KINDS`)."""
    return derived_uid(image_id, key, kind, "series")


def instance_uid(image_id: str, key: str, kind: str) -> str:
    """SOP Instance UID of the results of one kind (:data:`KINDS`)."""
    return derived_uid(image_id, key, kind, "instance")


def results_version(versions: Mapping[str, str | None]) -> str:
    """Version of all models that the objects of an image depend on, from theirs by name."""
    return "+".join(versions.get(name) or f"no {name}" for name in _MODELS)


class ResultObjects:
    """Makes the objects of one radiograph.

    Args:
        result: of decomposer and lung segmentor.
        header: the radiograph's DICOM header.
        boxes: those that readers see.
        detector_version: of the model that they come from.
        key: :meth:`ArchiveState.key` of the image and the version of all models.
        replaces: keys of results that these replace.

    Raises:
        InputError: a version that no DICOM element can hold.
    """

    def __init__(
        self,
        result: AnalysisResult,
        header: pydicom.Dataset,
        boxes: tuple[LabelledBox, ...],
        detector_version: str,
        key: str,
        replaces: Sequence[str] = (),
    ) -> None:
        image_id = str(header.SOPInstanceUID)
        self.header = header
        self.boxes = boxes
        self.key = (image_id, key)
        self.replaces = [
            (series_uid(image_id, name, "boxes"), instance_uid(image_id, name, "boxes")) for name in replaces
        ]
        self.analysis_result = result
        self.decomposition = self.analysis_result.decomposition
        self.original = to_original(self.decomposition)
        self.detector = Algorithm("monai-dgm opacity boxes", detector_version)
        self.decomposer = Algorithm("monai-dgm decomposition", self.analysis_result.versions[0])

    def all(self) -> list[pydicom.Dataset]:
        """All objects; without a segmentation if DICOM allows none for this image, or nothing is salient.

        Raises:
            InputError: a header without UIDs or size.
        """
        writers = {"boxes": self.report, "normal": self.normal, "residue": self.residue}
        if segmentation_obstacle(self.header) is None and self.original.mask.any():
            writers["saliency"] = self.saliency
        return [self._named(kind, write) for kind, write in writers.items()]

    def report(self, series: str) -> pydicom.Dataset:
        """The boxes as a structured report."""
        tracking = [derived_uid(*self.key, "box", str(i)) for i in range(max(1, len(self.boxes)))]
        scores = [np.nan if box.score is None else box.score for box in self.boxes]
        return write_opacity_report(
            self.header,
            as_array(self.boxes),
            scores,
            algorithm=self.detector,
            tracking_uids=tracking,
            series_uid=series,
            replaces=self.replaces,
        )

    def normal(self, series: str) -> pydicom.Dataset:
        """The normal image as a secondary capture."""
        picture = normal_picture(self.original, self.decomposition.geometry)
        return write_secondary_capture(self.header, picture, NORMAL, algorithm=self.decomposer, series_uid=series)

    def residue(self, series: str) -> pydicom.Dataset:
        """The residue overlay as a secondary capture."""
        picture = overlay_picture(self.analysis_result.source.display, self.original, self.boxes)
        return write_secondary_capture(self.header, picture, RESIDUE, algorithm=self.decomposer, series_uid=series)

    def saliency(self, series: str) -> pydicom.Dataset:
        """The saliency mask as a segmentation."""
        mask = self.original.mask
        return write_saliency_segmentation(self.header, mask, algorithm=self.decomposer, series_uid=series)

    def _named(self, kind: str, write: Callable[[str], pydicom.Dataset]) -> pydicom.Dataset:
        dataset = write(series_uid(*self.key, kind))
        uid = UID(instance_uid(*self.key, kind))
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
        return dataset


def overlay_picture(
    display: NDArray[np.uint8], original: OriginalDecomposition, boxes: tuple[LabelledBox, ...]
) -> NDArray[np.uint8]:
    """Residue heat map and boxes over the radiograph, uint8 RGB (rows, cols, 3), without the strip of text below."""
    scores = np.array([box.score or 0.0 for box in boxes], dtype=np.float32)
    picture = draw_overlay(display, original.heat, as_array(boxes), scores)
    return np.asarray(picture.crop((0, 0, display.shape[1], display.shape[0])))
