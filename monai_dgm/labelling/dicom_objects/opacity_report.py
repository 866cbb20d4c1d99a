"""What a structured report says of opacities: its regions as boxes (PS3.3 C.18.6)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pydicom
from numpy.typing import NDArray

from monai_dgm.readers.dicom.read import pixel_spacing

AREAS = {"POLYLINE", "ELLIPSE", "CIRCLE"}
CLOSED = 0.01  # pixels between the first and the last point of a closed polyline


@dataclass(frozen=True)
class ReportedOpacity:
    """One region of a report.

    Args:
        box: [xmin, ymin, xmax, ymax] in pixels of the image, continuous edges; around a region that is no rectangle.
        text: comment, or the finding's words where there is none.
        score: number in [0, 1] at the end of the text, or None.
        tracking_uid: new in every report that OHIF writes; empty where there is none.
        sop_instance_uid: image the region is on.
        series_uid: series of that image, or None where the report does not say.
        graphic_type: "POLYLINE", "ELLIPSE" or "CIRCLE".
    """

    box: tuple[float, float, float, float]
    text: str
    score: float | None
    tracking_uid: str
    sop_instance_uid: str
    series_uid: str | None
    graphic_type: str


@dataclass(frozen=True)
class OpacityReport:
    """A TID 1500 report.

    :func:`monai_dgm.labelling.dicom_objects.structured_report_reader.read_opacity_report` makes it.

    Args:
        sop_instance_uid: of the report.
        study_uid: study it belongs to.
        opacities: regions, in the report's order.
        no_opacity: the report says that there is none.
        images: SOP Instance UIDs of the images it refers to, in order.
        reader: person who answers for it, None where it names nobody ("unknown^unknown" of OHIF is nobody).
        software: what wrote it, with version where it says so.
        by_us: written by :func:`monai_dgm.labelling.dicom_objects.structured_report.write_opacity_report`.
        written: date and time of the content, in the writer's local time, None where it does not say.
        problems: one line for each thing that was left out or is doubtful, and why. They quote no text of the report.
    """

    sop_instance_uid: str
    study_uid: str
    opacities: tuple[ReportedOpacity, ...]
    no_opacity: bool
    images: tuple[str, ...]
    reader: str | None
    software: str
    by_us: bool
    written: datetime | None
    problems: tuple[str, ...]

    @property
    def is_prediction(self) -> bool:
        """A model's own: written by us, with no reader."""
        return self.by_us and self.reader is None

    @property
    def confirmed_negative(self) -> bool:
        """A reader says that there is no opacity."""
        return self.no_opacity and not self.opacities and not self.is_prediction

    def on_image(self, sop_instance_uid: str) -> tuple[ReportedOpacity, ...]:
        """The regions on one image."""
        return tuple(item for item in self.opacities if item.sop_instance_uid == sop_instance_uid)


class NoBox(Exception):
    """A region that gives no box; the message says why."""


def box_of_graphic(graphic_type: str, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The box (4,) [xmin, ymin, xmax, ymax] around a region.

    Args:
        graphic_type: "POLYLINE" of corners, closed by its first point (PS3.3 C.18.6.1.2) or the four corners of an
            upright rectangle, "ELLIPSE" of the ends of its major and then its minor axis, or "CIRCLE" of its centre and
            a point on it.
        points: (N, 2) columns and rows.

    Raises:
        NoBox: another type or number of points, a line, or a polyline that is not closed.
    """
    if graphic_type == "CIRCLE" and len(points) == 2:
        radius = float(np.hypot(*(points[1] - points[0])))
        low, high = points[0] - radius, points[0] + radius
    elif graphic_type == "ELLIPSE" and len(points) == 4:
        half_axes = (points[[1, 3]] - points[[0, 2]]) / 2
        reach = np.sqrt((half_axes**2).sum(axis=0))
        low, high = points.mean(axis=0) - reach, points.mean(axis=0) + reach
    elif graphic_type == "POLYLINE":
        if len(np.unique(points, axis=0)) < 3:
            raise NoBox("a line, which is no area")
        closed = np.abs(points[0] - points[-1]).max() <= CLOSED
        if not closed and not _is_rectangle(points):  # angles, Cobb angles and freehand lines are open
            raise NoBox("a POLYLINE that is not closed, which is no area")
        low, high = points.min(axis=0), points.max(axis=0)
    else:
        raise NoBox(f"{graphic_type[:16]} of {len(points)} points")
    return np.concatenate([low, high])


def _is_rectangle(points: NDArray[np.float64]) -> bool:
    """Whether four points are the corners of an upright rectangle, one after the other: some tools do not close it."""
    if len(points) != 4:
        return False
    along = np.abs(np.roll(points, -1, axis=0) - points) > CLOSED  # each side runs along one axis, in turn the other
    return bool((along.sum(axis=1) == 1).all() and (along[0] != along[1]).all() and (along[:2] == along[2:]).all())


def inside_image(box: NDArray[np.float64], source: pydicom.Dataset | None) -> NDArray[np.float64]:
    """A box (4,) without what lies outside the image; as it is where the image is not at hand.

    Raises:
        NoBox: nothing is left.
    """
    if source is not None and source.get("Rows") and source.get("Columns"):
        box = np.clip(box, 0, np.tile([float(source.Columns), float(source.Rows)], 2))
    if (box[:2] >= box[2:]).any():
        raise NoBox("no area within the image")
    return box


def unstretch(points: NDArray[np.float64], source: pydicom.Dataset) -> NDArray[np.float64]:
    """Columns and rows (N, 2) of what was drawn, from those that Cornerstone wrote with the two spacings swapped.

    ``worldToImageCoords`` divides what runs along a row by the distance of rows, and the other way round; the renderer
    does not. The first pixel's centre is where both agree.
    """
    row, column = pixel_spacing(source) or (1.0, 1.0)
    return (points - 0.5) * [row / column, column / row] + 0.5


def is_stretched(source: pydicom.Dataset | None) -> bool:
    """Whether swapped spacings move the image's far corner by half a pixel or more."""
    if source is None:
        return False
    row, column = pixel_spacing(source) or (1.0, 1.0)
    far = max(int(source.get("Rows") or 0), int(source.get("Columns") or 0))
    return (max(row / column, column / row) - 1) * far >= 0.5
