"""Figures of the benchmark: who wins what, and panels as the paper's Fig. 5 and 6."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_dgm.benchmark.judge import Prediction
from monai_dgm.benchmark.results import METRICS, REALISM, Results, badness
from monai_dgm.benchmark.tables import glance_columns
from monai_dgm.benchmark.test_sets import TestSet
from monai_dgm.report.colours import RESIDUE_COLOURS, grey_levels, residue_levels, residue_scale
from monai_dgm.transforms.boxes import box_of_mask

__all__ = ["choose_images", "glance_figure", "panels_figure"]

_PLACES = {"simulator": "simulator", "inserted": "inserted", REALISM: "realism"}
_BEST, _WORST = np.array([0.16, 0.45, 0.71]), np.array([0.94, 0.96, 0.98])
_CELL = 1.25  # inches of a panel's cell


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=130)
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Any) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def glance_figure(results: Results) -> bytes:
    """Systems by metrics as PNG: darker is a better rank; the best is bold, with a ring where others differ clearly.

    A best value has a ring where its interval excludes the mean of the second.
    """
    systems = [one for one in results.judged if not one.is_reference]
    columns = glance_columns(results)
    figure = _figure(3.1 + 0.92 * len(columns), 1.7 + 0.36 * len(systems))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    left, top = 3.0, len(systems)
    for x, (test_set, group, metric) in enumerate(columns):
        place = _PLACES.get(test_set) or group.removeprefix("source: ").replace("_", "\n")
        arrow = {"higher": "↑", "lower": "↓", "one": "→1", "half": "→½"}[METRICS[metric]["better"]]
        axes.text(left + x + 0.5, top + 1.05, place, ha="center", va="bottom", fontsize=7.5, color="#5b6470")
        words = METRICS[metric]["label"].replace(" ", "\n", 1)
        axes.text(left + x + 0.5, top + 0.12, f"{words} {arrow}", ha="center", va="bottom", fontsize=7.5)
        _glance_column(axes, results, [one.name for one in systems], (test_set, group, metric), left + x)
    for y, one in enumerate(systems):
        axes.text(left - 0.15, top - y - 0.5, one.title, ha="right", va="center", fontsize=8.5)
    axes.set_xlim(0, left + len(columns) + 0.1)
    axes.set_ylim(-0.15, top + 2.6)
    return _png(figure)


def _glance_column(axes: Any, results: Results, names: Sequence[str], column: tuple[str, str, str], x: float) -> None:
    from matplotlib.patches import Rectangle

    metric = column[2]
    keys = {name: (name, *column) for name in names}
    found = {name: results.estimates[key] for name, key in keys.items() if key in results.estimates}
    means = {name: estimate.mean for name, estimate in found.items() if math.isfinite(estimate.mean)}
    ranked = sorted(means, key=lambda name: badness(metric, means[name]))
    for y, name in enumerate(names):
        bottom = len(names) - y - 1
        if name not in means:
            axes.text(x + 0.5, bottom + 0.5, "–", ha="center", va="center", fontsize=8, color="#98a2af")
            continue
        share = ranked.index(name) / max(1, len(ranked) - 1)
        colour = (1 - share) * _BEST + share * _WORST
        axes.add_patch(Rectangle((x + 0.02, bottom + 0.03), 0.96, 0.94, facecolor=colour, edgecolor="none"))
        first = name == ranked[0]
        bounds = found[name].low, found[name].high
        clear = first and len(ranked) > 1 and not bounds[0] <= means[ranked[1]] <= bounds[1]
        if clear:
            ring = Rectangle((x + 0.05, bottom + 0.07), 0.9, 0.86, fill=False, edgecolor="#f08c00", linewidth=1.8)
            axes.add_patch(ring)
        text = f"{means[name]:.1f}" if abs(means[name]) >= 10 else f"{means[name]:.3f}"
        ink, weight = ("white" if share < 0.45 else "#1b1f24"), ("bold" if first else "normal")
        axes.text(x + 0.5, bottom + 0.5, text, ha="center", va="center", fontsize=8, color=ink, weight=weight)


def choose_images(test_set: TestSet, count: int = 4) -> NDArray[np.int64]:
    """Images with boxes to show, of all sources in turn, those of medium area first: no choice by result."""
    marked = np.flatnonzero(test_set.complete & (test_set.labels == 1))
    area = test_set.areas.mean(axis=(1, 2))
    queues = []
    for source in sorted(set(test_set.sources[marked].tolist())):
        own = marked[test_set.sources[marked] == source]
        queues.append(own[np.argsort(np.abs(area[own] - np.median(area[own])), kind="stable")].tolist())
    chosen: list[int] = []
    while len(chosen) < min(count, len(marked)):
        chosen += [queue.pop(0) for queue in queues if queue]
    return np.array(chosen[:count], np.int64)


def panels_figure(test_set: TestSet, predictions: Mapping[str, Prediction], residues: bool) -> bytes:
    """Input with boxes, then every system's residue (Fig. 5) or normal image (Fig. 6); one scale for all residues.

    Args:
        test_set: the real images.
        predictions: title -> of a system.
        residues: whether residues are shown, or normal images.
    """
    from matplotlib.patches import Rectangle
    from scipy.ndimage import find_objects, label

    chosen = choose_images(test_set)
    shape = (max(1, len(chosen)), len(predictions) + 1)
    figure = _figure(_CELL * shape[1], _CELL * shape[0] + 0.45)
    scale = residue_scale([p.residues[i] for p in predictions.values() for i in chosen]) if len(chosen) else 1.0
    height = shape[0] * _CELL / (shape[0] * _CELL + 0.45)
    for row, index in enumerate(chosen):
        pictures = [grey_levels(test_set.images[index])[..., None].repeat(3, axis=-1)]
        for one in predictions.values():
            own = one.residues[index]
            shown = RESIDUE_COLOURS[residue_levels(own, scale)]
            pictures.append(shown if residues else grey_levels(one.normals[index])[..., None].repeat(3, axis=-1))
        for column, (title, picture) in enumerate(zip(("input", *predictions), pictures, strict=True)):
            place = (column / shape[1] + 0.003, height * (1 - (row + 1) / shape[0]) + 0.003)
            axes = figure.add_axes((*place, 1 / shape[1] - 0.006, height / shape[0] - 0.006))
            axes.imshow(picture, interpolation="nearest")
            axes.set_axis_off()
            if row == 0:
                axes.set_title(title.replace(", ", ",\n"), fontsize=7, pad=3)
            if column == 0:
                parts, _ = label(test_set.areas[index])
                for number, _ in enumerate(find_objects(parts), 1):
                    box = box_of_mask(parts == number)
                    if box is not None:
                        size = (float(box[2] - box[0]), float(box[3] - box[1]))
                        corner = (float(box[0]) - 0.5, float(box[1]) - 0.5)
                        axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor="#ff4fa3", linewidth=1.2))
    return _png(figure)
