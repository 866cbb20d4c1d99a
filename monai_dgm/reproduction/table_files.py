"""Tables 4 to 7 as CSV, one row for each cell with its origin, and as LaTeX in the paper's layout."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_dgm.jobs.dataset_info import DatasetInfo
from monai_dgm.jobs.job_record import JobRecord
from monai_dgm.report.table_files import (
    latex_escaped,
    latex_frame,
    latex_line,
    latex_small,
    plain_number,
    slug,
    write_rows,
)
from monai_dgm.reproduction.paper_values import PAPER_SIZES, paper_value
from monai_dgm.reproduction.result_tables import Difference, ResultRow, Results, ResultTable, positive_class_name
from monai_dgm.reproduction.test_predictions import TestPredictions
from monai_dgm.utils.atomic import write_text

__all__ = ["HEADINGS", "TITLES", "percent", "percent_interval", "size_name", "weights_name", "write_csv", "write_latex"]

TITLES = {
    4: "Normal against abnormal, by method",
    5: "Normal against abnormal, with and without residue",
    6: "Lung opacity, with and without residue",
    7: "Detection of lung opacities, with and without residue",
}
HEADINGS = {
    "sensitivity": "Sen.",
    "specificity": "Spe.",
    "precision": "Pre.",
    "f1": "F1",
    "average_precision": "AP",
    "auc": "AUC",
    "ap": "AP",
    "ap40": "AP40",
    "ap50": "AP50",
    "ap60": "AP60",
    "ap70": "AP70",
}


def weights_name(record: JobRecord) -> str:
    """File of a job's weights, relative to the output folder; the name alone of weights that the user gave."""
    return Path(record.weights).name if Path(record.weights).is_absolute() else record.weights


def percent(mean: float, sd: float = math.nan) -> str:
    """ "84.9 ± 0.5" for 0.849 and 0.005; without the deviation where it is NaN; a dash where the mean is."""
    if not math.isfinite(mean):
        return "–"
    return f"{100 * mean:.1f}" + (f" ± {100 * sd:.1f}" if math.isfinite(sd) else "")


def size_name(millions: float | None) -> str:
    """ "26.5" million parameters, two digits where there are fewer than a million; empty for None."""
    if millions is None:
        return ""
    return f"{millions:.1f}" if millions >= 1 else f"{millions:.2g}"


def percent_interval(low: float, high: float) -> str:
    """ "[83.1, 86.5]" in percent, empty where there is none."""
    return f"[{100 * low:.1f}, {100 * high:.1f}]" if math.isfinite(low) else ""


def write_csv(results: Results, dataset_info: DatasetInfo, folder: str | os.PathLike[str]) -> list[Path]:
    """``table4.csv`` ... and ``differences.csv``; metrics in [0, 1], the paper's values in percent."""
    files = []
    for table in results.tables:
        cells = [
            _cell(table, row, metric, dataset_info, results.with_paper)
            for rows in table.groups.values()
            for row in rows
            for metric in table.metrics
        ]
        files.append(write_rows(Path(folder) / f"table{table.number}.csv", cells))
    cells = [
        _difference_cell(difference, metric, dataset_info)
        for table in results.tables
        for difference in table.differences
        for metric in table.metrics
    ]
    return [*files, write_rows(Path(folder) / "differences.csv", cells)]


def _cell(
    table: ResultTable, row: ResultRow, metric: str, dataset_info: DatasetInfo, with_paper: bool
) -> dict[str, Any]:
    own = row.summaries[metric]
    cell = {
        "table": table.number,
        "method": row.row.name,
        "channels": "+".join(row.row.channels),
        "millions_of_parameters": "" if row.size is None else round(row.size, 3),
        "group": row.group,
        "metric": metric,
        "positive_class": positive_class_name(table.number).removesuffix(" is the positive class"),
        "mean": plain_number(own.mean),
        "sd": plain_number(own.sd),
        "low": plain_number(own.low),
        "high": plain_number(own.high),
        "num_images": own.num_images,
        "num_patients": own.num_patients,
        "folds": " ".join(str(one.fold) for one in row.predictions),
        "values": " ".join(plain_number(value) for value in own.values),
        "note": own.note,
    }
    if with_paper:
        printed = paper_value(table.number, row.row.paper, metric) or ("", "")
        cell |= {"paper_row": row.row.paper, "paper_mean_percent": printed[0], "paper_sd_percent": printed[1]}
    return {**cell, **_origin(row.predictions, dataset_info)}


