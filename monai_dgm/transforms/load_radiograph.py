"""The dictionary transform that reads a radiograph file and prepares it as model input."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from monai_dgm.errors import InputError
from monai_dgm.readers.radiograph import Radiograph
from monai_dgm.readers.read import check_same_place, read_mask, read_radiograph
from monai_dgm.transforms.preparation import describe_source, prepare

__all__ = ["LoadRadiographd"]


class LoadRadiographd(MapTransform):
    """Read radiographs (DICOM, PNG, JPEG, NIfTI) and prepare them for networks.

    Each key's path is replaced by a plain float32 tensor (1, S, S) in [-1, 1], bright = dense. Beside it are written

    - "geometry": its :class:`monai_dgm.transforms.geometry.RadiographGeometry`;
    - "prepared": its :class:`monai_dgm.transforms.preparation.PreparedRadiograph`, at all sides, with its lung mask;
    - "source": its :class:`monai_dgm.transforms.preparation.RadiographSource`, for the files that show results.

    With several keys each of these names has the key before it, as in "<key>_geometry".

    Args:
        keys: keys whose values are paths.
        size: side S of the model input in pixels; several where models of different sides look at the radiograph: the
            tensor has the first.
        fit: "pad" (aspect kept) or "stretch".
        percentiles: intensity percentiles mapped to -1 and 1; None for the full range.
        reader: function from a path to a :class:`monai_dgm.readers.radiograph.Radiograph`.
        lung_mask_key: key of the path of a lung mask, read where the dictionary has it and it is not None; None reads
            no mask.
        display: whether "source" has grey levels for pictures.
        allow_missing_keys: do not raise where a key is missing.

    Raises:
        InputError: a file that cannot be used; the message names it.
    """

    def __init__(
        self,
        keys: KeysCollection,
        size: int | Sequence[int] = 224,
        fit: str = "pad",
        percentiles: Sequence[float] | None = (0.5, 99.5),
        reader: Callable[[str], Radiograph] = read_radiograph,
        lung_mask_key: str | None = None,
        display: bool = True,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.sides = (size,) if isinstance(size, int) else tuple(size)
        self.fit = fit
        self.percentiles = None if percentiles is None else (float(percentiles[0]), float(percentiles[1]))
        self.reader = reader
        self.lung_mask_key = lung_mask_key
        self.display = display

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return ``data`` with tensors instead of paths, and geometries, prepared radiographs and sources."""
        output = dict(data)
        mask_path = None if self.lung_mask_key is None else data.get(self.lung_mask_key)
        for key in self.key_iterator(output):
            path = str(output[key])
            radiograph = self.reader(path)
            mask = None if mask_path is None else read_mask(mask_path)
            if mask_path is not None:
                check_same_place(mask_path, path)
            try:
                prepared = prepare(radiograph, self.sides, self.fit, self.percentiles, mask)
            except InputError as error:
                raise InputError(f"{path}: {error}") from error
            image_id, boxes = str(data.get("image_id", "image")), data.get("opacity_boxes")
            prefix = "" if len(self.keys) == 1 else f"{key!s}_"
            output[key] = torch.from_numpy(prepared.image)
            output[f"{prefix}geometry"] = prepared.geometry
            output[f"{prefix}prepared"] = prepared
            source = describe_source(radiograph, prepared.geometry, image_id, boxes, self.display)
            output[f"{prefix}source"] = source
        return output
