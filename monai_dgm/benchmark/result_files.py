"""The benchmark's tables as CSV, LaTeX and JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_dgm.benchmark.results import METRICS, Comparison, Estimate, Results
from monai_dgm.benchmark.tables import BenchmarkTable
from monai_dgm.report.table_files import (
    latex_escaped,
    latex_frame,
    latex_line,
    latex_small,
    plain_number,
    slug,
    without_nan,
    write_rows,
)
from monai_dgm.utils import atomic

__all__ = ["interval_text", "value_text", "write_csv", "write_json", "write_latex"]


def value_text(estimate: Estimate | None) -> str:
    """ "0.412 ± 0.021", the deviation over seeds where there are several; a dash where there is no value."""
    if estimate is None or not math.isfinite(estimate.mean):
        return "–"
    digits = 1 if abs(estimate.mean) >= 10 else 3
    spread = f" ± {estimate.sd:.{digits}f}" if math.isfinite(estimate.sd) else ""
    return f"{estimate.mean:.{digits}f}{spread}".replace("-", "−")


def interval_text(low: float, high: float) -> str:
    """ "[0.401, 0.423]"; empty where there is none."""
    if not math.isfinite(low):
        return ""
    digits = 1 if max(abs(low), abs(high)) >= 10 else 3
    return f"[{low:.{digits}f}, {high:.{digits}f}]".replace("-", "−")


def write_csv(tables: Sequence[BenchmarkTable], results: Results, origins: dict[str, str], folder: Path) -> None:
    """``metrics.csv`` and ``differences.csv``: one row a value.

    Args:
        tables: of :func:`monai_dgm.benchmark.tables.make_tables`.
        results: for the differences.
        origins: name of a system -> its weights with their SHA-256.
        folder: of the files.
    """
    rows = [
        {
            "table": table.key, "test_set": table.test_set, "group": table.group, "system": row.name,
            "title": row.title, "metric": metric, "better": METRICS[metric]["better"],
            "mean": plain_number(own.mean), "sd": plain_number(own.sd), "low": plain_number(own.low),
            "high": plain_number(own.high), "seeds": len(own.seeds), "values": " ".join(map(plain_number, own.values)),
            "num_images": own.num_images, "num_patients": own.num_patients, "weights": origins.get(row.name, ""),
        }
        for table in tables
        for row in table.rows
        for metric, own in zip(table.metrics, row.estimates, strict=True)
        if own is not None
    ]  # fmt: skip
    write_rows(folder / "metrics.csv", rows)
    write_rows(folder / "differences.csv", [_difference(one) for one in results.comparisons])


def _difference(one: Comparison) -> dict[str, Any]:
    return {
        "ours": one.ours, "other": one.other, "test_set": one.test_set, "group": one.group, "metric": one.metric,
        "difference": plain_number(one.difference), "low": plain_number(one.low), "high": plain_number(one.high),
        "p": plain_number(one.p_value), "verdict": one.verdict, "seeds": one.seeds, "num_images": one.num_images,
        "num_patients": one.num_patients,
    }  # fmt: skip


def write_latex(tables: Sequence[BenchmarkTable], description: str, folder: Path) -> None:
    """One file a table, for ``\\usepackage{booktabs}``: mean and deviation over seeds, interval over patients below."""
    for table in tables:
        body = []
        for row in table.rows:
            cells = []
            for one, best in zip(row.estimates, table.best, strict=True):
                text = value_text(one)
                cells.append(f"\\textbf{{{text}}}" if best == row.name else text)
            body.append(latex_line([latex_escaped(row.title), *cells]))
            bounds = [latex_small(interval_text(e.low, e.high)) if e else "" for e in row.estimates]
            body.append(latex_line(["", *bounds]))
        words = latex_escaped(table.title) + ". Mean $\\pm$ deviation over seeds, 95\\,\\% interval over patients"
        heads = ["System", *(latex_escaped(METRICS[metric]["label"]) for metric in table.metrics)]
        text = f"% {description}\n" + latex_frame(words, heads, body)
        atomic.write_text(folder / f"{slug(table.key)}.tex", text)


def write_json(
    tables: Sequence[BenchmarkTable], results: Results, settings: dict[str, Any], costs: dict[str, Any], path: Path
) -> None:
    """Everything that the report shows, as JSON."""
    content = {
        **settings,
        "costs": costs,
        "metrics": [
            {
                "name": metric, "group": f"{row.name}@{table.test_set}@{table.group}", "value": own.mean, "sd": own.sd,
                "low": own.low, "high": own.high, "seeds": len(own.seeds), "num_images": own.num_images,
                "num_patients": own.num_patients,
            }
            for table in tables
            for row in table.rows
            for metric, own in zip(table.metrics, row.estimates, strict=True)
            if own is not None
        ],
        "differences": [_difference(one) for one in results.comparisons],
    }  # fmt: skip
    atomic.write_json(path, without_nan(content, digits=6))
