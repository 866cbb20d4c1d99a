from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from monai_dgm.labelling.labels.image_label import ImageLabel, LabelledBox, make_boxes
from monai_dgm.transforms.placement import Placement

MakeLabel = Callable[..., ImageLabel]


@pytest.fixture
def make_label() -> MakeLabel:
    """A function that makes a label of a 120 x 200 image (rows x cols) from its boxes."""

    def make(boxes: Any = (), image_id: str = "image", reader: str = "reader", **more: Any) -> ImageLabel:
        ready = len(boxes) > 0 and isinstance(boxes[0], LabelledBox)
        found = tuple(boxes) if ready else make_boxes(np.asarray(boxes, dtype=np.float64).reshape(-1, 4))
        status = "boxes" if found else "no_finding"
        fields = {"size": (120, 200), "source": "slicer", "status": status, "boxes": found, **more}
        return ImageLabel(image_id=image_id, reader=reader, **fields)

    return make


def _random_rotation(rng: np.random.Generator) -> np.ndarray:
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return rotation * np.sign(np.linalg.det(rotation))


def _random_case(seed: int) -> tuple[Placement, tuple[LabelledBox, ...]]:
    """Portrait and landscape, pixels that are not square, placements of every kind, one to five boxes far apart."""
    rng = np.random.default_rng(seed)
    rows, cols = (int(side) for side in rng.integers(64, 4000, 2))
    spacing = (float(rng.uniform(0.05, 2)), float(rng.uniform(0.05, 2)))
    rotation, origin = _random_rotation(rng), rng.uniform(-500, 500, 3)
    axes = rotation * [spacing[1], spacing[0], 1.0]
    kinds = [
        Placement.from_spacing(rows, cols, spacing),
        Placement(rows, cols, np.vstack([np.column_stack([axes, origin]), [0, 0, 0, 1]])),
        Placement.from_ras_affine(rows, cols, np.diag([-spacing[1], spacing[0], 1.0, 1.0])),
    ]
    lanes = np.array_split(np.arange(cols), rng.integers(1, 6))
    boxes = []
    for lane in lanes:
        low, high = float(lane[0]), float(lane[-1] + 1)
        (xmin, xmax), (ymin, ymax) = np.sort(rng.uniform([[low], [0]], [[high - 1.5], [rows - 1.5]], (2, 2)), axis=1)
        boxes.append([xmin, ymin, xmax + 1.5, ymax + 1.5])
    scores = rng.uniform(0, 1, len(boxes)).round(2)
    return kinds[seed % 3], make_boxes(boxes, ["lung_opacity"] * len(boxes), scores)


@pytest.fixture
def random_case() -> Callable[[int], tuple[Placement, tuple[LabelledBox, ...]]]:
    """A function that makes the placement of a radiograph and boxes in it from a seed."""
    return _random_case
