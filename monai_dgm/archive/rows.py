"""The Parquet row of an image."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from monai_dgm.archive.packages import import_package
from monai_dgm.engines.decomposition.values import decomposition_values, model_values
from monai_dgm.engines.radiograph_result import RadiographResult

__all__ = ["DONE", "FAILED", "UNREAD", "UNSENT", "result_values", "schema"]

DONE = "done"
FAILED = "failed"  # the content cannot be used: it is not tried again
UNREAD = "unread"  # it could not be fetched: the next run tries again
UNSENT = "unsent"  # its DICOM objects could not be stored: the next run tries again

_REGION = ("area", "salient_area", "integrated", "integrated_signed", "salient_share", "mean_abs_residue")
_LUNGS = ("right", "left")
_ZONES = tuple(f"{lung}_{zone}" for lung in _LUNGS for zone in ("upper", "middle", "lower"))


@cache
def schema() -> Any:
    """The columns, a :class:`pyarrow.Schema`; docs/archive.md describes them."""
    pa = import_package("pyarrow")
    number, text = pa.float64(), pa.string()
    boxes = pa.list_(pa.struct([("box", pa.list_(number)), ("score", number)]))
    region = pa.struct([(name, number) for name in _REGION])
    burden = pa.struct(
        [
            ("region", text),
            ("unit", text),
            ("pixel_spacing", pa.list_(number)),
            ("total", region),
            ("lungs", pa.struct([(name, region) for name in _LUNGS])),
            ("zones", pa.struct([(name, region) for name in _ZONES])),
        ]
    )
    return pa.schema(
        [
            ("identifier", text),
            ("source_stamp", text),
            ("content_sha256", text),
            ("status", text),
            ("reason", text),
            ("rows", pa.int32()),
            ("cols", pa.int32()),
            ("pixel_spacing_mm", pa.list_(number)),
            ("intensity_range", pa.list_(number)),
            ("looks_like_chest", pa.bool_()),
            ("chest_score", number),
            ("remarks", pa.list_(text)),
            ("abnormality_probability", number),
            ("mean_abs_residue", number),
            ("max_abs_residue", number),
            ("saliency_threshold", number),
            ("saliency_area_fraction", number),
            ("saliency_boxes", boxes),
            ("opacity_boxes", boxes),
            ("lung_box", pa.list_(number)),
            ("lung_box_source", text),
            ("lung_mask_source", text),
            ("residue_burden", burden),
            ("objects", pa.int32()),
            ("decomposer_sha256", text),
            ("lungs_sha256", text),
            ("detector_sha256", text),
            ("settings_sha256", text),
            ("runtime", text),
            ("version", text),
        ]
    )


def result_values(result: RadiographResult, score_threshold: float, burden_threshold: float) -> Mapping[str, Any]:
    """The values of one radiograph, as scores.json of ``monai-dgm decompose`` has them."""
    assert result.decomposition is not None  # a run has a decomposer
    found = None if result.opacities is None else result.opacities.above(score_threshold)
    values = {**decomposition_values(result.decomposition), **model_values(result, found, burden_threshold)}
    return {**values, "remarks": list(result.chest_check.remarks)}
