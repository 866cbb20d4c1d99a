"""Boxes to 3D Slicer's markups JSON and back.

The documents are those that MONAI Label's Slicer panel loads: a box is an ROI of type Box in LPS mm, in the plane of
the radiograph. Slicer reads and writes ``orientation`` row by row; its columns are the ROI's axes. The panel sends back
every ROI node of the scene, and :func:`markups_to_boxes` decides which of them are the reader's boxes.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.image_label import FAR, MAX_BOXES, OPACITY, LabelledBox
from monai_dgm.labelling.labels.json_input import describe_value, parse_json
from monai_dgm.labelling.labels.reader_boxes import BoxReading, clipped_box, repeats_ignored, without_repeats
from monai_dgm.transforms.placement import Placement

SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
MAX_DOCUMENT_BYTES = 2_000_000  # an ROI with its display properties takes 3 kB
MAX_MARKUPS = 500
REPEATED_IOU = 0.7  # an earlier run's node of the same finding, which is still in the scene
NOTE_NAME = "monai-dgm note"  # of a point whose label is a message to the reader
STRAY_NAMES = ("SAM2 ROI", "Scribbles ROI")  # prompts that the panel makes for itself
_LABEL_SHOWN = {"visibility": True, "pointLabelsVisibility": True, "textScale": 3.0}
_FLIP = np.array([-1.0, -1.0, 1.0])  # RAS to LPS
_LABEL_AND_SCORE = re.compile(r"(.*?)\s*(?:\b(1(?:\.0*)?|0?\.\d+|0))?")


def boxes_to_markups(boxes: Sequence[LabelledBox], placement: Placement, depth: float = 1.0) -> dict[str, Any]:
    """A markups document with one ROI per box. The control point's label is finding and score: "lung opacity 0.87".

    Args:
        boxes: in pixels of the original.
        placement: of the radiograph as the viewer shows it.
        depth: thickness of the ROIs in mm; Slicer does not draw an ROI of depth 0.

    Returns:
        plain values for :func:`json.dumps`.

    Raises:
        InputError: more boxes than a label may have.
    """
    if len(boxes) > MAX_BOXES:
        raise InputError(f"expected at most {MAX_BOXES} boxes, got {len(boxes)}")
    return {"@schema": SCHEMA, "markups": [_roi(number, box, placement, depth) for number, box in enumerate(boxes, 1)]}


def note_to_markups(note: str, placement: Placement) -> dict[str, Any]:
    """A markups document with one point at the upper left of the radiograph, whose label is a message to the reader.

    It is no finding: :func:`markups_to_boxes` passes over it.

    Args:
        note: one line.
        placement: of the radiograph as the viewer shows it.
    """
    position = placement.to_world([[placement.cols * 0.05, placement.rows * 0.05]])[0].tolist()
    markup = {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": True,
        "labelFormat": "%N-%d",
        "name": NOTE_NAME,
        "controlPoints": [{"id": "1", "label": note, "position": position, "positionStatus": "defined"}],
        "display": _LABEL_SHOWN,
    }
    return {"@schema": SCHEMA, "markups": [markup]}


def _roi(number: int, box: LabelledBox, placement: Placement, depth: float) -> dict[str, Any]:
    xmin, ymin, xmax, ymax = box.box
    center = placement.to_world([[(xmin + xmax) / 2, (ymin + ymax) / 2]])[0].tolist()
    along_x, along_y, _ = placement.spacing
    orientation = _axes(placement).ravel().tolist()
    name = (box.label or OPACITY).replace("_", " ")
    label = name if box.score is None else f"{name} {box.score:.2f}"
    point = {"id": "1", "label": label, "description": "", "associatedNodeID": "", "position": center}
    point |= {"orientation": orientation, "selected": True, "locked": False, "visibility": True}
    return {
        "type": "ROI",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": False,
        "fixedNumberOfControlPoints": False,
        "labelFormat": "%N-%d",
        "lastUsedControlPointNumber": 1,
        "name": f"{label} ({number})",
        "roiType": "Box",
        "center": center,
        "orientation": orientation,
        "size": [(xmax - xmin) * along_x, (ymax - ymin) * along_y, depth],
        "insideOut": False,
        "controlPoints": [{**point, "positionStatus": "defined"}],
        "display": _LABEL_SHOWN,  # otherwise Slicer hides the label, and with it the score
    }


def _axes(placement: Placement) -> NDArray[np.float64]:
    """Orthonormal axes (3, 3) as columns: those of the image, turned by 180 degrees as Slicer itself writes them."""
    x_axis, y_axis = (placement.affine[:3, axis] / placement.spacing[axis] for axis in (0, 1))
    if abs(float(x_axis @ y_axis)) > 1e-4:
        raise InputError("expected a radiograph whose rows and columns are at right angles, got a sheared one")
    y_axis = y_axis - (x_axis @ y_axis) * x_axis
    y_axis /= np.linalg.norm(y_axis)
    # with identity placement this is Slicer's own [-1,0,0, 0,-1,0, 0,0,1]; the box is the same either way
    return np.column_stack([-x_axis, -y_axis, np.cross(x_axis, y_axis)]) + 0.0


def markups_to_boxes(
    document: str | bytes,
    placement: Placement,
    model_boxes: Sequence[LabelledBox] | None = None,
    findings: Sequence[str] = (OPACITY,),
) -> BoxReading:
    """Read a markups document that a reader submitted.

    - An ROI, also a rotated one, gives the axis-aligned box around its corners, projected on the radiograph and clipped
      to it. An ROI outside the radiograph, without finite centre and size, or smaller than one pixel is a problem.
    - An ROI without control points and without size is a stray node: the panel's "SAM2 ROI" after a reset, whatever its
      name. It is left out. So are ROIs named after the panel's prompts ("SAM2 ROI", "Scribbles ROI") and markups of
      other types, but a document with nothing else than these is not a confirmed negative.
    - Nodes of earlier runs are still in the scene. Of boxes that overlap with an IoU of 0.7 or more one stays, see
      :func:`monai_dgm.labelling.labels.reader_boxes.without_repeats`: one that the reader changed before one of the
      ``model_boxes``.
    - An empty document, or one with stray nodes only, is a confirmed negative.
    - A control point's label gives finding and score if it names one of the ``findings``; other text is not kept.

    Args:
        document: JSON text, or bytes in UTF-8.
        placement: of the radiograph as the viewer shows it.
        model_boxes: the boxes that the reader started from, in pixels of the original.
        findings: names that a label may have.

    Raises:
        InputError: no markups document, one too large, or one of more than 500 markups.
    """
    values = parse_json(document, "markups", MAX_DOCUMENT_BYTES, allow_nan=True)
    if not isinstance(values, dict) or not isinstance(values.get("markups"), list):
        raise InputError('markups: expected a document of 3D Slicer with a list "markups"')
    if len(values["markups"]) > MAX_MARKUPS:
        raise InputError(f"markups: expected at most {MAX_MARKUPS} markups, got {len(values['markups'])}")
    reading = _read_all(values["markups"], placement, findings)
    boxes, repeated = without_repeats(reading.boxes, model_boxes or (), REPEATED_IOU)
    if len(boxes) > MAX_BOXES:
        raise InputError(f"markups: expected at most {MAX_BOXES} boxes, got {len(boxes)}")
    return replace(reading, boxes=boxes, ignored=reading.ignored + repeats_ignored(repeated, len(reading.boxes)))


def _read_all(markups: Sequence[Any], placement: Placement, findings: Sequence[str]) -> BoxReading:
    found: list[LabelledBox] = []
    ignored: list[str] = []
    problems: list[str] = []
    empty = True
    for index, markup in enumerate(markups):
        try:
            reason, stray = _reason_to_leave_out(markup)
            empty = empty and stray
            if reason:
                ignored.append(f"markup {index}: {reason}")
            else:
                found.append(_read_roi(markup, placement, findings))
        except InputError as error:
            problems.append(f"markup {index}: {error}")
    return BoxReading(tuple(found), empty and not problems, tuple(ignored), tuple(problems))


def _reason_to_leave_out(markup: Any) -> tuple[str, bool]:
    """(Reason why a markup is not a box of the reader, or ""; whether it is a stray node without any meaning.)"""
    if not isinstance(markup, dict):
        raise InputError(f"expected an object, got {describe_value(markup)}")
    kind = markup.get("type")
    if kind == "Fiducial" and markup.get("name") == NOTE_NAME:
        return "the app's own note", True
    if kind != "ROI":
        known = kind in ("Fiducial", "Line", "Angle", "Curve", "ClosedCurve", "Plane")
        return f"of the type {kind if known else 'unknown'}, only ROIs are read", False
    points = markup.get("controlPoints") or []
    if not isinstance(points, list):
        raise InputError(f"expected controlPoints as a list, got {describe_value(points)}")
    if not points and markup.get("size") in (None, [0, 0, 0]):
        return "an ROI that was never placed", True
    names = [markup.get("name"), *(point.get("label") for point in points if isinstance(point, dict))]
    if any(isinstance(name, str) and name.startswith(STRAY_NAMES) for name in names):
        return "a prompt of the panel, not a finding", False
    return "", False


def _read_roi(markup: dict[str, Any], placement: Placement, findings: Sequence[str]) -> LabelledBox:
    system, unit = markup.get("coordinateSystem", "LPS"), markup.get("coordinateUnits", "mm")
    if system not in ("LPS", "RAS", 0, 1):  # old files have Slicer's own numbers
        raise InputError("expected the coordinate system LPS or RAS, got another")
    if unit not in ("mm", ["mm", "mm", "mm"]):
        raise InputError("expected coordinates in mm, got another unit")
    center, size = _vector(markup, "center", 3), _vector(markup, "size", 3)
    axes = _vector(markup, "orientation", 9).reshape(3, 3) if markup.get("orientation") else np.eye(3)
    if (size < 0).any() or not np.allclose(axes.T @ axes, np.eye(3), atol=1e-3):
        raise InputError("expected a size of at least 0 and an orientation of three axes at right angles")
    if system in ("RAS", 0):
        center, axes = center * _FLIP, axes * _FLIP[:, None]
    corners = center + (np.array(list(itertools.product((-0.5, 0.5), repeat=3))) * size) @ axes.T
    box = clipped_box(placement.to_pixels(corners), placement)
    label, score = _read_label(markup, findings)
    return LabelledBox(box, label, score)


def _vector(markup: dict[str, Any], key: str, length: int) -> NDArray[np.float64]:
    values = markup.get(key)
    if not isinstance(values, list) or len(values) != length:
        raise InputError(f"expected {key} as {length} numbers, got {describe_value(values)}")
    if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        raise InputError(f"expected {key} as {length} numbers, got something else")
    if not all(abs(value) < FAR for value in values):
        raise InputError(f"expected {key} as finite numbers, got NaN, infinity or a number that is too large")
    return np.array(values, dtype=np.float64)


def _read_label(markup: dict[str, Any], findings: Sequence[str]) -> tuple[str | None, float | None]:
    points = markup.get("controlPoints") or [{}]
    text = points[0].get("label") if isinstance(points[0], dict) else None
    match = _LABEL_AND_SCORE.fullmatch(text.strip()) if isinstance(text, str) and len(text) <= 200 else None
    if match is None:
        return None, None
    name = "_".join(match[1].lower().split())
    if name not in findings:
        return None, None
    return name, None if match[2] is None else float(match[2])
