"""What a datalist knows, as arrays: what a training set that lies on the device as a whole needs beside its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_dgm.data.manifest import CATEGORIES
from monai_dgm.data.opacity_boxes import box_readers, num_boxes

__all__ = ["describe_items"]


def describe_items(
    items: Sequence[Mapping[str, Any]], boxes: Sequence[NDArray[np.float32]], sources: Sequence[str]
) -> dict[str, Any]:
    """The truth about a datalist: the fields of :class:`monai_dgm.engines.training.resident.ResidentRadiographs`, but
    images and lungs.

    Args:
        items: of a datalist.
        boxes: of each item, (n, 4) in model coordinates.
        sources: names whose order numbers the sources.
    """
    readers = box_readers(items)
    most = max([1, *(len(own) for own in boxes)])
    padded = np.zeros((len(items), most, 4), np.float32)
    for row, own in zip(padded, boxes, strict=True):
        row[: len(own)] = own
    boxed = np.array([num_boxes(item) > 0 for item in items])
    patients = {name: number for number, name in enumerate(sorted({str(item["patient_id"]) for item in items}))}
    halves = np.random.default_rng(0).integers(0, 2, len(patients))
    return {
        "boxes": padded,
        "label": np.array([item["label"] for item in items], np.float32),
        "category": np.array([CATEGORIES.index(item["category"]) for item in items], np.int64),
        "complete": boxed,
        "empty": np.array([item.get("label_source") in readers for item in items]) & ~boxed,
        "source": np.array([sources.index(item["source"]) for item in items], np.int64),
        "half": halves[[patients[str(item["patient_id"])] for item in items]],
    }
