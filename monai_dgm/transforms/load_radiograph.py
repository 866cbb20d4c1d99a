"""A radiograph file as a model input: the dictionary transform, and the functions it is made of."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import optional_import

from monai_dgm.errors import InputError
from monai_dgm.transforms.geometry import RadiographGeometry, prepare_radiograph
from monai_dgm.utils.orientation import UPRIGHT

__all__ = ["LoadRadiographd", "RadiographGeometry", "prepare_radiograph"]


class LoadRadiographd(MapTransform):
    """Read radiographs (DICOM, PNG, JPEG, NIfTI) and prepare them for a network.

    Each key's path is replaced by a plain float32 tensor (1, S, S) in [-1, 1], bright = dense, and "geometry" (or
    "<key>_geometry" when there are several keys) holds its :class:`RadiographGeometry`.

    Args:
        keys: keys whose values are paths.
        size: side S of the model input in pixels.
        fit: "pad" (aspect kept) or "stretch".
        percentiles: intensity percentiles mapped to -1 and 1; None for the full range.
        reader: function from a path to an object with ``pixels``, ``pixel_spacing``, ``valid`` and ``orientation``; by
            default ``monai_dgm.readers.read.read_radiograph``.
        allow_missing_keys: do not raise where a key is missing.

    Raises:
        InputError: a file that cannot be used; the message names it.
    """

    def __init__(
        self,
        keys: KeysCollection,
        size: int = 224,
        fit: str = "pad",
        percentiles: tuple[float, float] | None = (0.5, 99.5),
        reader: Callable[[str], Any] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.size = size
        self.fit = fit
        self.percentiles = None if percentiles is None else (float(percentiles[0]), float(percentiles[1]))
        if reader is None:
            # found when one is made, not at import: transforms stay below data in the order of imports
            reader, _ = optional_import("monai_dgm.readers.read", name="read_radiograph")
        self.reader: Callable[[str], Any] = reader

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return ``data`` with images and geometries in the place of paths."""
        output = dict(data)
        for key in self.key_iterator(output):
            path = str(output[key])
            radiograph = self.reader(path)
            try:
                image, geometry = prepare_radiograph(
                    radiograph.pixels,
                    self.size,
                    self.fit,
                    self.percentiles,
                    radiograph.pixel_spacing,
                    getattr(radiograph, "valid", None),
                    getattr(radiograph, "orientation", UPRIGHT),
                )
            except InputError as error:
                raise InputError(f"{path}: {error}") from error
            output[key] = torch.from_numpy(image)
            output["geometry" if len(self.keys) == 1 else f"{key}_geometry"] = geometry
        return output
