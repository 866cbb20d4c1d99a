"""The results of the models for one radiograph of a folder or an archive: computed once, and kept for a while."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from monai_dgm.engines.radiograph_result import RadiographResult
from monai_dgm.engines.residues.channel_model import ChannelModel
from monai_dgm.engines.residues.decomposed_radiograph import Decomposition
from monai_dgm.engines.residues.uncertainty import ResidueUncertainty
from monai_dgm.errors import InputError
from monai_dgm.labelling.server.background import ReadersFirst
from monai_dgm.labelling.server.http_errors import UnavailableError
from monai_dgm.labelling.server.models import LabellingModels, Loaded
from monai_dgm.labelling.server.recent import Recent
from monai_dgm.labelling.server.studies import Studies, StudyImage, read_checked
from monai_dgm.readers.radiograph import Radiograph
from monai_dgm.transforms.placement import Placement
from monai_dgm.transforms.preparation import PreparedRadiograph, RadiographSource, describe_source, prepare
from monai_dgm.transforms.saliency import ThresholdRule

__all__ = ["AnalysisResult", "Detections", "RadiographAnalysis", "View"]

FloatArray = NDArray[np.float32]
Versions = tuple[str, str | None]  # of decomposer and lung segmentor
KEPT_RADIOGRAPHS = 2  # 60 megapixels take 240 MB
KEPT_RESULTS = 32  # about 1.5 MB each


@dataclass(frozen=True, eq=False)
class View:
    """A radiograph as read.

    Attributes:
        image: of the folder.
        radiograph: pixels and what is known of them.
        placement: of its plane in the patient.
    """

    image: StudyImage
    radiograph: Radiograph
    placement: Placement


@dataclass(frozen=True, eq=False)
class AnalysisResult:
    """The results of decomposer and lung segmentor for one radiograph, without its pixels.

    Attributes:
        result: of the pipeline.
        decomposition: of ``result``, with the saliency of Otsu's threshold.
        source: of the radiograph's file, for pictures.
        versions: of the decomposer and of the lung segmentor; None for the latter where no lung segmentor is trained.
    """

    result: RadiographResult
    decomposition: Decomposition
    source: RadiographSource
    versions: Versions

    @property
    def placement(self) -> Placement:
        """Plane of the original in the patient."""
        return self.source.placement

    @property
    def probability(self) -> float | None:
        """Abnormality probability; None from a system that gives none."""
        return None if math.isnan(self.decomposition.probability) else self.decomposition.probability

    @property
    def uncertainty(self) -> ResidueUncertainty | None:
        """Uncertainty of the residue; None where it was not asked for."""
        return self.result.uncertainty

    @property
    def lung_mask(self) -> NDArray[np.bool_] | None:
        """Lung mask, bool (S, S); None where no lungs were found."""
        return self.result.prepared.lung_mask

    @property
    def remarks(self) -> tuple[str, ...]:
        """Reasons why this may be no frontal chest radiograph."""
        return self.result.chest_check.doubts


@dataclass(frozen=True, eq=False)
class Detections:
    """Opacity boxes of one radiograph.

    Attributes:
        boxes: (N, 4) in the original's pixels, best first.
        scores: (N,) in [0, 1].
        source: "detector", or "saliency" where no detector is trained.
        version: of the model that they come from.
        placement: of the original.
        score_threshold: chosen in training; 0 where none was.
    """

    boxes: FloatArray
    scores: FloatArray
    source: str
    version: str
    placement: Placement
    score_threshold: float


class RadiographAnalysis:
    """Runs the models on radiographs by id. One computation at a time, those of readers first; none waits for another's
    file, and what is known is given at once. Safe with several threads.

    Args:
        studies: a folder's, or an archive's.
        models: what is trained.
    """

    def __init__(self, studies: Studies, models: LabellingModels) -> None:
        self.studies = studies
        self.models = models
        self._lock = ReadersFirst()  # of the models
        # taken within the models' lock, never around it: a label need not wait for them
        self._reading = threading.Lock()
        self._views: Recent[View] = Recent(KEPT_RADIOGRAPHS)
        self._analysis_results: Recent[AnalysisResult] = Recent(KEPT_RESULTS)
        self._detections: Recent[Detections] = Recent(4 * KEPT_RESULTS)
        self._placements: Recent[Placement] = Recent(1024)

    def beside(self, studies: Studies) -> RadiographAnalysis:
        """The same models for other radiographs; both still run one computation at a time."""
        other = RadiographAnalysis(studies, self.models)
        other._lock = self._lock
        return other

    def forget(self) -> None:
        """Let go of the pixels that are kept."""
        self._views.clear()

    def view(self, image_id: str) -> View:
        """A radiograph.

        Raises:
            InputError: as :meth:`Studies.read`.
        """
        image = self.studies.find(image_id)
        return self._views.get((image.image_id, image.stamp), lambda: self._read(image))

    def placement(self, image_id: str) -> Placement:
        """Size and plane of a radiograph; errors as :meth:`view`."""
        image = self.studies.find(image_id)
        return self._placements.get((image.image_id, image.stamp), lambda: self.view(image_id).placement)

    def examine(self, image_id: str, uncertainty: bool = False) -> AnalysisResult:
        """Decompose a radiograph and segment its lungs.

        Args:
            image_id: of the radiograph.
            uncertainty: measure the uncertainty of the residue, too: the decomposer runs once more.

        Raises:
            UnavailableError: no trained decomposer.
            InputError: as :meth:`view`, or weights that cannot be used.
        """
        if not uncertainty:
            return self._result(image_id, "", lambda versions: self._examine(image_id, versions))
        self.examine(image_id)  # a reader may come between the two passes
        return self._result(image_id, "uncertainty", lambda _: self._with_uncertainty(self.examine(image_id)))

    def decomposition(self, image_id: str, threshold: ThresholdRule | float = "otsu") -> Decomposition:
        """A decomposition in model coordinates with the saliency of ``threshold``; errors as :meth:`examine`."""
        decomposition = self.examine(image_id).decomposition
        return decomposition if threshold == "otsu" else decomposition.with_threshold(threshold)

    def detections(self, image_id: str) -> Detections:
        """Opacity boxes of the detector, those of the saliency where none is trained; errors as :meth:`examine`."""
        image = self.studies.find(image_id)
        known = self._detections.known((image.image_id, image.stamp, self.models.versions()["detector"]))
        if known is not None:
            return known
        with self._models_for(image_id):
            detector = self.models.detector()
            if detector is None:
                return self.saliency_detections(image_id)
            key = (image.image_id, image.stamp, detector.version)
            return self._detections.get(key, lambda: self._detect(image_id, detector))

    def saliency_detections(self, image_id: str) -> Detections:
        """Boxes of the saliency; errors as :meth:`examine`."""
        analysis_result = self.examine(image_id)
        boxes, scores = analysis_result.decomposition.original_boxes()
        return Detections(boxes, scores, "saliency", analysis_result.versions[0], analysis_result.placement, 0.0)

    def class_probability(self, image_id: str) -> tuple[str, float, str] | None:
        """(task, probability of its label 1, version) of the classifier; None without one."""
        with self._models_for(image_id):
            loaded = self.models.classifier()
            if loaded is None:
                return None
            (probability,) = self.models.pipeline.classify(*self._channels(image_id, loaded.model))
        return str(loaded.settings.get("task", "opacity")), probability, loaded.version

    def features(self, image_id: str) -> tuple[FloatArray, str]:
        """Features of the residue encoder, averaged over the radiograph, float32 (D,), and the decomposer's version.

        Raises:
            UnavailableError: no trained decomposer, or one without a residue encoder.
            InputError: as :meth:`examine`.
        """
        analysis_result = self.examine(image_id)
        if analysis_result.result.features is None:
            raise UnavailableError("features: expected a decomposer with a residue encoder, got one without")
        return analysis_result.result.features, analysis_result.versions[0]

    @contextmanager
    def _models_for(self, image_id: str) -> Iterator[None]:
        """The models, once the radiograph was read: no other waits for a file."""
        self.placement(image_id)
        with self._lock:
            yield

    def _read(self, image: StudyImage) -> View:
        """Fetch a radiograph beside others, and decode it alone."""
        studies = self.studies

        def decode() -> View:
            return View(image, *read_checked(path, studies.max_bytes, studies.max_pixels))

        with studies.file(image.image_id) as path, self._reading:
            return self._views.get((image.image_id, image.stamp), decode)

    def _result(self, image_id: str, kind: str, make: Callable[[Versions], AnalysisResult]) -> AnalysisResult:
        """A result that is known, or that ``make`` computes by the models of the versions that it is given."""
        image, served = self.studies.find(image_id), self.models.versions()
        key = (image.image_id, image.stamp, kind)
        known = self._analysis_results.known((*key, served["decomposer"], served["lungs"]))
        if known is not None:
            return known
        with self._models_for(image_id):
            decomposer, lungs = self.models.decomposer(), self.models.lungs()
            versions = (decomposer.version, None if lungs is None else lungs.version)
            return self._analysis_results.get((*key, *versions), lambda: make(versions))

    def _channels(self, image_id: str, model: ChannelModel) -> tuple[list[PreparedRadiograph], list[FloatArray | None]]:
        """One radiograph as a detector or classifier takes it, with its residue where the model has it as a channel."""
        residue = self.examine(image_id).decomposition.residue if model.needs_residue else None
        return [prepare(self.view(image_id).radiograph, model.size)], [residue]

    def _detect(self, image_id: str, loaded: Loaded[ChannelModel]) -> Detections:
        (found,) = self.models.pipeline.detect(*self._channels(image_id, loaded.model))
        threshold = float(loaded.settings.get("score_threshold") or 0.0)
        return Detections(found.boxes, found.scores, "detector", loaded.version, self.placement(image_id), threshold)

    def _with_uncertainty(self, analysis_result: AnalysisResult) -> AnalysisResult:
        (measured,) = self.models.pipeline.with_uncertainty([analysis_result.result])
        assert isinstance(measured, RadiographResult)
        return replace(analysis_result, result=measured)

    def _examine(self, image_id: str, versions: Versions) -> AnalysisResult:
        radiograph, pipeline = self.view(image_id).radiograph, self.models.pipeline
        (result,) = pipeline.decompose([prepare(radiograph, pipeline.sides[0])])
        if isinstance(result, InputError):
            raise result
        assert result.decomposition is not None  # the pipeline has a decomposer
        source = describe_source(radiograph, result.prepared.geometry)
        return AnalysisResult(result, result.decomposition, source, versions)
