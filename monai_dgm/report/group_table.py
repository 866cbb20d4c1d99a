"""Figures of an evaluation by source, view and sex as a Markdown table, for model cards.

python -m monai_dgm.report.group_table REPORT.json "head_auc=AUC of the head" "normal_ssim=SSIM of y', normal"
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_dgm.errors import InputError
from monai_dgm.utils.command import exit_status

__all__ = ["group_table", "read_rows"]


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """The rows of a report: ``metrics.json``, or the ``metrics.json`` of classifiers and detectors.

    Of a detector's methods, its own; of a classifier's positive labels, the model's own.

    Raises:
        InputError: no such file, or one without rows as :func:`group_table` takes them.
    """
    try:
        held = json.loads(Path(path).read_text(encoding="utf-8"))
        rows = held["rows"] if isinstance(held, dict) else held
        kept = [row for row in rows if row.get("method", "detector") == "detector"]
        named = [{**row, "name": row.get("name") or row.get("metric") or row["figure"]} for row in kept]
        for row in named:
            numbers = [row[name] for name in ("value", "low", "high", "num_images")]
            if not isinstance(row["group"], str) or not all(isinstance(n, int | float | None) for n in numbers):
                raise TypeError(f"{row['name']}: no words for the group, or no numbers")
        return named
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: expected a report's figures as JSON ({error})") from error


def group_table(rows: Sequence[Mapping[str, Any]], metrics: Mapping[str, str]) -> str:
    """A row for each group, a column for each figure: value, 95 % interval and number of images.

    Args:
        rows: with "name", "group", "value", "low", "high", "num_images"; a value of None or NaN is left empty.
        figures: names and their words.

    Raises:
        InputError: a figure that there is not.
    """
    for name in metrics:
        if all(row["name"] != name for row in rows):
            raise InputError(f"metrics: expected names of the report, there is no {name}")
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for row in rows:
        found.setdefault((row["group"], row["name"]), row)
    groups = [
        group for group in dict.fromkeys(row["group"] for row in rows) if any((group, n) in found for n in metrics)
    ]
    lines = [f"| | {' | '.join(metrics.values())} |", "|---" * (len(metrics) + 1) + "|"]
    for group in groups:
        cells = [_cell(found.get((group, name))) for name in metrics]
        if any(cells):
            lines.append(f"| {group.replace(':', ' ')} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None or row["value"] is None or row["value"] != row["value"]:
        return ""
    known = row["low"] is not None and row["low"] == row["low"]
    bounds = f" [{row['low']:.3f}, {row['high']:.3f}]" if known else ""
    return f"{row['value']:.3f}{bounds}, {row['num_images']}"


def run(arguments: argparse.Namespace) -> None:
    """Print the table.

    Raises:
        InputError: figures that are not name=words, or what :func:`read_rows` and :func:`group_table` refuse.
    """
    metrics = {}
    for figure in arguments.metrics:
        name, equals, words = figure.partition("=")
        if not name or not equals:
            raise InputError(f"metrics: expected name=words, got {figure}")
        metrics[name] = words
    print(group_table(read_rows(arguments.report), metrics), end="")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of :func:`group_table`; errors of the user are one line."""
    parser = argparse.ArgumentParser(prog="python -m monai_dgm.report.group_table", description=__doc__)
    parser.add_argument("report")
    parser.add_argument("metrics", nargs="+", help="name=words")
    return exit_status(run, parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
