"""Training curves as inline SVG, small multiples: one small chart a quantity, related series in one chart."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

WIDTH, HEIGHT = 320, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 8, 22
COLOURS = ("#2563eb", "#e8590c", "#2f9e44", "#9c36b5", "#0c8599", "#a61e4d", "#5c5f66", "#e0a800")
_PARTNERS = {"normal": "abnormal", "abnormal": "normal", "real": "fake", "fake": "real"}
_MOST_POINTS = 300
_SMOOTH_FROM = 60


@dataclass(frozen=True)
class Series:
    """A named curve: its x and y, both (n,), finite points only, and how many points were not finite."""

    name: str
    x: np.ndarray[Any, np.dtype[np.float64]]
    y: np.ndarray[Any, np.dtype[np.float64]]
    num_lost: int = 0


@dataclass(frozen=True)
class Chart:
    """Series that share a chart: ``loss/total`` alone, ``collapse/d_output/real`` and ``.../fake`` together."""

    group: str
    title: str
    series: tuple[Series, ...]


def charts_of(history: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Charts of a history, in the order in which names first appear.

    A name ``group/quantity`` has a chart of its own; names ``group/quantity/part`` that differ in the last part only
    share one, and so do two that differ by normal and abnormal, or real and fake (``loss/real_score_0`` and
    ``loss/fake_score_0``). Names without a slash belong to the group "run". ``iteration`` is the x axis; ``epoch`` is
    not drawn.

    Args:
        history: points in time, ``{"iteration": int, "epoch": int, name: number, ...}``; names may be missing.
    """
    names: dict[str, list[tuple[float, float]]] = {}
    for index, point in enumerate(history):
        x = point.get("iteration", index)
        for name, value in point.items():
            if name not in ("iteration", "epoch") and isinstance(value, int | float) and not isinstance(value, bool):
                names.setdefault(name, []).append((float(x), float(value)))
    grouped: dict[tuple[str, str], list[Series]] = {}
    for name, points in names.items():
        group, title, part = _split(name, names)
        grouped.setdefault((group, title), []).append(_series(part, points))
    return [Chart(group, title, tuple(series)) for (group, title), series in grouped.items()]


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


def _series(name: str, points: Sequence[tuple[float, float]]) -> Series:
    table = np.array(points, dtype=np.float64).reshape(-1, 2)
    finite = np.isfinite(table).all(axis=1)
    return Series(name, table[finite, 0], table[finite, 1], int((~finite).sum()))


def chart_svg(chart: Chart) -> str:
    """Inline SVG of a chart; the curve is smoothed over a faint raw one where there are many points."""
    drawn = [series for series in chart.series if series.x.size]
    if not drawn:
        return f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}"><text x="50%" y="50%">no finite value</text></svg>'
    low_x, high_x = _range([series.x for series in drawn], robust=False)
    low_y, high_y = _range([series.y for series in drawn], robust=True)
    ticks_y = nice_ticks(low_y, high_y, 4)
    low_y, high_y = min(low_y, ticks_y[0]), max(high_y, ticks_y[-1])
    body = [_grid(ticks_y, low_y, high_y, nice_ticks(low_x, high_x, 4), low_x, high_x)]
    for i, series in enumerate(drawn):
        x = _LEFT + (series.x - low_x) / (high_x - low_x) * (WIDTH - _LEFT - _RIGHT)
        y = HEIGHT - _BOTTOM - (np.clip(series.y, low_y, high_y) - low_y) / (high_y - low_y) * (HEIGHT - _TOP - _BOTTOM)
        body.append(_curve(x, y, COLOURS[i % len(COLOURS)], series.name))
    label = escape(chart.title, quote=True)
    return f'<svg class="chart" role="img" aria-label="{label}" viewBox="0 0 {WIDTH} {HEIGHT}">{"".join(body)}</svg>'


