"""Trend figure: the residue burden of one patient over several dates, with the radiographs and residues below.

The paper's "longitudinal disease study" (abstract), which it does not spell out. No patient identifiers are drawn.
"""

from __future__ import annotations

import datetime as dt
import io
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib import dates as mdates
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from monai_dgm.errors import InputError
from monai_dgm.metrics.burden import RegionBurden, ResidueBurden
from monai_dgm.report.colours import RESIDUE_COLOURS, grey_levels, residue_levels, residue_scale
from monai_dgm.report.panels import DISCLAIMER
from monai_dgm.utils.atomic import atomic_write

MOST_THUMBNAILS = 12
_TICKS = ["%Y", "%b %Y", "%d %b %Y", "", "", ""]
_INK, _SOFT, _LINE = "#1b1f24", "#5b6470", "#c9d0d8"
_CURVES = (
    ("total", "both lungs", _INK, 2.0),
    ("right", "right lung", "#2563eb", 1.1),
    ("left", "left lung", "#e8590c", 1.1),
)


@dataclass(frozen=True)
class TrendPoint:
    """One radiograph of the patient.

    Attributes:
        date: of the examination; a time is dropped. As text: ISO 8601 (2024-05-31) or DICOM DA (20240531).
        burden: from :func:`monai_dgm.metrics.burden.residue_burden`.
        image: z, float32 (S, S) in [-1, 1], to be shown below the time axis.
        residue: a, float32 (S, S), to be shown below the image.
    """

    date: dt.date | str
    burden: ResidueBurden
    image: NDArray[np.float32] | None = None
    residue: NDArray[np.float32] | None = None

    @property
    def day(self) -> dt.date:
        """The date without time; InputError where the text is none."""
        if isinstance(self.date, dt.datetime):
            return self.date.date()
        if isinstance(self.date, dt.date):
            return self.date
        text, pattern = (self.date[:10], "%Y-%m-%d") if "-" in self.date else (self.date[:8], "%Y%m%d")
        try:
            return dt.datetime.strptime(text, pattern).date()
        except ValueError:
            raise InputError(f"date: expected YYYY-MM-DD or YYYYMMDD, got {self.date!r}") from None


def in_order(points: Sequence[TrendPoint]) -> list[TrendPoint]:
    """Points by date; those of one day in the order in which they came."""
    return sorted(points, key=lambda point: point.day)


def _quantities(points: Sequence[TrendPoint]) -> dict[str, Callable[[RegionBurden], float]]:
    """The charts, by their labels: areas where every date has a pixel spacing, else shares, which compare without."""
    if all(point.burden.unit == "mm2" for point in points):
        return {
            "salient area (cm²)": lambda region: region.salient_area / 100,
            "integrated residue (cm²)": lambda region: region.integrated / 100,
        }
    return {
        "salient area (% of lungs)": lambda region: 100 * region.salient_share,
        "integrated residue (mean |a|)": lambda region: region.mean_abs_residue,
    }


@dataclass(frozen=True)
class _Layout:
    """Places on the figure, all in inches; ``fraction`` turns them into matplotlib's."""

    thumbnails: int
    rows: int
    title: bool
    left: float = 0.8
    right: float = 0.55
    chart: float = 1.55
    gap: float = 0.36
    axis: float = 0.85
    caption: float = 0.2
    foot: float = 0.6

    @property
    def width(self) -> float:
        return max(7.2, self.left + self.right + 1.1 * self.thumbnails)

    @property
    def cell(self) -> float:
        """Side of a thumbnail with its margin."""
        return min(1.5, (self.width - self.left - self.right) / max(self.thumbnails, 1))

    @property
    def head(self) -> float:
        return 0.75 if self.title else 0.42

    @property
    def below(self) -> float:
        """Height of what lies below the lower chart."""
        return (self.axis + self.caption + self.rows * self.cell if self.rows else 0.4) + self.foot

    @property
    def height(self) -> float:
        return self.head + 2 * self.chart + self.gap + self.below

    def fraction(self, left: float, bottom: float, width: float, height: float) -> tuple[float, float, float, float]:
        return left / self.width, bottom / self.height, width / self.width, height / self.height

    def thumbnail(self, number: int, row: int) -> tuple[float, float]:
        """Lower left corner of a thumbnail; they are spread evenly below the charts."""
        spare = self.width - self.left - self.right - self.thumbnails * self.cell
        left = self.left + spare / 2 + number * self.cell
        return left, self.foot + (self.rows - 1 - row) * self.cell


