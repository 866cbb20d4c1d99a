"""What stands beside a decomposer as it reads a radiograph: lungs, chest check and opacity boxes of other models."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from monai_dgm.engines.decomposition.decompose import PreparedRadiograph, stack_images
from monai_dgm.engines.detection.inference import DecomposedDetector, Found, detect_opacities, load_detector
from monai_dgm.engines.files import describe_model
from monai_dgm.engines.lungs.inference import check_chest
from monai_dgm.engines.lungs.segmentor import LungSegmentor, load_lung_segmentor
from monai_dgm.engines.residues.frozen_decomposer import check_decomposer
from monai_dgm.engines.weights import read_model_settings
from monai_dgm.errors import InputError
from monai_dgm.transforms.lungs import clean_lung_mask

__all__ = ["Companions", "LungReading", "load_companions"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LungReading:
    """What is known of the lungs of one radiograph.

    Attributes:
        prepared: the radiograph with its lung mask, where one is known.
        source: of the mask: "given", "predicted", or None without one.
        looks_like_chest, chest_score: of :func:`monai_dgm.engines.lungs.inference.check_chest`; None where not checked.
        remarks: why this may be no frontal chest radiograph, the header's among them.
    """

    prepared: PreparedRadiograph
    source: str | None = None
    looks_like_chest: bool | None = None
    chest_score: float | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Companions:
    """Models that read a radiograph beside the decomposer; each may be missing.

    Attributes:
        lungs: on ``device``; gives the lung mask of the saliency, and the chest check.
        detector: on ``device``; gives the opacity boxes.
        detector_size: side of the detector's input.
        score_threshold: boxes of lower scores are left out.
        device: where they run.
        files: of their weights, by "lungs" and "detector".
    """

    lungs: LungSegmentor | None = None
    detector: DecomposedDetector | None = None
    detector_size: int | None = None
    score_threshold: float = 0.0
    device: torch.device | str = "cpu"
    files: Mapping[str, str] = field(default_factory=dict)

    def describe(self) -> dict[str, dict[str, str] | None]:
        """Name and SHA-256 of the weights of each; None where it is missing."""
        names = ("lungs", "detector")
        return {name: describe_model(self.files[name]) if name in self.files else None for name in names}

    def read_lungs(self, batch: Sequence[PreparedRadiograph], remarks: Sequence[tuple[str, ...]]) -> list[LungReading]:
        """Find the lungs where no mask was given, and check that these are chests.

        Args:
            batch: radiographs at the decomposer's side.
            remarks: of the header of each.
        """
        given = ["given" if prepared.lung_mask is not None else None for prepared in batch]
        if self.lungs is None or not batch:
            known = zip(batch, given, remarks, strict=True)
            return [LungReading(prepared, source, remarks=own) for prepared, source, own in known]
        readings = []
        images = stack_images(batch, self.device)
        planes, turns = self.lungs.probability(images), self.lungs.turned(images)
        for prepared, source, own, plane, turned in zip(batch, given, remarks, planes, turns, strict=True):
            check = check_chest(plane, prepared.geometry, self.lungs.reference, own, turned)
            mask = prepared.lung_mask
            if mask is None and (found := clean_lung_mask(plane)).any():
                mask, source = found, "predicted"
            prepared = replace(prepared, lung_mask=mask)
            told = tuple(check["remarks"])
            readings.append(LungReading(prepared, source, check["looks_like_chest"], check["chest_score"], told))
        return readings

    def find_opacities(self, batch: Sequence[PreparedRadiograph | None]) -> list[Found | None]:
        """Opacity boxes and scores of each radiograph, prepared at ``detector_size``; None without a detector."""
        if self.detector is None:
            return [None] * len(batch)
        radiographs = [prepared for prepared in batch if prepared is not None]
        return list(detect_opacities(self.detector, radiographs, self.device, self.score_threshold))


def load_companions(
    lungs_path: str | os.PathLike[str] | None,
    detector_path: str | os.PathLike[str] | None,
    decomposer: nn.Module,
    decomposer_path: str | os.PathLike[str],
    device: torch.device | str = "cpu",
) -> Companions:
    """The models that there are; a decomposer works without them, so what is missing is told and left out.

    A detector that was trained on the residues of another decomposer is left out, too, and said to be.

    Args:
        lungs_path: weights of a lung segmentor, None for none.
        detector_path: weights of an opacity detector, None for none.
        decomposer, decomposer_path: whose residues the detector looks at.
        device: where they run.

    Raises:
        InputError: weights that cannot be used.
    """
    files: dict[str, str] = {}
    lungs = None
    if _there(lungs_path, "lung segmentor: the whole image counts as lungs, and nothing checks for a chest"):
        lungs, files["lungs"] = load_lung_segmentor(str(lungs_path), device), str(lungs_path)
    if not _there(detector_path, "opacity detector: boxes are those of the saliency"):
        return Companions(lungs, device=device, files=files)
    settings = read_model_settings(str(detector_path))
    try:
        check_decomposer(settings, decomposer_path)
    except InputError as error:
        logger.warning("no opacity boxes, the detector needs the decomposer that it was trained with: %s", error)
        return Companions(lungs, device=device, files=files)
    size = int(read_model_settings(decomposer_path)["image_size"])
    detector = load_detector(str(detector_path), decomposer, size, device)
    files["detector"] = str(detector_path)
    threshold = float(settings.get("score_threshold") or 0.0)
    return Companions(lungs, detector, int(settings["image_size"]), threshold, device, files)


def _there(path: str | os.PathLike[str] | None, without: str) -> bool:
    if path is not None and Path(path).is_file():
        return True
    logger.info("no %s", without)
    return False