def _curve(x: Any, y: Any, colour: str, name: str) -> str:
    title = f"<title>{escape(name)}</title>"
    if x.size == 1:
        return f'<circle cx="{x[0]:.1f}" cy="{y[0]:.1f}" r="2.5" fill="{colour}">{title}</circle>'
    raw_x, raw_y = _thin(x), _thin(y)
    if x.size < _SMOOTH_FROM:
        return f'<polyline class="line" stroke="{colour}" points="{_points(raw_x, raw_y)}">{title}</polyline>'
    window = max(3, x.size // 40)
    smooth = _thin(_running_mean(y, window))
    return (
        f'<polyline class="raw" stroke="{colour}" points="{_points(raw_x, raw_y)}"/>'
        f'<polyline class="line" stroke="{colour}" points="{_points(raw_x, smooth)}">{title}</polyline>'
    )


def _running_mean(y: Any, window: int) -> Any:
    """Centred mean over ``window`` points, over fewer at the ends."""
    weights = np.ones(window)
    return np.convolve(y, weights, "same") / np.convolve(np.ones_like(y), weights, "same")


def _thin(values: Any) -> Any:
    """At most ``_MOST_POINTS`` values: means of equal stretches."""
    if values.size <= _MOST_POINTS:
        return values
    return np.array([part.mean() for part in np.array_split(values, _MOST_POINTS)])


def _points(x: Any, y: Any) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


def _range(parts: Sequence[Any], robust: bool) -> tuple[float, float]:
    """Lowest and highest value; ``robust`` leaves out the first spikes of a training (1 % on either side)."""
    values = np.concatenate(parts)
    low, high = float(values.min()), float(values.max())
    if robust and values.size > 100:
        inner_low, inner_high = (float(value) for value in np.quantile(values, [0.01, 0.99]))
        margin = 0.5 * (inner_high - inner_low)
        low, high = max(low, inner_low - margin), min(high, inner_high + margin)
    if high - low < 1e-12 * max(1.0, abs(high)):
        pad = 0.5 * abs(high) or 0.5
        return low - pad, high + pad
    return low, high


def nice_ticks(low: float, high: float, count: int) -> list[float]:
    """About ``count`` round numbers that span [low, high]."""
    raw = (high - low) / count
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = magnitude * next((m for m in (1, 2, 2.5, 5, 10) if m * magnitude >= raw * 0.999), 10)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _grid(
    ticks_y: Sequence[float], low_y: float, high_y: float, ticks_x: Sequence[float], low_x: float, high_x: float
) -> str:
    lines = []
    for tick in ticks_y:
        y = HEIGHT - _BOTTOM - (tick - low_y) / (high_y - low_y) * (HEIGHT - _TOP - _BOTTOM)
        kind = "zero" if tick == 0 else "grid"
        lines.append(f'<line class="{kind}" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text class="y" x="{_LEFT - 5}" y="{y + 3:.1f}">{_short(tick)}</text>')
    for tick in ticks_x:
        if low_x <= tick <= high_x:
            x = _LEFT + (tick - low_x) / (high_x - low_x) * (WIDTH - _LEFT - _RIGHT)
            lines.append(f'<text class="x" x="{x:.1f}" y="{HEIGHT - 6}">{_short(tick)}</text>')
    return "".join(lines)


def _short(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value / 1000:g}k"
    return f"{value:.3g}".replace("-", "−")


def charts_html(history: Sequence[Mapping[str, Any]]) -> str:
    """All charts, a heading a group; empty when nothing was recorded."""
    groups: dict[str, list[Chart]] = {}
    for chart in charts_of(history):
        groups.setdefault(chart.group, []).append(chart)
    parts = []
    for group, charts in groups.items():
        cells = "".join(f"<figure>{_caption(chart)}{chart_svg(chart)}</figure>" for chart in charts)
        parts.append(f'<h3>{escape(group.replace("_", " "))}</h3><div class="charts">{cells}</div>')
    return "".join(parts)


def _caption(chart: Chart) -> str:
    """Title, and each series' name and last value in its colour."""
    drawn = [series for series in chart.series if series.x.size]
    alone = len(chart.series) == 1 and chart.series[0].name == chart.title
    legend = []
    for i, series in enumerate(drawn):
        name = "" if alone else f"{escape(series.name.replace('_', ' '))} "
        legend.append(f'<span style="color:{COLOURS[i % len(COLOURS)]}">{name}<b>{series.y[-1]:.4g}</b></span>')
    return f"<figcaption>{escape(chart.title.replace('_', ' '))}<span>{' '.join(legend)}</span></figcaption>"


def lost_points(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """A warning for every quantity that was NaN or infinite at some point."""
    return [
        f"{chart.group}/{chart.title} ({series.name}): {series.num_lost} points are not finite"
        for chart in charts_of(history)
        for series in chart.series
        if series.num_lost
    ]