def trend_figure(
    points: Sequence[TrendPoint],
    path: str | os.PathLike[str] | None = None,
    title: str = "",
    picture_format: Literal["png", "svg"] = "png",
) -> bytes:
    """Draw salient area and integrated residue against the date, and the radiographs and residues where given.

    Saliency masks that are to be compared need one fixed threshold: an adaptive one follows the residue's strength.
    A date without lungs has a hollow marker for the whole image and no part in the lines. Several radiographs of a day
    are a marker each; the line goes through their mean. Of more than ``MOST_THUMBNAILS`` radiographs that many are
    shown, evenly chosen, the first and the last among them.

    Args:
        points: of one patient, at least one, in any order.
        path: also write the picture there (atomically), as .png or .svg by its suffix.
        title: above the figure, the only text of the caller's; keep identifiers out of what leaves the house.
        picture_format: without a ``path``.

    Returns:
        The picture.

    Raises:
        ValueError: no points.
        InputError: a date that is none, or another suffix.
    """
    if not points:
        raise ValueError("points: expected at least one, got none")
    kind = picture_format if path is None else Path(path).suffix.lower().lstrip(".")
    if kind not in ("png", "svg"):
        raise InputError(f"{path}: expected a name ending in .png or .svg")
    ordered = in_order(points)
    shown = _evenly([point for point in ordered if point.image is not None or point.residue is not None])
    rows = [name for name in ("image", "residue") if any(getattr(point, name) is not None for point in shown)]
    layout = _Layout(len(shown), len(rows), bool(title))
    figure = Figure(figsize=(layout.width, layout.height), facecolor="white")
    FigureCanvasAgg(figure)
    charts = _draw_charts(figure, layout, ordered)
    if shown:
        _draw_thumbnails(figure, layout, charts[1], shown, rows)
    if title:
        _write(figure, layout, layout.left, layout.height - 0.3, title, fontsize=11, weight="bold", color=_INK)
    for line, words in enumerate(_footnotes(ordered, shown)):
        _write(figure, layout, layout.left, 0.1 + 0.15 * line, words, fontsize=7, color=_SOFT)
    picture = _rendered(figure, kind)
    if path is not None:
        with atomic_write(path) as partial:
            partial.write_bytes(picture)
    return picture


def _rendered(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "monai-dgm"}):  # the same points give the same file
        figure.savefig(buffer, format=kind, dpi=130, metadata={"Date": None} if kind == "svg" else None)
    return buffer.getvalue()


def _evenly(points: list[TrendPoint]) -> list[TrendPoint]:
    chosen = np.linspace(0, len(points) - 1, min(len(points), MOST_THUMBNAILS)).round().astype(int)
    return [points[i] for i in chosen]


def _footnotes(points: Sequence[TrendPoint], shown: Sequence[TrendPoint]) -> list[str]:
    """Lines below the figure, from the lowest."""
    notes = []
    if any(point.burden.region == "whole_image" for point in points):
        notes.append("Hollow: no lungs found, the whole image counts.")
    given = sum(point.image is not None or point.residue is not None for point in points)
    if len(shown) < given:
        notes.append(f"{len(shown)} of {given} radiographs shown.")
    residues = [point.residue for point in shown if point.residue is not None]
    if residues:
        notes.append(f"Residue in full colour at |a| = {residue_scale(residues):.2f}.")
    meaning = "Integrated residue: |a| over the area of the lungs, a in the image's scale of -1 to 1."
    return [words for words in (DISCLAIMER, " ".join(notes), meaning) if words]


def _write(figure: Figure, layout: _Layout, x: float, y: float, words: str, **style: Any) -> None:
    """Text at (x, y) inches; ``$`` is a dollar sign and not mathematics."""
    figure.text(x / layout.width, y / layout.height, words, **{"fontsize": 8, "parse_math": False, **style})


