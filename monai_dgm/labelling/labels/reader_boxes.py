"""From the boxes that a viewer sends to a reader's label: the steps common to all viewers, and the browser's JSON.

A viewer in a browser sends, in pixels of the original radiograph::

    {"status": "boxes", "boxes": [{"box": [xmin, ymin, xmax, ymax], "label": "lung_opacity", "score": 0.87}]}

``label`` and ``score`` may be missing or null. The status is stated, not guessed: "no_finding" goes with an empty list
and is a confirmed negative; an empty list under the status "boxes" is a mistake, and refused.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.image_label import MAX_BOXES, OPACITY, ImageLabel, LabelledBox, as_array
from monai_dgm.labelling.labels.json_input import CLOSED, checked, parse_json
from monai_dgm.transforms.boxes import box_iou, compare_boxes, same_boxes
from monai_dgm.transforms.placement import Placement

__all__ = ["BoxReading", "clipped_box", "read_viewer_boxes", "with_model_boxes", "without_repeats"]

logger = logging.getLogger(__name__)

MAX_DOCUMENT_BYTES = 100_000  # 200 boxes take a fifth of it
MIN_SIDE = 1.0  # pixels: a click that never became a box


@dataclass(frozen=True)
class BoxReading:
    """The content of a viewer's document about one radiograph.

    Attributes:
        boxes: in pixels of the original, clipped to it.
        empty: the document holds nothing that could be meant as a finding: a confirmed negative.
        ignored: what was left out, and why; one line each.
        problems: what could not be understood, one line each. The reader meant something by it, so the rest must not be
            stored as if it were complete.
    """

    boxes: tuple[LabelledBox, ...]
    empty: bool
    ignored: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def status(self) -> str | None:
        """ "boxes", "no_finding", or None where the document leaves it open."""
        if self.problems:
            return None
        return "boxes" if self.boxes else "no_finding" if self.empty else None


def with_model_boxes(label: ImageLabel, shown: ImageLabel | None) -> ImageLabel:
    """A reader's label with the model's boxes that the reader started from.

    The same boxes give the same label whatever program they come from, see
    :func:`monai_dgm.transforms.boxes.compare_boxes`: a box that the reader left as it was gets the model's exact
    coordinates and score back, a moved one keeps its coordinates and has the model's score, and any other one has no
    score, since it is the reader's.

    Args:
        label: the reader's label.
        shown: the model's boxes that the reader was shown; None where there were none. Those of another image size are
            not used.
    """
    if shown is None or shown.size != label.size:
        return label
    changes = compare_boxes(label.boxes_array, shown.boxes_array)
    boxes = [replace(box, score=None) for box in label.boxes]
    for ours, model in (*changes.kept, *changes.moved):
        boxes[ours] = replace(boxes[ours], score=shown.boxes[model].score)
    for ours, model in changes.kept:
        boxes[ours] = replace(boxes[ours], box=shown.boxes[model].box)
    counts = [f"{len(getattr(changes, name))} boxes {name}" for name in ("kept", "moved", "added", "deleted")]
    logger.info("a label from %s: %s", label.source, ", ".join(counts))
    return replace(label, boxes=tuple(boxes), model_boxes=shown.boxes, model_version=shown.model_version)


def without_repeats(
    boxes: Sequence[LabelledBox], model_boxes: Sequence[LabelledBox] = (), iou: float | None = None
) -> tuple[tuple[LabelledBox, ...], int]:
    """Boxes without those that repeat another one, in their order, and how many those were.

    Of boxes that repeat each other one stays: one that the reader changed before one that is the same as one of
    ``model_boxes`` (:func:`monai_dgm.transforms.boxes.same_boxes`), and within each kind the last.

    Args:
        boxes: of one reader and image.
        model_boxes: that the reader started from.
        iou: boxes with at least this IoU repeat each other; None: only boxes that are the same do.
    """
    if len(boxes) < 2:
        return tuple(boxes), 0
    array = as_array(boxes)
    repeats = same_boxes(array, array) if iou is None else box_iou(array, array) >= iou
    unchanged = same_boxes(array, as_array(model_boxes)).any(axis=1)
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda index: (unchanged[index], -index)):
        if not repeats[index, kept].any():
            kept.append(index)
    return tuple(boxes[index] for index in sorted(kept)), len(boxes) - len(kept)


def repeats_ignored(repeated: int, total: int) -> tuple[str, ...]:
    """The line that says how many boxes :func:`without_repeats` left out; none where it left out none."""
    return (f"{repeated} of {total} boxes left out, they repeat another one",) if repeated else ()


def clipped_box(corners: NDArray[np.float64], placement: Placement) -> tuple[float, float, float, float]:
    """The axis-aligned box around corners (N, 2) in pixels, without what lies outside the radiograph.

    Raises:
        InputError: corners that are not finite, or less than one pixel a side is left.
    """
    limit = np.array([placement.cols, placement.rows], dtype=np.float64)
    low, high = corners.min(axis=0), corners.max(axis=0)
    if not (np.isfinite(low).all() and np.isfinite(high).all()) or (high <= 0).any() or (low >= limit).any():
        raise InputError("expected a box that touches the radiograph, got one outside")
    low, high = np.maximum(low, 0.0), np.minimum(high, limit)
    if (high - low < MIN_SIDE).any():
        sides = " x ".join(f"{side:.3g}" for side in high - low)
        raise InputError(f"expected a box of at least {MIN_SIDE:g} pixel a side within the radiograph, got {sides}")
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


class _Document(BaseModel):
    model_config = CLOSED
    status: Literal["boxes", "no_finding"]
    boxes: Annotated[list[LabelledBox], Field(max_length=MAX_BOXES)]


def read_viewer_boxes(document: str | bytes, placement: Placement) -> BoxReading:
    """Read a document of boxes.

    A box that reaches outside the radiograph is clipped to it; of boxes that are the same one stays. All boxes are
    understood, or none is taken.

    Args:
        document: JSON text, or bytes in UTF-8.
        placement: of the radiograph; only its size is used.

    Returns:
        The boxes in the document's order, without problems; ``status`` is the document's.

    Raises:
        InputError: no such document; more than 200 boxes; a box that is not four finite numbers in order, that lies
            outside, or of which less than one pixel a side is left; another finding; a score outside [0, 1]; or a
            status that does not go with the boxes.
    """
    sent: _Document = checked(_Document, parse_json(document, "boxes", MAX_DOCUMENT_BYTES), "boxes")
    if (sent.status == "boxes") != bool(sent.boxes):
        raise InputError(f"boxes: expected boxes with the status boxes, none with no_finding, got {len(sent.boxes)}")
    boxes, repeated = without_repeats([_inside(index, box, placement) for index, box in enumerate(sent.boxes)])
    return BoxReading(boxes, sent.status == "no_finding", repeats_ignored(repeated, len(sent.boxes)))


def _inside(index: int, given: LabelledBox, placement: Placement) -> LabelledBox:
    try:
        if given.label not in (None, OPACITY):
            raise InputError(f"expected the label {OPACITY} or none, got another")
        corners = np.array(given.box).reshape(2, 2)
        if (corners[0] >= corners[1]).any():
            raise InputError("expected xmin < xmax and ymin < ymax")
        return LabelledBox(clipped_box(corners, placement), OPACITY, given.score)
    except InputError as error:
        raise InputError(f"boxes: box {index}: {error}") from None
