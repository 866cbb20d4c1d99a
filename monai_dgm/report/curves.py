"""Training curves as small charts, one for each quantity; related series share a chart. Drawn by matplotlib as SVG."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

COLOURS = ("#2563eb", "#e8590c", "#2f9e44", "#9c36b5", "#0c8599", "#a61e4d", "#5c5f66", "#e0a800")
_PARTNERS = {"normal": "abnormal", "abnormal": "normal", "real": "fake", "fake": "real"}
_MOST_POINTS = 300
_SMOOTH_FROM = 60  # curves of fewer points are drawn as they are

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """A named curve.

    Attributes:
        name: shown in the caption.
        x, y: float64 (n,), the finite points only.
        num_lost: points that were left out because they were not finite.
    """

    name: str
    x: Values
    y: Values
    num_lost: int = 0


@dataclass(frozen=True)
class Chart:
    """Series that share a chart: ``loss/total`` alone, ``collapse/d_output/real`` and ``.../fake`` together."""

    group: str
    title: str
    series: tuple[Series, ...]


def charts_of(history: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Charts of a training history, in the order in which names first appear.

    A name ``group/quantity`` has a chart of its own. Names ``group/quantity/part`` that differ in the last part share
    one, and so do two that differ by normal and abnormal, or by real and fake (``loss/real_score_0`` and
    ``loss/fake_score_0``). Names without a slash belong to the group "run". ``iteration`` is the x axis; ``epoch`` is
    not drawn.

    Args:
        history: one mapping per point in time, ``{"iteration": int, "epoch": int, name: number, ...}``; a name may be
            missing at some points.
    """
    points: dict[str, list[tuple[float, float]]] = {}
    for index, row in enumerate(history):
        x = row.get("iteration", index)
        for name, value in row.items():
            if name not in ("iteration", "epoch") and isinstance(value, int | float) and not isinstance(value, bool):
                points.setdefault(name, []).append((float(x), float(value)))
    charts: dict[tuple[str, str], list[Series]] = {}
    for name, pairs in points.items():
        group, title, part = _split(name, points)
        table = np.array(pairs, dtype=np.float64)
        finite = np.isfinite(table).all(axis=1)
        series = Series(part, table[finite, 0], table[finite, 1], int((~finite).sum()))
        charts.setdefault((group, title), []).append(series)
    return [Chart(group, title, tuple(series)) for (group, title), series in charts.items()]


def _split(name: str, names: Collection[str]) -> tuple[str, str, str]:
    """Group, chart title and series name of one of ``names``."""
    parts = name.split("/")
    if len(parts) > 2:
        return parts[0], " ".join(parts[1:-1]), parts[-1]
    group, quantity = ("run", name) if len(parts) == 1 else (parts[0], parts[1])
    words = quantity.split("_")
    for i, word in enumerate(words):
        partner = "_".join([*words[:i], _PARTNERS.get(word, ""), *words[i + 1 :]])
        if word in _PARTNERS and "/".join([*parts[:-1], partner]) in names and len(words) > 1:
            return group, "_".join([*words[:i], *words[i + 1 :]]), word
    return group, quantity, quantity


def draw_charts(charts: Iterable[Chart]) -> Iterator[bytes]:
    """An SVG file of each chart; a long curve is smoothed, with the raw one behind it in a faint colour.

    All are drawn on the same axes: to make axes takes longer than to draw on them.
    """
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2, 1.7))
    axes = figure.add_axes((0.16, 0.12, 0.77, 0.78))  # room for tick labels of eight digits
    axes.spines[:].set_visible(False)
    axes.grid(axis="y", color="#eceff3")
    axes.tick_params(labelsize=7, length=0, colors="#7b8491")
    axes.yaxis.get_offset_text().set_fontsize(7)
    axes.locator_params(nbins=5)
    axes.margins(x=0.01)
    for chart in charts:
        artists = _draw(axes, [series for series in chart.series if series.x.size])
        buffer = io.BytesIO()
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "monai-dgm", "font.family": "sans-serif"}):
            figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        yield buffer.getvalue()
        for artist in artists:
            artist.remove()
        axes.relim()


def _draw(axes: Axes, drawn: Sequence[Series]) -> list[Artist]:
    artists: list[Artist] = []
    for series, colour in zip(drawn, COLOURS * len(drawn), strict=False):
        x, y = _thin(series.x), _thin(series.y)
        if series.x.size >= _SMOOTH_FROM:
            artists += axes.plot(x, y, color=colour, linewidth=0.8, alpha=0.28)
            y = _thin(_running_mean(series.y, max(3, series.x.size // 40)))
        artists += axes.plot(x, y, color=colour, linewidth=1.4, marker="o" if len(x) == 1 else None, markersize=3)
    if drawn:
        axes.set_ylim(*_vertical_range(np.concatenate([series.y for series in drawn])))
        return artists
    axes.set_xlim(0, 1, auto=True)
    axes.set_ylim(0, 1)
    return [axes.text(0.5, 0.5, "no finite value", ha="center", va="center", transform=axes.transAxes, fontsize=8)]


def _running_mean(y: Values, window: int) -> Values:
    """Centred mean over ``window`` points, over fewer at the ends."""
    weights = np.ones(window)
    return np.convolve(y, weights, "same") / np.convolve(np.ones_like(y), weights, "same")


def _thin(values: Values) -> Values:
    """At most ``_MOST_POINTS`` values: means of equally long parts."""
    if values.size <= _MOST_POINTS:
        return values
    return np.array([part.mean() for part in np.array_split(values, _MOST_POINTS)])


def _vertical_range(values: Values) -> tuple[float, float]:
    """Limits of the y axis; the spikes at the start of a long training are cut off (1 % on either side)."""
    low, high = float(values.min()), float(values.max())
    if values.size > 100:
        inner_low, inner_high = (float(value) for value in np.quantile(values, [0.01, 0.99]))
        margin = 0.5 * (inner_high - inner_low)
        low, high = max(low, inner_low - margin), min(high, inner_high + margin)
    margin = 0.05 * (high - low) if high - low > 1e-12 * max(1.0, abs(high)) else 0.5 * abs(high) or 0.5
    return low - margin, high + margin


def nonfinite_warnings(charts: Sequence[Chart]) -> list[str]:
    """A warning for every quantity that was NaN or infinite at some point."""
    return [
        f"{chart.group}/{chart.title} ({series.name}): {series.num_lost} points are not finite"
        for chart in charts
        for series in chart.series
        if series.num_lost
    ]
