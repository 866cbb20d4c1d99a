"""Active learning as curves: the figure of a model against the number of corrected images, by strategy."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from monai_dgm.utils.atomic import atomic_write

__all__ = ["curves", "draw_curves", "reached_at", "table_of"]

FloatArray = NDArray[np.float64]


def curves(rows: Sequence[Mapping[str, Any]], figure: str = "ap") -> dict[str, tuple[FloatArray, FloatArray]]:
    """By strategy: numbers of corrected images (R,), and the figure of each seed (seeds, R), NaN where it is missing.

    Args:
        rows: with "seed", "strategy", "corrected_images" and the figure.
        figure: its name.
    """
    found = {}
    for strategy in dict.fromkeys(row["strategy"] for row in rows):
        own = [row for row in rows if row["strategy"] == strategy]
        counts = np.array(sorted({row["corrected_images"] for row in own}), dtype=np.float64)
        seeds = sorted({row["seed"] for row in own})
        table = {(row["seed"], row["corrected_images"]): row[figure] for row in own}
        values = [[table.get((seed, count), np.nan) for count in counts] for seed in seeds]
        found[strategy] = counts, np.array(values, dtype=np.float64)
    return found


def reached_at(counts: FloatArray, values: FloatArray, goal: float) -> float:
    """The number of images at which a curve first reaches ``goal``, between two rounds by the line; NaN where never."""
    for place in range(len(values)):
        if values[place] >= goal:
            if place == 0:
                return float(counts[0])
            share = (goal - values[place - 1]) / (values[place] - values[place - 1])
            return float(counts[place - 1] + share * (counts[place] - counts[place - 1]))
    return float("nan")


def table_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Mean AP (standard deviation over seeds) as Markdown, and how many corrections reach random's last AP."""
    found = curves(rows)
    counts = sorted({int(count) for numbers, _ in found.values() for count in numbers})
    lines = ["| corrected images | " + " | ".join(found) + " |", "|---" * (len(found) + 1) + "|"]
    for count in counts:
        cells = []
        for numbers, values in found.values():
            column = values[:, numbers == count].ravel()
            std = f" ({column.std(ddof=1):.3f})" if column.size > 1 else ""
            cells.append(f"{column.mean():.3f}{std}" if column.size else "")
        lines.append(f"| {count} | " + " | ".join(cells) + " |")
    if "random" in found:
        numbers, values = found["random"]
        goal = float(values.mean(axis=0)[-1])
        for strategy, (own, metrics) in found.items():
            reached = reached_at(own, metrics.mean(axis=0), goal)
            words = "does not reach it" if np.isnan(reached) else f"reaches it with {reached:.0f}"
            lines.append(f"\n{strategy}: random's last AP, {goal:.3f} with {numbers[-1]:.0f} corrections; {words}.")
    return "\n".join(lines) + "\n"


def draw_curves(rows: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> None:
    """Mean AP by strategy, one standard deviation beside it, seeds as thin lines."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    for place, (strategy, (counts, values)) in enumerate(curves(rows).items()):
        mean, std = values.mean(axis=0), values.std(axis=0)
        axes.plot(counts, mean, marker="o", color=f"C{place}", label=strategy)
        axes.fill_between(counts, mean - std, mean + std, color=f"C{place}", alpha=0.15, linewidth=0)
        axes.plot(counts, values.T, color=f"C{place}", alpha=0.35, linewidth=0.7)
    axes.set_xlabel("corrected images")
    axes.set_ylabel("AP, mean over IoU 0.40 to 0.75")
    axes.legend()
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=150)
