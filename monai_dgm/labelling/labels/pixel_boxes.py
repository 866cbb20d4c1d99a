"""Boxes as a viewer in a browser sends them: JSON, in pixels of the original radiograph.

::

    {"status": "boxes", "boxes": [{"box": [xmin, ymin, xmax, ymax], "label": "lung_opacity", "score": 0.87}]}

``label`` and ``score`` may be missing or null. The status is said, not guessed: "no_finding" goes with an empty list
and is a confirmed negative; an empty list under the status "boxes" is a slip, and refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.image_label import MAX_BOXES, OPACITY, STATUSES, LabelledBox
from monai_dgm.labelling.labels.json_input import parse_json, shown
from monai_dgm.labelling.labels.markups import UNTOUCHED_IOU, MarkupsReading, clipped_box, without_repeats
from monai_dgm.transforms.placement import Placement

MAX_DOCUMENT_BYTES = 100_000  # 200 boxes take a fifth of it
_KEYS = {"status", "boxes"}


def read_pixel_boxes(document: str | bytes, placement: Placement) -> MarkupsReading:
    """Read a document of boxes.

    A box that reaches outside the radiograph is cut off at its edge; one drawn twice (IoU 0.98) is one. All boxes are
    understood, or none is taken.

    Args:
        document: JSON text, or bytes in UTF-8.
        placement: of the radiograph; its size alone counts.

    Returns:
        The boxes in the document's order, without problems; ``status`` is the document's.

    Raises:
        InputError: no such document; more than 200 boxes; a box that is not four finite numbers in order, that lies
            outside, or of which less than one pixel a side is left; another finding; a score outside [0, 1]; or a
            status that does not go with the boxes.
    """
    values = parse_json(document, "boxes", MAX_DOCUMENT_BYTES)
    if not isinstance(values, dict) or values.keys() != _KEYS or not isinstance(values["boxes"], list):
        raise InputError('boxes: expected a JSON object with a "status" and a list "boxes"')
    status, items = values["status"], values["boxes"]
    if not isinstance(status, str) or status not in STATUSES:
        raise InputError(f"boxes: expected a status of {', '.join(STATUSES)}, got {shown(status)}")
    if len(items) > MAX_BOXES:
        raise InputError(f"boxes: expected at most {MAX_BOXES} boxes, got {len(items)}")
    if (status == "boxes") != bool(items):
        raise InputError(f"boxes: expected boxes with the status boxes, none with no_finding, got {len(items)}")
    boxes, repeated = without_repeats(
        [_box(place, item, placement) for place, item in enumerate(items)], (), UNTOUCHED_IOU
    )
    more = (f"{repeated} of {len(items)} boxes left out, they repeat another one",) if repeated else ()
    return MarkupsReading(boxes, status == "no_finding", more, ())


def _box(place: int, item: Any, placement: Placement) -> LabelledBox:
    try:
        given = LabelledBox.from_dict(item)
        if given.label not in (None, OPACITY):
            raise InputError(f"expected the label {OPACITY} or none, got another")
        low, high = np.array(given.box[:2]), np.array(given.box[2:])
        if (low >= high).any():
            raise InputError("expected xmin < xmax and ymin < ymax")
        return LabelledBox(clipped_box(np.stack([low, high]), placement), OPACITY, given.score)
    except InputError as error:
        raise InputError(f"boxes: box {place}: {error}") from None