def _difference_cell(difference: Difference, metric: str, dataset_info: DatasetInfo) -> dict[str, Any]:
    own = difference.metrics[metric]
    return {
        "table": difference.table,
        "with": difference.first.row.name,
        "without": difference.second.row.name,
        "group": difference.group,
        "metric": metric,
        "value_with": plain_number(own.first),
        "value_without": plain_number(own.second),
        "difference": plain_number(own.difference),
        "low": plain_number(own.low),
        "high": plain_number(own.high),
        "p": plain_number(own.p_value),
        "test": own.test,
        "num_images": own.num_images,
        "num_patients": own.num_patients,
        "folds": " ".join(map(str, difference.folds)),
        "note": own.note,
        **_origin((*difference.first.predictions, *difference.second.predictions), dataset_info),
    }


def _origin(predictions: Sequence[TestPredictions], dataset_info: DatasetInfo) -> dict[str, str]:
    """Weights with their SHA-256, decomposers and data of a cell."""
    decomposers = dict.fromkeys(
        str(one.job_record.decomposer_sha256) for one in predictions if one.job_record.decomposer_sha256
    )
    return {
        "checkpoints": "; ".join(
            f"{weights_name(one.job_record)} sha256:{one.job_record.sha256}" for one in predictions
        ),
        "decomposers": "; ".join(f"sha256:{sha256}" for sha256 in decomposers),
        "data": "; ".join(dict.fromkeys(one.tested_on for one in predictions)),
        "manifest_sha256": dataset_info.sha256,
    }


def write_latex(results: Results, dataset_info: DatasetInfo, folder: str | os.PathLike[str]) -> list[Path]:
    """``table4.tex`` ... and ``differences.tex``, for ``\\usepackage{booktabs}``; comments name each row's weights."""
    files = []
    for table in results.tables:
        for group, rows in table.groups.items():
            name = f"table{table.number}.tex" if group == "all" else f"table{table.number}_{slug(group)}.tex"
            text = _latex_table(table, group, rows, dataset_info, results.with_paper)
            files.append(write_text(Path(folder) / name, text))
    text = "\n".join(_latex_differences(table) for table in results.tables if table.differences)
    return [*files, write_text(Path(folder) / "differences.tex", text)] if text else files


def _latex_table(
    table: ResultTable, group: str, rows: Sequence[ResultRow], dataset_info: DatasetInfo, with_paper: bool
) -> str:
    sized = table.number == 4
    heads = ["Method", *(["Size"] if sized else []), *(HEADINGS[name] for name in table.metrics), "$n$"]
    body = []
    for row in rows:
        body += [
            f"% {weights_name(one.job_record)} sha256:{one.job_record.sha256}; {one.tested_on}"
            for one in row.predictions
        ]
        size = [] if not sized else [size_name(row.size)]
        own = [row.summaries[name] for name in table.metrics]
        count = next(iter(row.summaries.values())).num_images
        cells = [percent(s.mean, s.sd) for s in own]
        body.append(latex_line([latex_escaped(row.row.name), *size, *cells, str(count)]))
        body.append(
            latex_line(["", *([""] if sized else []), *(latex_small(percent_interval(s.low, s.high)) for s in own), ""])
        )
        if with_paper and row.row.paper:
            body.append(latex_line(_latex_paper(table, row.row.paper, sized)))
    words = f"{TITLES[table.number]}, {latex_escaped(group)} images: percent, mean $\\pm$ standard deviation over folds"
    words += ", 95\\,\\% interval by bootstrap over patients below"
    words += f"; {positive_class_name(table.number)}" if positive_class_name(table.number) else ""
    head = f"% data: {dataset_info.name}; manifest sha256:{dataset_info.sha256}\n"
    return head + latex_frame(words, heads, body)


def _latex_paper(table: ResultTable, name: str, sized: bool) -> list[str]:
    size = [f"{PAPER_SIZES[name]:.1f}" if name in PAPER_SIZES else ""] if sized else []
    cells = []
    for metric in table.metrics:
        printed = paper_value(table.number, name, metric)
        cells.append("" if printed is None else f"{printed[0]:.2f} ± {printed[1]:.2f}")
    return [f"\\quad {latex_escaped(name)}, the paper", *size, *cells, "1000"]


def _latex_differences(table: ResultTable) -> str:
    heads = ["With residue", "against", "Images", *(HEADINGS[name] for name in table.metrics)]
    body = []
    for difference in table.differences:
        own = [difference.metrics[name] for name in table.metrics]
        bounds = [f"{percent_interval(d.low, d.high)}, $p$ {d.p_value:.3f}" if d.low == d.low else "" for d in own]
        body.append(latex_line([*map(latex_escaped, _compared(difference)), *map(_signed, own)]))
        body.append(latex_line(["", "", "", *map(latex_small, bounds)]))
    words = f"{TITLES[table.number]}: paired differences in points, 95\\,\\% interval and two-sided $p$ by patient"
    return latex_frame(words, heads, body)


def _compared(difference: Difference) -> tuple[str, str, str]:
    return difference.first.row.name, difference.second.row.name, difference.group


def _signed(difference: Any) -> str:
    return f"{100 * difference.difference:+.1f}" if math.isfinite(difference.difference) else "–"
