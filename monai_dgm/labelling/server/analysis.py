"""What the models say about one radiograph of a folder: computed once, kept while it is asked for again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from monai_dgm.engines.classification.inference import class_probabilities
from monai_dgm.engines.decomposition.auxiliary_models import AuxiliaryModels
from monai_dgm.engines.decomposition.decompose import Decompose, Decomposition, PreparedRadiograph, to_original
from monai_dgm.engines.decomposition.outputs import Source
from monai_dgm.engines.detection.inference import DecomposedDetector, detect_opacities
from monai_dgm.engines.file_run import prepare_alone, question_radiograph
from monai_dgm.engines.overlay import display_levels
from monai_dgm.labelling.server.http_errors import UnavailableError
from monai_dgm.labelling.server.models import LabellingModels, Loaded
from monai_dgm.labelling.server.studies import Studies, StudyImage
from monai_dgm.networks.residue_system import split_prediction
from monai_dgm.readers.radiograph import Radiograph
from monai_dgm.transforms.placement import Placement
from monai_dgm.transforms.saliency import ThresholdRule

__all__ = ["AnalysisResult", "Detections", "RadiographAnalysis", "View"]

T = TypeVar("T")
FloatArray = NDArray[np.float32]
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
    """A radiograph that has been through decomposer and lung segmentor, without its pixels.

    Attributes:
        placement: of the original.
        prepared: model input, with the lung mask where lungs were found.
        prediction: of the decomposer, (3, S, S).
        probability: abnormality probability.
        source: for pictures.
        versions: of the decomposer and of the lung segmentor; None for the latter where there is none.
        looks_like_chest, chest_score: of the chest check; None where it was not made.
        remarks: why this may be no frontal chest radiograph.
    """

    placement: Placement
    prepared: PreparedRadiograph
    prediction: Tensor
    probability: float
    source: Source
    versions: tuple[str, str | None]
    looks_like_chest: bool | None
    chest_score: float | None
    remarks: tuple[str, ...]


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


class _Recent(Generic[T]):
    """The last few values by key."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._values: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()
        with self._lock:
            self._values[key] = value
            while len(self._values) > self.size:
                self._values.popitem(last=False)
        return value

    def clear(self) -> None:
        with self._lock:
            self._values.clear()


