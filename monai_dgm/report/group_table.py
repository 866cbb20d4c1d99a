"""Metrics of an evaluation for each source, view and sex as a Markdown table, for model cards.

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
    """The rows of a report's ``metrics.json``: of a decomposer, a lung segmentor, a classifier or a detector.

    Of the methods in a detector's file, only the rows of the detector itself are read. Files of earlier versions, which
    say "figure" for "metric", are read as well.

    Raises:
        InputError: no such file, or one without rows as :func:`group_table` takes them.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        rows = content["rows"] if isinstance(content, dict) else content
        kept = [row for row in rows if row.get("method", "detector") == "detector"]
        named = [{**row, "name": row.get("name") or row.get("metric") or row["figure"]} for row in kept]
        for row in named:
            numbers = [row[name] for name in ("value", "low", "high", "num_images")]
            if not isinstance(row["group"], str) or not all(isinstance(n, int | float | None) for n in numbers):
                raise TypeError(f"{row['name']}: the group is no text, or a value is no number")
        return named
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: expected a report's metrics as JSON ({error})") from error


def group_table(rows: Sequence[Mapping[str, Any]], metrics: Mapping[str, str]) -> str:
    """A row for each group, a column for each metric: value, 95 % interval and number of images.

    Args:
        rows: with "name", "group", "value", "low", "high", "num_images"; a value of None or NaN is left empty.
        metrics: heading of the column by name of the metric.

    Raises:
        InputError: a metric that no row has.
    """
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for row in rows:
        found.setdefault((row["group"], row["name"]), row)
    for name in metrics:
        if all(known != name for _, known in found):
            raise InputError(f"metrics: expected names of the report, there is no {name}")
    lines = [f"| | {' | '.join(metrics.values())} |", "|---" * (len(metrics) + 1) + "|"]
    for group in dict.fromkeys(row["group"] for row in rows):
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
        InputError: metrics that are not name=heading, or what :func:`read_rows` and :func:`group_table` refuse.
    """
    metrics = {}
    for metric in arguments.metrics:
        name, equals, heading = metric.partition("=")
        if not name or not equals:
            raise InputError(f"metrics: expected name=heading, got {metric}")
        metrics[name] = heading
    print(group_table(read_rows(arguments.report), metrics), end="")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of :func:`group_table`; errors of the user are one line."""
    parser = argparse.ArgumentParser(prog="python -m monai_dgm.report.group_table", description=__doc__)
    parser.add_argument("report", help="metrics.json")
    parser.add_argument("metrics", nargs="+", help="name=heading")
    return exit_status(run, parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
