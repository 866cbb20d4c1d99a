"""Residue burden: how much of the lungs is salient, and how much residue lies in them ("severity").

The paper says that the residue map shows "the severity levels of the abnormalities" (section 6) and that normal images
serve "longitudinal disease study" (abstract), without a formula. Two readings are given here, each over both lungs, a
lung, and a third of a lung's height: the area of the saliency mask, and the residue summed over the pixels. Both are
measures of what the network takes for disease; they are not validated against any clinical score.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monai_dgm.errors import InputError
from monai_dgm.metrics.localisation import residue_score, smoothed_score
from monai_dgm.transforms.geometry import RadiographGeometry
from monai_dgm.transforms.lungs import split_lungs

Region = Literal["lung_mask", "whole_image"]
Unit = Literal["mm2", "pixels"]
ZONES = ("upper", "middle", "lower")

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class RegionBurden:
    """Residue within one region.

    Attributes:
        area: of the region, in the burden's unit.
        salient_area: part of it that is salient.
        integrated: sum of |a| times pixel area, in the unit of the areas; at least 0.
        integrated_signed: sum of a times pixel area: added minus removed intensity.
    """

    area: float
    salient_area: float
    integrated: float
    integrated_signed: float

    @property
    def salient_share(self) -> float:
        """Salient share of the region, in [0, 1]; NaN for an empty region."""
        return self.salient_area / self.area if self.area else math.nan

    @property
    def mean_abs_residue(self) -> float:
        """Mean |a| over the region's pixels; NaN for an empty region."""
        return self.integrated / self.area if self.area else math.nan

    def as_dict(self) -> dict[str, float | None]:
        """Attributes and properties as JSON can hold them: None for NaN."""
        shares = {"salient_share": self.salient_share, "mean_abs_residue": self.mean_abs_residue}
        return asdict(self) | {name: None if math.isnan(value) else value for name, value in shares.items()}


