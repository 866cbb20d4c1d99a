"""From a radiograph as it was read to what networks take: the one preparation of training, inference and servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from monai_dgm.errors import InputError
from monai_dgm.readers.radiograph import Radiograph
from monai_dgm.transforms.geometry import RadiographGeometry, display_levels, prepare_radiograph
from monai_dgm.transforms.placement import Placement

__all__ = [
    "PreparedRadiograph",
    "RadiographSource",
    "clear_border",
    "describe_source",
    "header_remarks",
    "prepare",
    "resample_planes",
    "stack_images",
]

PROJECTION_MODALITIES = ("CR", "DX", "RG", "RF", "DR", "OT")
CHEST_WORDS = ("CHEST", "THORAX", "TORAX", "LUNG", "RIB")


@dataclass(frozen=True, eq=False)
class PreparedRadiograph:
    """One radiograph as model input.

    Attributes:
        image: z, float32 (1, S, S) in [-1, 1].
        geometry: the way back to the original's pixels.
        lung_mask: bool (S, S); None where it is not known.
        remarks: reasons, from the file's header, why this may be no frontal chest radiograph, and the notes.
        notes: those of the remarks that question nothing, see :class:`monai_dgm.readers.radiograph.Radiograph`.
        other_sides: the same radiograph at other sides, by their length in pixels.
    """

    image: NDArray[np.float32]
    geometry: RadiographGeometry
    lung_mask: NDArray[np.bool_] | None = None
    remarks: tuple[str, ...] = ()
    other_sides: Mapping[int, PreparedRadiograph] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def at(self, side: int) -> PreparedRadiograph:
        """The radiograph at one side S.

        Raises:
            InputError: it was not prepared at this side.
        """
        if side == self.geometry.size:
            return self
        if side not in self.other_sides:
            sides = ", ".join(map(str, (self.geometry.size, *self.other_sides)))
            raise InputError(f"expected a radiograph prepared at {side} pixels, it was prepared at {sides}")
        return self.other_sides[side]

    def with_lung_mask(self, lung_mask: NDArray[np.bool_] | None) -> PreparedRadiograph:
        """A copy with another lung mask, bool (S, S)."""
        return replace(self, lung_mask=lung_mask)


@dataclass(frozen=True, eq=False)
class RadiographSource:
    """Properties of a radiograph's file that the files of its results need, in addition to its geometry.

    Attributes:
        image_id: names the folder of the outputs.
        display: grey levels of :func:`monai_dgm.transforms.geometry.display_levels`; (0, 0) where no picture is wanted.
        format: "dicom", "png", "jpeg" or "nifti".
        bits: bits that the file stores for a pixel.
        placement: plane of the radiograph in the patient.
        opacity_boxes: true opacity boxes (N, 4) in the original's pixels; none where they are not known.
    """

    image_id: str
    display: NDArray[np.uint8]
    format: str
    bits: int
    placement: Placement
    opacity_boxes: NDArray[np.float32]


def describe_source(
    radiograph: Radiograph,
    geometry: RadiographGeometry,
    image_id: str = "image",
    opacity_boxes: ArrayLike | None = None,
    display: bool = True,
) -> RadiographSource:
    """The :class:`RadiographSource` of a radiograph as it was read.

    Args:
        radiograph: as it was read.
        geometry: of the same radiograph, prepared; gives the values that the picture shows black and white.
        image_id, opacity_boxes: as in :class:`RadiographSource`.
        display: whether to make its grey levels, which takes as long as the preparation of a large radiograph.
    """
    boxes: Any = [] if opacity_boxes is None else opacity_boxes
    low, high = geometry.low, geometry.high
    return RadiographSource(
        image_id=image_id,
        display=display_levels(radiograph.pixels, low, high) if display else np.zeros((0, 0), np.uint8),
        format=radiograph.format,
        bits=radiograph.bits,
        placement=Placement.of(radiograph),
        opacity_boxes=np.asarray(boxes, dtype=np.float32).reshape(-1, 4),
    )


def prepare(
    radiograph: Radiograph,
    sides: int | Sequence[int],
    fit: str = "pad",
    percentiles: tuple[float, float] | None = (0.5, 99.5),
    lung_mask: ArrayLike | None = None,
) -> PreparedRadiograph:
    """Prepare one radiograph as training does.

    Args:
        radiograph: as it was read.
        sides: side S of the model input in pixels; several where models of different sides look at it, the first is
            that of the result.
        fit, percentiles: as in :func:`monai_dgm.transforms.geometry.prepare_radiograph`.
        lung_mask: (rows, cols), nonzero in the lungs, where known.

    Raises:
        InputError: pixels without contrast, or a mask of another size.
    """
    first, *others = (sides,) if isinstance(sides, int) else sides
    known = (radiograph.pixel_spacing, radiograph.valid, radiograph.orientation, radiograph.aspect)
    made = {
        side: PreparedRadiograph(*prepare_radiograph(radiograph.pixels, side, fit, percentiles, *known))
        for side in dict.fromkeys((first, *others))
    }
    prepared = made.pop(first)
    geometry, mask = prepared.geometry, None
    if lung_mask is not None:
        array = np.asarray(lung_mask) != 0
        if array.shape != (geometry.rows, geometry.cols):
            expected = f"{geometry.rows} x {geometry.cols} pixels"
            raise InputError(f"lung mask: expected the radiograph's {expected}, got an array of shape {array.shape}")
        mask = geometry.mask_to_model(array)
    remarks = header_remarks(radiograph)
    return replace(prepared, lung_mask=mask, remarks=remarks, notes=radiograph.notes, other_sides=made)


def header_remarks(radiograph: Radiograph) -> tuple[str, ...]:
    """Reasons, from a file's header, why it may hold no frontal chest radiograph, and the remarks of the reader."""
    # code strings of at most 16 characters by the standard (PS3.5, 6.2); a file may hold anything
    modality, part, view = (
        " ".join((value or "").upper().split())[:16]
        for value in (radiograph.modality, radiograph.body_part, radiograph.view)
    )
    remarks = []
    if modality and modality not in PROJECTION_MODALITIES:
        remarks.append(f"modality {modality}, expected a projection radiograph")
    if part and not any(word in part for word in CHEST_WORDS):
        remarks.append(f"body part {part}, expected a chest")
    if view and not any(word in view for word in ("PA", "AP")):
        remarks.append(f"view {view}, expected PA or AP")
    return (*remarks, *radiograph.remarks)


def stack_images(batch: Sequence[PreparedRadiograph], device: torch.device | str = "cpu") -> Tensor:
    """The images of at least one radiograph, all of one side, as float32 (B, 1, S, S)."""
    return torch.from_numpy(np.stack([prepared.image for prepared in batch])).to(device)


def resample_planes(planes: Tensor, size: int) -> Tensor:
    """Planes (B, C, H, W) resampled to (B, C, size, size): bilinear, antialiased where they shrink, edges kept."""
    if planes.shape[-2:] == (size, size):
        return planes
    return interpolate(planes, size=(size, size), mode="bilinear", align_corners=False, antialias=True)


def clear_border(planes: Tensor, geometries: Sequence[RadiographGeometry], value: float = 0.0) -> Tensor:
    """Planes with one value in the border that "pad" added: it belongs to no patient.

    Args:
        planes: (B, C, S, S).
        geometries: of the B radiographs, at any side.
        value: to fill with.

    Returns:
        a copy, (B, C, S, S).
    """
    cleared = torch.full_like(planes, value)
    for i, geometry in enumerate(geometries):
        inside = (slice(None), *geometry.at(planes.shape[-1]).content)
        cleared[i][inside] = planes[i][inside]
    return cleared
