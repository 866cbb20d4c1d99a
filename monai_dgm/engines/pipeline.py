"""The one way from a prepared radiograph to results: lungs, decomposition, opacity boxes and class probability.

The inference bundles, the label server, active learning and the benchmarks run this. It knows no particular network:
any residue system, that is (B, 1, S, S) to (B, 3, S, S) of normal image, residue and abnormality probability, will do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from monai.engines import PrepareBatch
from numpy.typing import NDArray
from torch import Tensor, nn

from monai_dgm.engines.lungs.image_check import ChestCheck, check_chest
from monai_dgm.engines.lungs.segmentor import LungSegmentor
from monai_dgm.engines.radiograph_result import OpacityBoxes, RadiographResult
from monai_dgm.engines.residues.channel_model import ChannelModel
from monai_dgm.engines.residues.decomposed_radiograph import decompose_prediction
from monai_dgm.engines.residues.features import predict_with_features
from monai_dgm.engines.residues.uncertainty import measure_uncertainty
from monai_dgm.errors import InputError, reason_of
from monai_dgm.networks.residue_system import checked_prediction
from monai_dgm.transforms.lungs import clean_lung_mask
from monai_dgm.transforms.preparation import PreparedRadiograph, stack_images
from monai_dgm.transforms.saliency import ThresholdRule

__all__ = ["PreparePipelineInput", "RadiographPipeline"]

FloatArray = NDArray[np.float32]
SIDE_MULTIPLE = 32  # the networks halve the side five times


class RadiographPipeline(nn.Module):
    """Runs the models that there are on prepared radiographs; each may be missing, and may be set or replaced later.

    >>> pipeline = RadiographPipeline(decomposer, size=128, detector=detector)
    >>> (result,) = pipeline([prepare(read_radiograph("chest.dcm"), pipeline.sides)])
    >>> result.decomposition.probability, result.opacities.boxes

    The residue system runs once per radiograph, at its own side; detector and classifier are given its residue. In
    their training the residues are those of images prepared at the side of detector or classifier. At another side than
    the decomposer's the two differ: for the weights of 2026-11-23 (128 and 224 pixels) by 0.0012 on average where the
    mean |a| is 0.030, on 57 radiographs. The detector's AP does not suffer: 0.0614 with the residues of the pipeline
    and 0.0611 with those of its training, on 400 test images.

    Args:
        decomposer: a residue system, (B, 1, S, S) in [-1, 1] to (B, 3, S, S): normal image, residue, abnormality
            probability (NaN where it gives none).
        size: side S of its input in pixels, a multiple of 32; has to be given with a decomposer.
        lungs: gives lung masks and the chest check.
        detector: its network's method ``detect`` gives boxes and scores of (B, C, S, S).
        classifier: its network gives logits (B, 1).
        threshold: of the saliency: "otsu", "li", "quantile" or a fixed |a|.
        device: where the networks run; they are moved there and put into evaluation mode.
        uncertainty: measure that of each residue, too, see :meth:`with_uncertainty`; no other result changes.
        members: other residue systems of side S, for the uncertainty.

    Attributes:
        model_files: files of the weights by "decomposer", "lungs", "detector" and "classifier", where they are known.

    Raises:
        InputError: a size or threshold that does not exist, or a model that needs residues without a decomposer.
    """

    def __init__(
        self,
        decomposer: nn.Module | None = None,
        size: int | None = None,
        lungs: LungSegmentor | None = None,
        detector: ChannelModel | None = None,
        classifier: ChannelModel | None = None,
        threshold: ThresholdRule | float = "otsu",
        device: torch.device | str = "cpu",
        uncertainty: bool = False,
        members: Sequence[nn.Module] = (),
    ) -> None:
        super().__init__()
        if isinstance(threshold, str) and threshold not in get_args(ThresholdRule):
            raise InputError(f"threshold: expected 'otsu', 'li', 'quantile' or a number, got {threshold!r}")
        for model in (detector, classifier):
            if model is not None and model.needs_residue and decomposer is None:
                raise InputError("channels: expected a decomposer for the channel residue, got none")
        self.device = torch.device(device)
        self.decomposer: nn.Module | None = None
        self.size: int | None = None
        if decomposer is not None:
            self.use_decomposer(decomposer, size)
        self.lungs = lungs
        self.detector = detector
        self.classifier = classifier
        self.threshold: ThresholdRule | float = threshold
        self.uncertainty = uncertainty
        self.members = nn.ModuleList(members).to(self.device).eval()
        self.model_files: dict[str, str] = {}
        for network in (model.network for model in (lungs, detector, classifier) if model is not None):
            if isinstance(network, nn.Module):
                network.to(self.device).eval()

    def use_decomposer(self, decomposer: nn.Module, size: int | None) -> None:
        """Take another residue system; arguments and errors as those of the class."""
        if size is None or size < SIDE_MULTIPLE or size % SIDE_MULTIPLE != 0:
            raise InputError(f"size: expected a multiple of {SIDE_MULTIPLE}, got {size}")
        self.decomposer, self.size = decomposer.to(self.device).eval(), size

    @property
    def passes(self) -> int:
        """Residues of one radiograph that an uncertainty is computed from."""
        return 2 + 2 * len(self.members)

    @property
    def sides(self) -> tuple[int, ...]:
        """Sides in pixels at which radiographs have to be prepared; the first is that of lungs and decomposition.

        Raises:
            InputError: no model at all.
        """
        models = (self.lungs, self.detector, self.classifier)
        sides = [] if self.size is None else [self.size]
        # the lung segmentor resamples, so it takes the side of the decomposer where there is one
        sides += [model.size for model in models if model is not None and (model is not self.lungs or not sides)]
        if not sides:
            raise InputError("expected at least one model in the pipeline, got none")
        return tuple(dict.fromkeys(sides))

    def forward(self, batch: Sequence[PreparedRadiograph]) -> list[RadiographResult | InputError]:
        """Run all models.

        Args:
            batch: radiographs prepared at :attr:`sides`.

        Returns:
            for each radiograph its result, or, where the residue system yields NaN or infinity for it, the error.

        Raises:
            InputError: an output of another shape, or NaN or infinity from detector or classifier.
        """
        results: list[RadiographResult | InputError] = self.decompose(batch)
        good = [result for result in results if isinstance(result, RadiographResult)]
        inputs, residues = [result.prepared for result in good], [result.residue for result in good]
        boxes = self.detect(inputs, residues) if self.detector is not None else [None] * len(good)
        classes = self.classify(inputs, residues) if self.classifier is not None else [None] * len(good)
        complete: Iterator[RadiographResult] = (
            replace(result, opacities=found, class_probability=probability)
            for result, found, probability in zip(good, boxes, classes, strict=True)
        )
        return [next(complete) if isinstance(result, RadiographResult) else result for result in results]

    def decompose(self, batch: Sequence[PreparedRadiograph]) -> list[RadiographResult | InputError]:
        """Run lung segmentor and residue system only; arguments, returns and errors as :meth:`forward`."""
        results = self.find_lungs(batch)
        if self.decomposer is None or not results:
            return list(results)
        predictions, features = self.predict([result.prepared for result in results])
        complete: list[RadiographResult | InputError] = []
        for i, (result, prediction) in enumerate(zip(results, predictions, strict=True)):
            try:
                decomposition = decompose_prediction(result.prepared, prediction, self.threshold)
            except Exception as error:  # whatever one image does, the others go on
                complete.append(InputError(reason_of(error, "image")))
                continue
            own = None if features is None else features[i]
            complete.append(replace(result, decomposition=decomposition, features=own))
        return self.with_uncertainty(complete) if self.uncertainty else complete

    def with_uncertainty(self, results: Sequence[RadiographResult | InputError]) -> list[RadiographResult | InputError]:
        """Results of :meth:`decompose` with the uncertainty of their residues; errors stay where they are.

        The residue system runs on the mirror images, and each of the pipeline's members on images and mirror images.

        Raises:
            InputError: no residue system, or NaN, infinity or another shape from one of them.
        """
        whole = [result for result in results if isinstance(result, RadiographResult)]
        parts = [result.decomposition for result in whole if result.decomposition is not None]
        if not parts:
            return list(results)
        decomposer, size = self._residue_system()
        images = stack_images([result.prepared.at(size) for result in whole], self.device)
        residues, geometries = [part.residue for part in parts], [part.geometry for part in parts]
        found = iter(measure_uncertainty(images, residues, geometries, decomposer, list(self.members)))
        return [replace(one, uncertainty=next(found)) if isinstance(one, RadiographResult) else one for one in results]

    def find_lungs(self, batch: Sequence[PreparedRadiograph]) -> list[RadiographResult]:
        """Segment the lungs, and check that these are chests. A lung mask that is given is kept."""
        if self.lungs is None or not batch:
            known = [None if prepared.lung_mask is None else "given" for prepared in batch]
            checks = [ChestCheck(remarks=prepared.remarks, notes=prepared.notes) for prepared in batch]
            return [RadiographResult(*one) for one in zip(batch, [None] * len(batch), known, checks, strict=True)]
        results = []
        images = stack_images(batch, self.device)
        planes, turns = self.lungs.examine(images)
        for prepared, plane, turned in zip(batch, planes, turns, strict=True):
            header = prepared.remarks, turned, prepared.notes
            check = check_chest(plane, prepared.geometry, self.lungs.reference, *header)
            source = None if prepared.lung_mask is None else "given"
            if source is None and (found := clean_lung_mask(plane)).any():
                prepared, source = prepared.with_lung_mask(found), "predicted"
            results.append(RadiographResult(prepared, plane, source, check))
        return results

    def predict(self, batch: Sequence[PreparedRadiograph]) -> tuple[Tensor, FloatArray | None]:
        """Run the residue system on at least one radiograph.

        Returns:
            its output, float32 (B, 3, S, S) on the CPU; and the features of its residue encoder, averaged over the
            image, float32 (B, D), None from a system without a ``residue_encoder``.

        Raises:
            InputError: no residue system, or its output has another shape.
        """
        decomposer, size = self._residue_system()
        images = stack_images([prepared.at(size) for prepared in batch], self.device)
        with torch.inference_mode():
            prediction, features = predict_with_features(decomposer, images)
        prediction = checked_prediction(prediction, images, "network")
        return prediction.float().cpu(), None if features is None else features.cpu().numpy()

    def _residue_system(self) -> tuple[nn.Module, int]:
        if self.decomposer is None or self.size is None:
            raise InputError("expected a decomposer in the pipeline, got none")
        return self.decomposer, self.size

    def detect(self, batch: Sequence[PreparedRadiograph], residues: Sequence[FloatArray | None]) -> list[OpacityBoxes]:
        """Run the detector.

        Args:
            batch: radiographs prepared at the detector's side.
            residues: the residue of each, as in :meth:`ChannelModel.stack`.

        Returns:
            for each radiograph all its boxes, whatever their score.

        Raises:
            InputError: no detector, or NaN or infinity in its maps.
        """
        detector = self.required("detector")
        if not batch:
            return []
        try:
            found = detector.network.detect(detector.stack(batch, residues, self.device))
        except FloatingPointError as error:
            raise InputError(f"{error}: are the weights sound?") from error
        results = []
        for (boxes, scores), prepared in zip(found, batch, strict=True):
            original, inside = prepared.at(detector.size).geometry.clip_to_original(boxes.cpu().numpy())
            results.append(OpacityBoxes(original[inside], scores.cpu().numpy()[inside]))
        return results

    def classify(self, batch: Sequence[PreparedRadiograph], residues: Sequence[FloatArray | None]) -> list[float]:
        """Probability of the classifier's label 1 for each radiograph; arguments as in :meth:`detect`.

        Raises:
            InputError: no classifier, or NaN or infinity from it.
        """
        classifier = self.required("classifier")
        if not batch:
            return []
        with torch.inference_mode():
            logits = classifier.network(classifier.stack(batch, residues, self.device))
        if not torch.isfinite(logits).all():
            raise InputError("expected finite values from the classifier, got NaN or infinity: are the weights sound?")
        probabilities: list[float] = torch.sigmoid(logits.double())[:, 0].cpu().tolist()
        return probabilities

    def required(self, name: Literal["detector", "classifier"]) -> ChannelModel:
        """The detector or the classifier.

        Raises:
            InputError: there is none.
        """
        model: ChannelModel | None = getattr(self, name)
        if model is None:
            raise InputError(f"expected a {name} in the pipeline, got none")
        return model


class PreparePipelineInput(PrepareBatch):
    """Gives MONAI's evaluator of a :class:`RadiographPipeline` its input: the list "prepared" of a batch.

    Batches are those of :func:`monai_dgm.engines.file_run.collate_files`. ``engine.state.output["pred"]`` is then what
    :meth:`RadiographPipeline.forward` returns.
    """

    def __call__(
        self,
        batchdata: dict[str, Any],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[list[PreparedRadiograph], None]:
        """Prepared radiographs, and no labels; the pipeline itself moves them to its device."""
        return batchdata["prepared"], None
