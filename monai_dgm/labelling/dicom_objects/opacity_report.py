"""The content of a structured report about opacities, and its regions as boxes (PS3.3 C.18.6)."""

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
        text: the comment, or the finding's meaning where there is no comment.
        score: number in [0, 1] at the end of the text, or None.
        tracking_uid: of the region; OHIF makes a new one for every report. Empty where there is none.
        sop_instance_uid: of the image with the region.
    """

    box: tuple[float, float, float, float]
    text: str
    score: float | None
    tracking_uid: str
    sop_instance_uid: str


@dataclass(frozen=True)
class OpacityReport:
    """A TID 1500 report.

    :func:`monai_dgm.labelling.dicom_objects.structured_report_reader.read_opacity_report` makes it.

    Args:
        sop_instance_uid: of the report.
        study_uid: of its study.
        opacities: regions, in the report's order.
        no_opacity: the report states that there is no opacity.
        images: SOP Instance UIDs of the images it refers to, in order.
        reader: name of the person who observed; None where the report has no name (OHIF writes "unknown^unknown").
        software: that wrote the report, with its version where known.
        by_us: written by :func:`monai_dgm.labelling.dicom_objects.structured_report.write_opacity_report`.
        written: date and time of the content, in the writer's local time; None where not known.
        problems: one line for each region or image that was left out or is doubtful, and why. They quote no text of the
            report.
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
        """The report is a prediction of a model: written by monai-dgm, without a reader."""
        return self.by_us and self.reader is None

    @property
    def confirmed_negative(self) -> bool:
        """A reader confirmed that there is no opacity."""
        return self.no_opacity and not self.opacities and not self.is_prediction

    def on_image(self, sop_instance_uid: str) -> tuple[ReportedOpacity, ...]:
        """The regions of one image."""
        return tuple(item for item in self.opacities if item.sop_instance_uid == sop_instance_uid)


class NoBox(Exception):
    """A region cannot be converted to a box; the message is the reason."""


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
    """A box (4,) clipped to the image; unchanged where the image's header is not available.

    Raises:
        NoBox: it lies outside the image.
    """
    if source is not None and source.get("Rows") and source.get("Columns"):
        box = np.clip(box, 0, np.tile([float(source.Columns), float(source.Rows)], 2))
    if (box[:2] >= box[2:]).any():
        raise NoBox("no area within the image")
    return box


def unstretch(points: NDArray[np.float64], source: pydicom.Dataset) -> NDArray[np.float64]:
    """Correct points (N, 2), columns and rows, that Cornerstone wrote with row and column spacing swapped.

    Cornerstone's ``worldToImageCoords`` divides distances along a row by the distance between rows, and the reverse;
    its renderer does not. The two agree at the centre of the first pixel.
    """
    row, column = pixel_spacing(source) or (1.0, 1.0)
    return (points - 0.5) * [row / column, column / row] + 0.5


def is_stretched(source: pydicom.Dataset | None) -> bool:
    """Whether swapped spacings move the image's last corner by half a pixel or more."""
    if source is None:
        return False
    row, column = pixel_spacing(source) or (1.0, 1.0)
    far = max(int(source.get("Rows") or 0), int(source.get("Columns") or 0))
    return (max(row / column, column / row) - 1) * far >= 0.5
