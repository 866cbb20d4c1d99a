"""Results of an image as DICOM objects (SR, SEG, SC), and their way into an archive by STOW-RS.

The objects and their UIDs are those of the label app: whatever sends them, and however often, each is stored once.
"""

from __future__ import annotations

import io
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import pydicom

from monai_dgm.archive.image_files import ImageFiles
from monai_dgm.archive.settings import ArchiveSettings
from monai_dgm.engines.radiograph_result import RadiographResult
from monai_dgm.errors import InputError
from monai_dgm.labelling.dicom_objects.derived import encode_dicom
from monai_dgm.readers.dicom.read import read_header
from monai_dgm.readers.radiograph import Radiograph
from monai_dgm.transforms.preparation import PreparedRadiograph, RadiographSource, describe_source

__all__ = ["ObjectMaker", "ObjectSender", "SourceImage"]

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds


@dataclass(frozen=True, eq=False)
class SourceImage:
    """What DICOM objects need of a DICOM file, beside the prepared image.

    Attributes:
        source: of the file, with the grey levels for pictures.
        header: without its pixels.
    """

    source: RadiographSource
    header: pydicom.Dataset


class ObjectMaker:
    """Makes the objects of an image; it pickles.

    Args:
        settings: of the run.
    """

    def __init__(self, settings: ArchiveSettings) -> None:
        self.settings = settings

    def read(self, path: os.PathLike[str], radiograph: Radiograph, prepared: PreparedRadiograph) -> SourceImage | None:
        """What is needed of a file; None where it is no DICOM file: there is no study that objects could join.

        Raises:
            InputError: a damaged header.
        """
        if radiograph.format != "dicom":
            return None
        return SourceImage(describe_source(radiograph, prepared.geometry), read_header(path))

    def make(self, source: SourceImage, result: RadiographResult) -> list[bytes] | None:
        """Report of the boxes, normal image, overlay and saliency mask as DICOM files.

        Returns:
            None for what does not look like a frontal chest: it gets no objects.

        Raises:
            InputError: a header without UIDs or size.
        """
        if result.chest_check.doubts:
            return None
        from monai_dgm.labelling.archive.dicom_results import ResultObjects, results_version
        from monai_dgm.labelling.server.analysis import AnalysisResult, Detections
        from monai_dgm.labelling.server.analysis_results import shown_boxes

        assert result.decomposition is not None  # a run has a decomposer
        versions = self.settings.model_versions()
        version = versions["detector"] or versions["decomposer"]
        assert version is not None
        placement = source.source.placement
        if result.opacities is None:
            boxes, scores = result.decomposition.original_boxes()
            found = Detections(boxes, scores, "saliency", version, placement, 0.0)
        else:
            boxes, scores = result.opacities.boxes, result.opacities.scores
            found = Detections(boxes, scores, "detector", version, placement, self.settings.score_threshold)
        analysed = (str(versions["decomposer"]), versions["lungs"])
        analysis = AnalysisResult(result, result.decomposition, source.source, analysed)
        shown = shown_boxes(found, found.score_threshold)
        objects = ResultObjects(analysis, source.header, shown, version, results_version(versions))
        return [encode_dicom(item) for item in objects.all()]


class ObjectSender:
    """Stores objects in an archive, and waits while it is away or busy; it pickles.

    Args:
        files: of the archive.
        patience: seconds after which it gives up on an image.
    """

    def __init__(self, files: ImageFiles, patience: float = 600.0) -> None:
        self.files = files
        self.patience = patience

    def send(self, objects: Sequence[bytes]) -> int:
        """Store the objects of one image that the archive does not have; returns the number of all of them.

        Raises:
            InputError: the archive was away for too long, or refuses them.
        """
        from monai_dgm.labelling.archive.sent_results import store_missing
        from monai_dgm.labelling.server.http_errors import ArchiveAwayError

        datasets = [pydicom.dcmread(io.BytesIO(item)) for item in objects]
        deadline, wait = time.monotonic() + self.patience, FIRST_WAIT
        while True:
            try:
                store_missing(self.files.client(), datasets, str(datasets[0].StudyInstanceUID))
                return len(datasets)
            except ArchiveAwayError as error:
                if time.monotonic() + wait > deadline:
                    raise InputError(f"objects: {error}") from None
            time.sleep(wait * random.uniform(0.5, 1.0))
            wait = min(2 * wait, LONGEST_WAIT)
