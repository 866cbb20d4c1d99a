"""The scores as text, CSV and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_dgm.metrics.intervals import Interval
from monai_dgm.reader_study.scores import Estimate, SystemScore
from monai_dgm.report.table_files import plain_number, without_nan, write_rows
from monai_dgm.utils.atomic import write_json, write_text

_ESTIMATES = ("score", "win_rate", "strength")


def score_text(scores: Sequence[SystemScore], agreement: dict[str, Any], drop_out: dict[str, Any]) -> str:
    """A table for the terminal, best system first, and what to know about the readers."""
    lines = [f"{'system':<16}{'n':>6}  {'score (ceiling)':<30}{'win rate':<26}Bradley-Terry strength"]
    for one in sorted(scores, key=lambda one: -one.strength.value):
        score = f"{_percent(one.score)} ({100 * one.ceiling:.1f})"
        strength = f"{one.strength.value:+.2f} [{one.strength.interval.low:+.2f}, {one.strength.interval.high:+.2f}]"
        lines.append(f"{one.system:<16}{one.comparisons:>6}  {score:<30}{_percent(one.win_rate):<26}{strength}")
    between, oneself, left = (agreement[name] for name in ("between_readers", "with_oneself", "left"))
    lines += [
        "",
        "score: % of all comparisons won; ceiling: % in which the system was shown",
        "95 % intervals by bootstrap over readers and images",
        f"mean score: {100 * sum(one.score.value for one in scores) / len(scores):.1f} %",
        f"agreement between readers: {_share(between)}, kappa {between['kappa']:.2f}",
        f"agreement with oneself on catch trials: {_share(oneself)}",
        f"left chosen: {_share(left)}",
        f"readers: {drop_out['began']} began, {drop_out['finished']} finished all {drop_out['trials']} trials",
    ]
    if drop_out["began"] == 1:
        lines.append("one reader: the intervals say nothing about other readers")
    lines += [f"  {reader}: {number}" for reader, number in drop_out["answered"].items() if number < drop_out["trials"]]
    if drop_out["damaged_lines"]:
        lines.append(f"lines of answers that could not be read and were left out: {drop_out['damaged_lines']}")
    return "\n".join(lines)


def write_scores(
    folder: Path, scores: Sequence[SystemScore], agreement: dict[str, Any], drop_out: dict[str, Any]
) -> None:
    """Write ``scores.txt``, ``scores.csv`` and ``scores.json`` into ``folder``, each aside, then renamed."""
    rows = []
    for one in scores:
        row: dict[str, Any] = {
            "system": one.system,
            "comparisons": one.comparisons,
            "ceiling": plain_number(one.ceiling),
        }
        for name in _ESTIMATES:
            estimate: Estimate = getattr(one, name)
            row[name] = plain_number(estimate.value)
            row |= {f"{name}_{end}": plain_number(getattr(estimate.interval, end)) for end in ("low", "high")}
        rows.append(row)
    write_rows(folder / "scores.csv", rows)
    systems = [
        {"system": one.system, "comparisons": one.comparisons, "ceiling": one.ceiling}
        | {name: _values(getattr(one, name)) for name in _ESTIMATES}
        for one in scores
    ]
    content = without_nan({"systems": systems, "agreement": agreement, "readers": drop_out})
    write_json(folder / "scores.json", content)
    write_text(folder / "scores.txt", score_text(scores, agreement, drop_out) + "\n")


def _values(estimate: Estimate) -> dict[str, float]:
    bounds: Interval = estimate.interval
    return {"value": estimate.value, "low": bounds.low, "high": bounds.high}


def _percent(estimate: Estimate) -> str:
    low, high = (100 * bound for bound in (estimate.interval.low, estimate.interval.high))
    return f"{100 * estimate.value:.1f} [{low:.1f}, {high:.1f}]"


def _share(part: dict[str, Any]) -> str:
    return f"{100 * part['share']:.1f} % of {part['n']}" if part["n"] else "nothing to compare"