def _draw_charts(figure: Figure, layout: _Layout, points: Sequence[TrendPoint]) -> list[Axes]:
    days = [mdates.date2num(point.day) for point in points]
    margin = max(0.04 * (max(days) - min(days)), 3.0)  # so that ticks are whole days
    charts = []
    for number, (label, read) in enumerate(_quantities(points).items()):
        bottom = layout.below + (1 - number) * (layout.chart + layout.gap)
        axes = figure.add_axes(
            layout.fraction(layout.left, bottom, layout.width - layout.left - layout.right, layout.chart)
        )
        _draw_curves(axes, points, read)
        axes.set_xlim(min(days) - margin, max(days) + margin)
        axes.set_ylim(0, 1.1 * axes.dataLim.y1 or 1.0)  # 1 where all is 0
        axes.set_title(label, fontsize=8.5, loc="left", color=_INK, pad=4)
        axes.vlines(days, 0, 1, transform=axes.get_xaxis_transform(), color=_LINE, linewidth=0.7, zorder=0)
        axes.tick_params(labelsize=7.5, length=2.5, color=_SOFT, labelcolor=_SOFT, labelbottom=number == 1)
        locator = mdates.AutoDateLocator(minticks=3, maxticks=7)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(
            mdates.ConciseDateFormatter(locator, formats=_TICKS, zero_formats=_TICKS, show_offset=False)
        )
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        charts.append(axes)
    if len(charts[0].get_legend_handles_labels()[0]) > 1:
        charts[0].legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, fontsize=7.5, frameon=False)
    return charts


def _draw_curves(axes: Axes, points: Sequence[TrendPoint], read: Callable[[RegionBurden], float]) -> None:
    """Markers of every radiograph, and lines through the means of the days, in data coordinates."""
    with_lungs = [point for point in points if point.burden.region == "lung_mask"]
    whole = [point for point in points if point.burden.region == "whole_image"]
    for key, label, colour, width in _CURVES:
        regions = [
            (
                mdates.date2num(point.day),
                read(point.burden.total if key == "total" else point.burden.lungs[key]),
            )
            for point in with_lungs
        ]
        known = [(day, value) for day, value in regions if math.isfinite(value)]
        if known:
            means = [(day, np.mean([value for _, value in group])) for day, group in groupby(known, lambda x: x[0])]
            axes.plot(*zip(*means, strict=True), color=colour, linewidth=width, label=label, zorder=2)
            axes.plot(*zip(*known, strict=True), "o", color=colour, markersize=2 + width, zorder=3)
    if whole:
        hollow = [(mdates.date2num(point.day), read(point.burden.total)) for point in whole]
        axes.plot(*zip(*hollow, strict=True), "o", color=_INK, markerfacecolor="white", zorder=3, label="whole image")


def _draw_thumbnails(
    figure: Figure, layout: _Layout, chart: Axes, points: Sequence[TrendPoint], rows: Sequence[str]
) -> None:
    """Image and residue of each date, tied to its place on the time axis of ``chart``."""
    scale = residue_scale([point.residue for point in points if point.residue is not None])
    to_metric = figure.transFigure.inverted()
    top = layout.foot + layout.rows * layout.cell + layout.caption
    for number, point in enumerate(points):
        middle = layout.thumbnail(number, 0)[0] + layout.cell / 2
        x, y = to_metric.transform(chart.get_xaxis_transform().transform((mdates.date2num(point.day), 0.0)))
        tie = ((x, x, middle / layout.width), (y, y - 0.3 / layout.height, (top + 0.02) / layout.height))
        figure.add_artist(Line2D(*tie, color=_LINE, linewidth=0.7, zorder=0))
        _write(figure, layout, middle, top - 0.14, point.day.isoformat(), ha="center", fontsize=7.5, color=_INK)
        for row, name in enumerate(rows):
            plane, (left, bottom) = getattr(point, name), layout.thumbnail(number, row)
            axes = figure.add_axes(layout.fraction(left + 0.02, bottom + 0.02, layout.cell - 0.04, layout.cell - 0.04))
            axes.set_axis_off()
            if plane is not None:
                axes.imshow(_picture(name, plane, scale), interpolation="bilinear")
    for row, name in enumerate(rows):
        left, bottom = layout.thumbnail(0, row)
        _write(figure, layout, left - 0.06, bottom + layout.cell / 2, name, rotation=90, ha="right", va="center")
    for label in chart.get_xticklabels():  # over the ties
        label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1})


def _picture(name: str, plane: NDArray[np.float32], scale: float) -> NDArray[np.uint8]:
    colours = RESIDUE_COLOURS[residue_levels(plane, scale)] if name == "residue" else grey_levels(plane)[..., None]
    return np.broadcast_to(colours, (*plane.shape, 3))