class RadiographAnalysis:
    """Runs the models on radiographs by id. One computation at a time; safe with several threads.

    Args:
        studies: a folder's, or an archive's.
        models: what is trained.
    """

    def __init__(self, studies: Studies, models: LabellingModels) -> None:
        self.studies = studies
        self.models = models
        self._lock = threading.RLock()  # of the models
        self._reading = (
            threading.Lock()
        )  # taken within the models' lock, never around it: a label need not wait for them
        self._views: _Recent[View] = _Recent(KEPT_RADIOGRAPHS)
        self._analysis_results: _Recent[AnalysisResult] = _Recent(KEPT_RESULTS)
        self._detections: _Recent[Detections] = _Recent(4 * KEPT_RESULTS)
        self._placements: _Recent[Placement] = _Recent(1024)

    def forget(self) -> None:
        """Let go of the pixels that are kept."""
        self._views.clear()

    def view(self, image_id: str) -> View:
        """A radiograph.

        Raises:
            InputError: as :meth:`Studies.read`.
        """
        image = self.studies.find(image_id)

        with self._reading:
            return self._views.get((image.image_id, image.stamp), lambda: View(image, *self.studies.read(image_id)))

    def placement(self, image_id: str) -> Placement:
        """Size and place of a radiograph; errors as :meth:`view`."""
        image = self.studies.find(image_id)
        return self._placements.get((image.image_id, image.stamp), lambda: self.view(image_id).placement)

    def examine(self, image_id: str) -> AnalysisResult:
        """What the decomposer and the lung segmentor say.

        Raises:
            UnavailableError: no trained decomposer.
            InputError: as :meth:`view`, or weights that cannot be used.
        """
        with self._lock:
            decompose, lungs = self.models.decompose(), self.models.lungs()
            image = self.studies.find(image_id)
            key = (image.image_id, image.stamp, decompose.version, lungs and lungs.version)
            return self._analysis_results.get(key, lambda: self._examine(image_id, decompose))

    def decomposition(self, image_id: str, threshold: ThresholdRule | float = "otsu") -> Decomposition:
        """A decomposition in model coordinates with the saliency of ``threshold``; errors as :meth:`examine`."""
        analysis_result, decompose = self.examine(image_id), self.models.decompose().model
        chosen = Decompose(decompose.network, decompose.size, threshold=threshold, device=decompose.device)
        return chosen.assemble(analysis_result.prepared, analysis_result.prediction)

    def detections(self, image_id: str) -> Detections:
        """Opacity boxes of the detector, those of the saliency where none is trained; errors as :meth:`examine`."""
        with self._lock:
            detector = self.models.detector()
            image = self.studies.find(image_id)
            if detector is None:
                return self.saliency_detections(image_id)
            key = (image.image_id, image.stamp, detector.version)
            return self._detections.get(key, lambda: self._detect(image_id, detector))

    def saliency_detections(self, image_id: str) -> Detections:
        """Boxes of the saliency; errors as :meth:`examine`."""
        analysis_result, original = self.examine(image_id), to_original(self.decomposition(image_id))
        version = analysis_result.versions[0]
        return Detections(original.boxes, original.box_scores, "saliency", version, analysis_result.placement, 0.0)

    def class_probability(self, image_id: str) -> tuple[str, float, str] | None:
        """(task, probability of its label 1, version) of the classifier; None without one."""
        with self._lock:
            loaded = self.models.classifier()
            if loaded is None:
                return None
            prepared = self._prepared(image_id, int(loaded.settings["image_size"]))
            (probability,) = class_probabilities(loaded.model, [prepared], self.models.device)
        return str(loaded.settings.get("task", "opacity")), probability, loaded.version

    def features(self, image_id: str) -> tuple[FloatArray, str]:
        """E_F features of a radiograph, averaged over it, float32 (D,), and the version of the encoder."""
        analysis_result = self.examine(image_id)
        with self._lock, torch.inference_mode():
            network = self.models.decompose().model.network
            encoder = getattr(network, "residue_encoder", None)
            if encoder is None:
                raise UnavailableError("features: expected a decomposer with E_F, got an exported one")
            image = torch.from_numpy(analysis_result.prepared.image)[None].to(self.models.device)
            code = encoder(image)[-1].float().mean(dim=(2, 3))[0]
        return code.cpu().numpy(), analysis_result.versions[0]

    def _prepared(self, image_id: str, size: int) -> PreparedRadiograph:
        return prepare_alone(self.view(image_id).radiograph, size)

    def _detect(self, image_id: str, loaded: Loaded[DecomposedDetector]) -> Detections:
        prepared = self._prepared(image_id, int(loaded.settings["image_size"]))
        ((boxes, scores),) = detect_opacities(loaded.model, [prepared], self.models.device)
        threshold = float(loaded.settings.get("score_threshold") or 0.0)
        return Detections(boxes, scores, "detector", loaded.version, self.placement(image_id), threshold)

    def _examine(self, image_id: str, loaded: Loaded[Decompose]) -> AnalysisResult:
        view, decompose = self.view(image_id), loaded.model
        radiograph = view.radiograph
        lungs = self.models.lungs()
        auxiliary_models = AuxiliaryModels(lungs=None if lungs is None else lungs.model, device=self.models.device)
        alone = prepare_alone(radiograph, decompose.size)
        (reading,) = auxiliary_models.read_lungs([alone], [question_radiograph(radiograph)])
        prediction = decompose.predict([reading.prepared])[0]
        geometry = reading.prepared.geometry
        source = Source(
            image_id="image",
            display=display_levels(radiograph.pixels, geometry.low, geometry.high),
            format=radiograph.format,
            bits=radiograph.bits,
            remarks=reading.remarks,
        )
        return AnalysisResult(
            placement=view.placement,
            prepared=reading.prepared,
            prediction=prediction,
            probability=float(split_prediction(prediction[None])["abnormality_probability"][0]),
            source=source,
            versions=(loaded.version, None if lungs is None else lungs.version),
            looks_like_chest=reading.looks_like_chest,
            chest_score=reading.chest_score,
            remarks=reading.remarks,
        )
