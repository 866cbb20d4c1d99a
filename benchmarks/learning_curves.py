"""Active learning as curves: a metric against the number of corrected images, for each strategy."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_dgm.utils.atomic import atomic_write

__all__ = ["curves", "draw_curves", "reached_at", "table_of"]

FloatArray = NDArray[np.float64]


def curves(rows: Sequence[Mapping[str, Any]], metric: str = "ap") -> dict[str, tuple[FloatArray, FloatArray]]:
    """For each strategy: numbers of corrected images (R,), and the metric of each seed (seeds, R), NaN where missing.

    Args:
        rows: with "seed", "strategy", "corrected_images" and the metric.
        metric: its name.
    """
    found = {}
    for strategy in dict.fromkeys(row["strategy"] for row in rows):
        own = [row for row in rows if row["strategy"] == strategy]
        counts = np.array(sorted({row["corrected_images"] for row in own}), dtype=np.float64)
        seeds = sorted({row["seed"] for row in own})
        table = {(row["seed"], row["corrected_images"]): row[metric] for row in own}
        values = [[table.get((seed, count), np.nan) for count in counts] for seed in seeds]
        found[strategy] = counts, np.array(values, dtype=np.float64)
    return found


def reached_at(counts: FloatArray, values: FloatArray, goal: float) -> float:
    """Number of images at which a curve (R,) first reaches ``goal``, linear between rounds; NaN where it never does."""
    above = np.flatnonzero(values >= goal)
    if not above.size:
        return float("nan")
    index = int(above[0])
    if index == 0:
        return float(counts[0])
    share = (goal - values[index - 1]) / (values[index] - values[index - 1])
    return float(counts[index - 1] + share * (counts[index] - counts[index - 1]))


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
    """Mean AP of each strategy with one standard deviation as a band; seeds as thin lines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    for index, (strategy, (counts, values)) in enumerate(curves(rows).items()):
        mean, std = values.mean(axis=0), values.std(axis=0)
        axes.plot(counts, mean, marker="o", color=f"C{index}", label=strategy)
        axes.fill_between(counts, mean - std, mean + std, color=f"C{index}", alpha=0.15, linewidth=0)
        axes.plot(counts, values.T, color=f"C{index}", alpha=0.35, linewidth=0.7)
    axes.set_xlabel("corrected images")
    axes.set_ylabel("AP, mean over IoU 0.40 to 0.75")
    axes.legend()
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=150)
