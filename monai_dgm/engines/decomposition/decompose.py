"""One radiograph taken apart: from pixels to normal image, residue and saliency, and back to the original's pixels.

Pure computation: nothing here reads or writes a file, so that servers and DICOM writers can stand on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from monai_dgm.errors import InputError
from monai_dgm.networks.residue_system import split_prediction
from monai_dgm.transforms.geometry import DARKEST, RadiographGeometry, prepare_radiograph
from monai_dgm.transforms.saliency import Saliency, ThresholdRule, compute_saliency, saliency_to_boxes
from monai_dgm.utils.orientation import UPRIGHT

__all__ = [
    "Decompose",
    "Decomposition",
    "OriginalDecomposition",
    "PreparedRadiograph",
    "prepare",
    "stack_images",
    "to_original",
]

SIDE_MULTIPLE = 32  # the networks halve the side five times


@dataclass(frozen=True)
class PreparedRadiograph:
    """What the network and the saliency need of one radiograph.

    Attributes:
        image: z, float32 (1, S, S) in [-1, 1].
        geometry: the way back to the original's pixels.
        lung_mask: bool (S, S), where one is known.
    """

    image: NDArray[np.float32]
    geometry: RadiographGeometry
    lung_mask: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Decomposition:
    """One decomposed radiograph in model coordinates. All planes are (S, S), S the side of the model input.

    The border that fit "pad" added belongs to no patient: there image and normal are -1 and the residue is 0.

    Attributes:
        image: z, float32 in [-1, 1].
        normal: y', float32 in [-1, 1].
        residue: a, float32 in [-1, 1].
        probability: abnormality probability in [0, 1].
        saliency: of the residue.
        boxes: opacity boxes of the saliency, float32 (N, 4), strongest first.
        box_scores: float32 (N,) in [0, 1].
        geometry: the way back to the original's pixels.
    """

    image: NDArray[np.float32]
    normal: NDArray[np.float32]
    residue: NDArray[np.float32]
    probability: float
    saliency: Saliency
    boxes: NDArray[np.float32]
    box_scores: NDArray[np.float32]
    geometry: RadiographGeometry

    @property
    def mean_abs_residue(self) -> float:
        """Mean |a| over the radiograph, without the border that "pad" added."""
        return float(np.abs(self.residue[content(self.geometry)]).mean())

    @property
    def max_abs_residue(self) -> float:
        """Largest |a|."""
        return float(np.abs(self.residue).max())

    @property
    def saliency_area_fraction(self) -> float:
        """Share of the radiograph that is salient, in [0, 1]."""
        return float(self.saliency.mask[content(self.geometry)].mean())


@dataclass(frozen=True)
class OriginalDecomposition:
    """A decomposition over the original's pixels. All planes are (rows, cols) of the file as it was read.

    Attributes:
        normal: y' in the original's own intensity scale, bright = dense, float32.
        residue: a in units of the model's [-1, 1] scale, float32. One unit is (high - low) / 2 of the original's.
        heat: saliency heat, float32 in [0, 1], 0 outside ``mask``.
        mask: saliency mask, bool.
        boxes: opacity boxes, float32 (N, 4) within the image, strongest first.
        box_scores: float32 (N,) in [0, 1].
        lung_box: float32 (4,); the whole image where no lung box is known.
    """

    normal: NDArray[np.float32]
    residue: NDArray[np.float32]
    heat: NDArray[np.float32]
    mask: NDArray[np.bool_]
    boxes: NDArray[np.float32]
    box_scores: NDArray[np.float32]
    lung_box: NDArray[np.float32]


def prepare(
    pixels: ArrayLike,
    size: int,
    fit: str = "pad",
    percentiles: tuple[float, float] | None = (0.5, 99.5),
    pixel_spacing: tuple[float, float] | None = None,
    valid: NDArray[np.bool_] | None = None,
    lung_mask: ArrayLike | None = None,
    orientation: int = UPRIGHT,
) -> PreparedRadiograph:
    """Prepare one radiograph as training does.

    Args:
        pixels, size, fit, percentiles, pixel_spacing, valid, orientation: as in
            :func:`monai_dgm.transforms.geometry.prepare_radiograph`.
        lung_mask: (rows, cols), nonzero in the lungs, where known.

    Raises:
        InputError: pixels that are no radiograph, or a mask of another size.
    """
    image, geometry = prepare_radiograph(pixels, size, fit, percentiles, pixel_spacing, valid, orientation)
    if lung_mask is None:
        return PreparedRadiograph(image, geometry)
    mask = np.asarray(lung_mask) != 0
    if mask.shape != (geometry.rows, geometry.cols):
        expected = f"{geometry.rows} x {geometry.cols} pixels"
        raise InputError(f"lung mask: expected the radiograph's {expected}, got an array of shape {mask.shape}")
    return PreparedRadiograph(image, geometry, geometry.mask_to_model(mask))


def stack_images(batch: Sequence[PreparedRadiograph], device: torch.device | str = "cpu") -> Tensor:
    """The images of radiographs of one side as float32 (B, 1, S, S); there is at least one."""
    return torch.from_numpy(np.stack([prepared.image for prepared in batch])).to(device)


class Decompose:
    """Takes radiographs apart with a trained network.

    >>> decompose = Decompose(network, size=224)
    >>> radiograph = read_radiograph("chest.dcm")
    >>> known = {"valid": radiograph.valid, "orientation": radiograph.orientation}
    >>> decomposition = decompose(radiograph.pixels, radiograph.pixel_spacing, **known)
    >>> to_original(decomposition).boxes

    Args:
        network: :class:`monai_dgm.networks.decomposer.Decomposer` or its export: (B, 1, S, S) -> (B, 3, S, S). It is
            moved to ``device`` and put into evaluation mode.
        size: side S of the model input in pixels, the one the network was trained with; a multiple of 32.
        fit: "pad" (aspect kept) or "stretch", as in training.
        percentiles: intensity percentiles mapped to -1 and 1, as in training; None for the full range.
        threshold: of the saliency: "otsu", "li", "quantile" or a fixed |a|.
        device: where the network runs.

    Raises:
        InputError: a size, fit or threshold that there is not.
    """

    def __init__(
        self,
        network: nn.Module,
        size: int,
        fit: str = "pad",
        percentiles: Sequence[float] | None = (0.5, 99.5),
        threshold: ThresholdRule | float = "otsu",
        device: torch.device | str = "cpu",
    ) -> None:
        if size < SIDE_MULTIPLE or size % SIDE_MULTIPLE != 0:
            raise InputError(f"size: expected a multiple of {SIDE_MULTIPLE}, got {size}")
        if isinstance(threshold, str) and threshold not in get_args(ThresholdRule):
            raise InputError(f"threshold: expected 'otsu', 'li', 'quantile' or a number, got {threshold!r}")
        RadiographGeometry(size, size, size, fit)  # raises where the fit is unknown
        self.size = size
        self.fit = fit
        self.percentiles = None if percentiles is None else (float(percentiles[0]), float(percentiles[1]))
        self.threshold: ThresholdRule | float = threshold
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()

    def __call__(
        self,
        pixels: ArrayLike,
        pixel_spacing: tuple[float, float] | None = None,
        valid: NDArray[np.bool_] | None = None,
        lung_mask: ArrayLike | None = None,
        orientation: int = UPRIGHT,
    ) -> Decomposition:
        """Take one radiograph apart.

        Args:
            pixels: (rows, cols), bright = dense.
            pixel_spacing: (row, column) in mm, carried into the geometry.
            valid: (rows, cols), False on DICOM padding.
            lung_mask: (rows, cols), nonzero in the lungs: its bounding box is the lung box of the saliency.
            orientation: how ``pixels`` are turned upright, 1 to 8.

        Raises:
            InputError: pixels that are no radiograph, a mask of another size, or a network that yields NaN.
        """
        fitted = (self.size, self.fit, self.percentiles)
        prepared = prepare(pixels, *fitted, pixel_spacing, valid, lung_mask, orientation)
        return self.assemble(prepared, self.predict([prepared])[0])

    def predict(self, batch: Sequence[PreparedRadiograph]) -> Tensor:
        """Run the network: float32 (B, 3, S, S) on the CPU, channels normal, residue, abnormality probability.

        Raises:
            InputError: the network's output has another shape.
        """
        images = stack_images(batch, self.device)
        with torch.inference_mode():
            prediction = self.network(images)
        expected = (len(batch), 3, self.size, self.size)
        if not isinstance(prediction, Tensor) or tuple(prediction.shape) != expected:
            came = tuple(prediction.shape) if isinstance(prediction, Tensor) else type(prediction).__name__
            raise InputError(f"network: expected the output of a Decomposer, a tensor of shape {expected}, got {came}")
        return prediction.float().cpu()

    def assemble(self, prepared: PreparedRadiograph, prediction: Tensor) -> Decomposition:
        """Make a decomposition of one prediction (3, S, S).

        Raises:
            InputError: NaN or infinity in the prediction.
        """
        if not torch.isfinite(prediction).all():
            raise InputError("expected finite values from the network, got NaN or infinity: are the weights sound?")
        parts = split_prediction(prediction[None])
        inside = content(prepared.geometry)
        normal = np.full((self.size, self.size), DARKEST, dtype=np.float32)
        residue = np.zeros((self.size, self.size), dtype=np.float32)
        normal[inside] = parts["normal"][0, 0].numpy()[inside]
        residue[inside] = parts["residue"][0, 0].numpy()[inside]
        saliency = compute_saliency(residue, threshold=self.threshold, lung_mask=prepared.lung_mask)
        boxes, box_scores = saliency_to_boxes(saliency.mask, saliency.heat)
        probability = float(parts["abnormality_probability"][0])
        return Decomposition(
            prepared.image[0], normal, residue, probability, saliency, boxes, box_scores, prepared.geometry
        )


def to_original(decomposition: Decomposition) -> OriginalDecomposition:
    """Map a decomposition back to the pixels and the intensity scale of the file it came from."""
    geometry, saliency = decomposition.geometry, decomposition.saliency
    unit = (geometry.map_to_original(decomposition.normal) + np.float32(1)) * np.float32(0.5)
    normal = unit * np.float32(geometry.high - geometry.low) + np.float32(geometry.low)
    mask = geometry.map_to_original(saliency.mask) >= 0.5
    heat = np.where(mask, geometry.map_to_original(saliency.heat), np.float32(0))
    lung_box = geometry.boxes_to_original(saliency.lung_box[None])
    boxes = _clip(geometry.boxes_to_original(decomposition.boxes), geometry)
    kept = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])  # smoothing may put one into the border
    return OriginalDecomposition(
        normal=normal,
        residue=geometry.map_to_original(decomposition.residue),
        heat=heat,
        mask=mask,
        boxes=boxes[kept],
        box_scores=decomposition.box_scores[kept],
        lung_box=_clip(lung_box, geometry)[0],
    )


def content(geometry: RadiographGeometry) -> tuple[slice, slice]:
    """Where the radiograph lies within the square, as an index of (S, S) planes."""
    (top, left), (rows, cols) = geometry.offset, geometry.content_shape
    return slice(top, top + rows), slice(left, left + cols)


def _clip(boxes: NDArray[np.float32], geometry: RadiographGeometry) -> NDArray[np.float32]:
    edges = np.array([geometry.cols, geometry.rows] * 2, dtype=np.float32)
    return np.clip(boxes, np.float32(0), edges)