@dataclass(frozen=True)
class ResidueBurden:
    """Residue burden of one radiograph.

    Attributes:
        region: what ``total`` is over: the "lung_mask", or the "whole_image" where no lungs are known.
        unit: of areas: "mm2", or "pixels" of the residue where no spacing is known.
        pixel_spacing: (row, column) distance of the residue's pixel centres in mm, or None.
        total: over both lungs.
        lungs: by "right" and "left", the patient's; empty without lungs. Their areas and integrals add up to ``total``.
        zones: by "right_upper", "right_middle", "right_lower" and the same of the left: thirds of the height of that
            lung's mask, not lobes. They add up to ``lungs``.
    """

    region: Region
    unit: Unit
    pixel_spacing: tuple[float, float] | None
    total: RegionBurden
    lungs: Mapping[str, RegionBurden]
    zones: Mapping[str, RegionBurden]

    def as_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {
            "region": self.region,
            "unit": self.unit,
            "pixel_spacing": None if self.pixel_spacing is None else list(self.pixel_spacing),
            "total": self.total.as_dict(),
            "lungs": {name: part.as_dict() for name, part in self.lungs.items()},
            "zones": {name: part.as_dict() for name, part in self.zones.items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ResidueBurden:
        """The burden that :meth:`as_dict` wrote."""
        spacing = values["pixel_spacing"]
        return cls(
            region=values["region"],
            unit=values["unit"],
            pixel_spacing=None if spacing is None else (float(spacing[0]), float(spacing[1])),
            total=_read(values["total"]),
            lungs={name: _read(part) for name, part in values["lungs"].items()},
            zones={name: _read(part) for name, part in values["zones"].items()},
        )


def _read(values: Mapping[str, float]) -> RegionBurden:
    return RegionBurden(*(float(values[name]) for name in RegionBurden.__dataclass_fields__))


def residue_burden(
    residue: ArrayLike,
    saliency: ArrayLike,
    lung_mask: ArrayLike | None = None,
    pixel_spacing: tuple[float, float] | None = None,
) -> ResidueBurden:
    """Measure the burden of one radiograph.

    Args:
        residue: (rows, cols) residue map a, in model coordinates or original pixels.
        saliency: (rows, cols), nonzero where salient (``Saliency.mask``); what lies outside the lungs does not count.
            Where radiographs are to be compared, take one fixed threshold: an adaptive one follows the residue's
            strength, so that an area hardly shrinks while the disease fades.
        lung_mask: (rows, cols), nonzero in the lungs. None or empty (the segmentation failed): the whole image counts,
            ``region`` says so, and there are no lungs and zones.
        pixel_spacing: (row, column) distance of THESE pixels' centres in mm (:func:`model_spacing`), where known.

    Raises:
        ValueError: shapes differ, the residue is not finite, or the spacing is not positive.
    """
    array, salient = np.asarray(residue, dtype=np.float64), np.asarray(saliency) != 0
    lungs = np.zeros(array.shape, dtype=bool) if lung_mask is None else np.asarray(lung_mask) != 0
    for name, shape in (("saliency", salient.shape), ("lung_mask", lungs.shape)):
        if array.ndim != 2 or shape != array.shape:
            raise ValueError(f"{name}: expected the residue's shape (rows, cols) {array.shape}, got {shape}")
    if not np.isfinite(array).all():
        raise ValueError("residue: expected finite values, got NaN or infinity")
    if pixel_spacing is not None and not all(math.isfinite(step) and step > 0 for step in pixel_spacing):
        raise ValueError(f"pixel_spacing: expected two positive distances in mm, got {pixel_spacing}")
    pixel_area = 1.0 if pixel_spacing is None else pixel_spacing[0] * pixel_spacing[1]

    def within(region: Mask) -> RegionBurden:
        inside = array[region]
        sums = (inside.size, (salient & region).sum(), np.abs(inside).sum(), inside.sum())
        return RegionBurden(*(float(value * pixel_area) for value in sums))

    found = bool(lungs.any())
    sides = dict(zip(("right", "left"), split_lungs(lungs), strict=True)) if found else {}
    return ResidueBurden(
        region="lung_mask" if found else "whole_image",
        unit="pixels" if pixel_spacing is None else "mm2",
        pixel_spacing=None if pixel_spacing is None else (float(pixel_spacing[0]), float(pixel_spacing[1])),
        total=within(lungs if found else np.ones(array.shape, dtype=bool)),
        lungs={side: within(lung) for side, lung in sides.items()},
        zones={
            f"{side}_{zone}": within(part)
            for side, lung in sides.items()
            for zone, part in zip(ZONES, lung_zones(lung), strict=True)
        },
    )


def fit_burden_threshold(residues: Sequence[ArrayLike], lung_masks: Sequence[ArrayLike], share: float = 0.01) -> float:
    """Fit the value of smoothed |a| that only a given share of the lung pixels of normal radiographs exceeds.

    It is a fixed threshold for :func:`monai_dgm.transforms.saliency.compute_saliency`, to be fitted on images that the
    decomposer was not trained on. The pixels of all images together have the share, to one pixel; one image may have
    more of them than another.

    Args:
        residues: one (S, S) map of a each normal radiograph, in model coordinates.
        lung_masks: (S, S) each, nonzero in the lungs. An empty one (the segmentation failed) adds nothing.
        share: of false positives, in [0, 1).

    Raises:
        InputError: no lung pixels at all, different numbers of masks and residues, shapes that differ or are not 2D, a
            residue that is not finite, or a share outside [0, 1).
    """
    if not 0 <= share < 1:
        raise InputError(f"share: expected a number in [0, 1), got {share}")
    if len(residues) != len(lung_masks):
        raise InputError(f"lung_masks: expected one per residue, {len(residues)}, got {len(lung_masks)}")
    values = []
    for index, (residue, lung_mask) in enumerate(zip(residues, lung_masks, strict=True)):
        array, lungs = np.asarray(residue), np.asarray(lung_mask) != 0
        if array.ndim != 2 or lungs.shape != array.shape:
            raise InputError(f"residue {index}: expected two planes (S, S), got {array.shape} and a mask {lungs.shape}")
        if not np.isfinite(array).all():
            raise InputError(f"residue {index}: expected finite values, got NaN or infinity")
        values.append(smoothed_score(residue_score(array))[lungs])
    if not any(part.size for part in values):
        raise InputError(f"lung_masks: expected pixels of lungs, there are none in {len(values)} radiographs")
    return float(np.quantile(np.concatenate(values), 1 - share))


def lung_zones(lung: ArrayLike) -> tuple[Mask, Mask, Mask]:
    """(upper, middle, lower) third of the height of one lung's mask (rows, cols), by the centres of its rows."""
    inside = np.asarray(lung) != 0
    filled = np.flatnonzero(inside.any(axis=1))
    if not filled.size:
        return inside, inside.copy(), inside.copy()
    centre = np.arange(inside.shape[0]) + 0.5 - filled[0]
    third = np.floor(3 * centre / (filled[-1] + 1 - filled[0]))[:, None]
    return inside & (third == 0), inside & (third == 1), inside & (third == 2)


def model_spacing(geometry: RadiographGeometry) -> tuple[float, float] | None:
    """(row, column) spacing in mm of the model's pixels, or None where the original's is not known."""
    spacing, (scale_y, scale_x) = geometry.upright_spacing, geometry.scale
    if spacing is None:
        return None
    row, column = spacing
    return row / scale_y, column / scale_x
