"""``report/index.html``: Tables 4 to 7, the differences that residues make, and where every metric comes from."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_dgm.jobs.dataset_info import DatasetInfo
from monai_dgm.jobs.job_record import RECORD_FILE
from monai_dgm.jobs.runner import LOG_FILE, Outcome
from monai_dgm.report.page import write_page as write_html
from monai_dgm.reproduction.jobs import Plan
from monai_dgm.reproduction.paper_values import PAPER_SIZES, paper_value
from monai_dgm.reproduction.result_tables import Difference, ResultRow, Results, ResultTable, positive_class_name
from monai_dgm.reproduction.table_files import HEADINGS, TITLES, percent, percent_interval, size_name, weights_name
from monai_dgm.reproduction.test_predictions import TestPredictions

__all__ = ["write_page"]

_MAIN_METRICS = {
    5: ("auc", "average_precision", "f1"),
    6: ("auc", "average_precision", "f1"),
    7: ("ap", "ap40", "ap50"),
}
_NOT_CROSS_FITTED = (
    "Training images have residues of the fold's decomposer, which was trained on them and their labels. These tell "
    "the labels better than residues of new images, so that a network may trust residues too much, which works against "
    "them in the test. --cross_fitted avoids it."
)
_CROSS_FITTED = (
    "Classifiers and detectors were trained on residues of decomposers that had not seen the image (cross-fitted). "
    "Those decomposers had seen the test images, whose own residues come from the fold's decomposer, which had not."
)
_NOTES = (
    "Percent. ±: standard deviation over the folds' trainings (none for one fold). Brackets: 95 % interval of the mean "
    "by bootstrap over the patients of all test folds, the larger uncertainty where test sets are small.",
    "n counts test images of all folds; a patient who is in several is drawn for all of them at once.",
    "The threshold of sensitivity, specificity, precision and F1 minimises |sensitivity − specificity| on the fold's "
    "validation images, of all sources together; it is applied to the test images as it is (paper, 5.2).",
    "Metrics of a source are of its test images alone, by networks that were trained on all sources. Where native "
    "resolution or device tells the label, only these are to be believed.",
    "Size: millions of parameters, counted in the network that infers.",
    "Detection: average precision as COCO computes it, AP is its mean over IoU 0.40:0.05:0.75.",
)
_PAPER_NOTE = (
    "The paper's values are quoted as printed, also where a row contradicts itself (docs/fidelity.md). Its ± are over "
    "five splits that share one test set of 1,000 images."
)


def write_page(
    results: Results,
    plan: Plan,
    outcome: Outcome,
    dataset_info: DatasetInfo,
    folder: str | os.PathLike[str],
    remarks: Sequence[str] = (),
) -> Path:
    """Write the page, self-contained.

    Args:
        results: of :func:`monai_dgm.reproduction.result_tables.collect`.
        plan: jobs and rows.
        outcome: which jobs have run, failed, or not run yet.
        dataset_info: the data.
        folder: ``index.html`` is written into it.
        remarks: further warnings.

    Returns:
        The file written.
    """
    differences = [difference for table in results.tables for difference in table.differences]
    bounds = [abs(v) for d in differences for m in d.metrics.values() for v in (m.low, m.high) if math.isfinite(v)]
    notes = [_CROSS_FITTED if plan.cross_fitted else _NOT_CROSS_FITTED, *_NOTES]
    return write_html(
        folder,
        "reproduction.html",
        Path(__file__).parent / "templates",
        title="Do residues help to diagnose?",
        summary=_summary(plan, dataset_info, results.with_paper),
        warnings=[*_warnings(plan, outcome), *results.problems, *remarks],
        notes=[*notes, *([_PAPER_NOTE] if results.with_paper else [])],
        differences={
            "all": [line for d in differences if d.group == "all" for line in _difference_lines(d)],
            "sources": [line for d in differences if d.group != "all" for line in _difference_lines(d)],
        },
        widest=max(bounds, default=1.0) or 1.0,
        tables=[_table(table, results.with_paper) for table in results.tables],
        jobs=_jobs(plan, outcome),
        any_failed=bool(outcome.failed),
        log_file=LOG_FILE,
        record_file=RECORD_FILE,
    )


def _summary(plan: Plan, dataset_info: DatasetInfo, with_paper: bool) -> str:
    folds = ", ".join(map(str, plan.folds))
    without_paper = "" if with_paper else " The paper's own values are of other data and are not shown."
    return (
        f"Tables {', '.join(map(str, plan.tables))} of Tang et al. (Medical Image Analysis 67, 2021), reproduced on "
        f"{dataset_info.name}; test fold{'s' if len(plan.folds) > 1 else ''} {folds}. Each fold has one decomposer, "
        f"trained without the fold, which gives all residues.{without_paper}\n\n{plan.preset.summary}"
    )


def _warnings(plan: Plan, outcome: Outcome) -> list[str]:
    titles = {job.name: job.title for job in plan.jobs}
    lines = [f"Failed: {titles[name]}: {reason}" for name, reason in outcome.failed.items()]
    if outcome.waiting:
        lines.append(f"Not run yet: {len(outcome.waiting)} of {len(plan.jobs)} jobs. The tables hold what is there.")
    return lines


def _table(table: ResultTable, with_paper: bool) -> dict[str, Any]:
    words = positive_class_name(table.number)
    hints = ["Point at a metric to see checkpoint and data."]
    hints += [f"{words.capitalize()}."] if words else []
    hints += [f"Nothing yet: {', '.join(table.empty)}."] if table.empty else []
    return {
        "number": table.number,
        "title": TITLES[table.number],
        "hint": " ".join(hints),
        "sized": table.number == 4,
        "headings": [HEADINGS[name] for name in table.metrics],
        "groups": {
            group: [_row(table, row, with_paper and group == "all") for row in rows]
            for group, rows in table.groups.items()
        },
    }


def _row(table: ResultTable, row: ResultRow, with_paper: bool) -> dict[str, Any]:
    counts = next(iter(row.summaries.values()))
    summaries = [row.summaries[name] for name in table.metrics]
    folds = ", ".join(str(one.fold) for one in row.predictions)
    return {
        "name": row.row.name,
        "folds": f"fold{'s' if len(row.predictions) > 1 else ''} {folds}",
        "size": size_name(row.size),
        "num_images": counts.num_images,
        "num_patients": counts.num_patients,
        "cells": [
            {
                "text": percent(own.mean, own.sd),
                "interval": percent_interval(own.low, own.high),
                "note": own.note,
                "origin": _origin(row.predictions, own.values),
            }
            for own in summaries
        ],
        "paper": _paper_row(table, row.row.paper) if with_paper and row.row.paper else None,
    }


def _origin(predictions: Sequence[TestPredictions], values: Sequence[float]) -> str:
    """A line for each fold: value, weights, decomposer and data."""
    lines = []
    for one, value in zip(predictions, values, strict=True):
        record = one.job_record
        residues = f", residues of {record.decomposer_sha256[:12]}" if record.decomposer_sha256 else ""
        weights = f"{weights_name(record)}, SHA-256 {record.sha256[:12]}{residues}"
        data = f"{one.tested_on}, manifest {record.data_sha256[:12]}"
        lines.append(f"fold {one.fold}: {percent(value)} | {weights} | {data}")
    return "\n".join(lines)


def _paper_row(table: ResultTable, name: str) -> dict[str, Any]:
    printed = [paper_value(table.number, name, metric) for metric in table.metrics]
    return {
        "name": name,
        "size": f"{PAPER_SIZES[name]:.1f}" if name in PAPER_SIZES else "",
        "cells": [f"{value[0]:.2f} ± {value[1]:.2f}" if value else "" for value in printed],
    }


def _difference_lines(difference: Difference) -> list[dict[str, Any]]:
    """A line for each main metric of the table."""
    lines = []
    for name in _MAIN_METRICS[difference.table]:
        own = difference.metrics[name]
        known = math.isfinite(own.difference)
        records = [one.job_record for row in (difference.first, difference.second) for one in row.predictions]
        lines.append(
            {
                "table": difference.table,
                "network": difference.first.row.name,
                "against": difference.second.row.name,
                "group": difference.group,
                "metric": HEADINGS[name],
                "without": percent(own.second),
                "with": percent(own.first),
                "difference": f"{100 * own.difference:+.1f}".replace("-", "−") if known else "–",
                "interval": percent_interval(own.low, own.high).replace("-", "−"),
                "excludes_zero": own.low > 0 or own.high < 0,
                "bounds": (own.low, own.difference, own.high) if known and math.isfinite(own.low) else None,
                "p": f"{own.p_value:.3f}" if math.isfinite(own.p_value) else "–",
                "num_images": own.num_images,
                "origin": "\n".join(f"{weights_name(record)}, SHA-256 {record.sha256[:12]}" for record in records),
            }
        )
    return lines


def _jobs(plan: Plan, outcome: Outcome) -> list[dict[str, str]]:
    lines = []
    for job in plan.jobs:
        record = outcome.finished.get(job.name)
        state = "failed" if job.name in outcome.failed else "done" if record else "not run yet"
        line = {"title": job.title, "state": state, "time": "", "command": "", "weights": "", "sha256": ""}
        if record:
            time = f"{record.seconds / 60:.1f} min" if record.seconds else "given"
            line |= {"time": time, "command": record.command}
            line |= {"weights": weights_name(record), "sha256": record.sha256[:16]}
        lines.append(line)
    return lines
