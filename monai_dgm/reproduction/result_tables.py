"""Rows of Tables 4 to 7 from scored test images, and the differences that residues make."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from monai_dgm.errors import InputError
from monai_dgm.jobs.dataset_info import DatasetInfo
from monai_dgm.jobs.runner import Outcome
from monai_dgm.metrics.comparison import PairedDifference, paired_differences
from monai_dgm.metrics.metric_sets import SplitSummary, mean_over_splits, metric_values, summarise_splits
from monai_dgm.networks.abnormality import AbnormalityNetwork
from monai_dgm.networks.classifiers import build_classifier
from monai_dgm.reproduction.jobs import Plan, Row
from monai_dgm.reproduction.paper_values import may_show_paper
from monai_dgm.reproduction.test_predictions import TestPredictions, load_test_predictions, positive_class

__all__ = [
    "Difference",
    "ResultRow",
    "ResultTable",
    "Results",
    "collect",
    "metric_names",
    "millions_of_parameters",
    "positive_class_name",
]

ALL_IMAGES = "all"
CLASSIFICATION = ("sensitivity", "specificity", "precision", "f1", "average_precision", "auc")
DETECTION = ("ap", "ap40", "ap50", "ap60", "ap70")
"""Columns of Tables 4 to 6, and of Table 7, in the paper's order; Table 4 has a size as well."""


@dataclass(frozen=True, eq=False)
class ResultRow:
    """A row of a table with its metrics, in [0, 1].

    Attributes:
        row: as it was planned.
        group: "all", or a source.
        summaries: by metric.
        predictions: for each fold.
        size: millions of parameters; None for a detector.
    """

    row: Row
    group: str
    summaries: Mapping[str, SplitSummary]
    predictions: tuple[TestPredictions, ...]
    size: float | None


@dataclass(frozen=True, eq=False)
class Difference:
    """With residue minus without or minus a control, on the same test images.

    Attributes:
        table: 5 to 7.
        group: "all", or a source.
        first, second: with residue, and what it is compared with.
        metrics: by name.
        folds: that both rows have.
    """

    table: int
    group: str
    first: ResultRow
    second: ResultRow
    metrics: Mapping[str, PairedDifference]
    folds: tuple[int, ...]


@dataclass
class ResultTable:
    """A table of the paper with our rows.

    Attributes:
        number: 4 to 7.
        metrics: names of its columns.
        groups: rows of "all" images, then of each source in which the metrics are defined.
        differences: of all groups.
        empty: names of the rows without any metric.
    """

    number: int
    metrics: tuple[str, ...]
    groups: dict[str, list[ResultRow]] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)


@dataclass
class Results:
    """All tables.

    Attributes:
        tables: in order.
        with_paper: whether the paper's own values may be shown beside them.
        problems: warnings for the reader, one line each.
    """

    tables: list[ResultTable]
    with_paper: bool
    problems: list[str] = field(default_factory=list)


def metric_names(table: int) -> tuple[str, ...]:
    """Columns of a table, without the size."""
    return DETECTION if table == 7 else CLASSIFICATION


def collect(plan: Plan, outcome: Outcome, dataset_info: DatasetInfo, root: Path) -> Results:
    """Read every finished job and fill in the tables.

    Args:
        plan: rows and jobs.
        outcome: of :class:`monai_dgm.jobs.runner.Runner`.
        dataset_info: the data.
        root: output folder, which paths are relative to.
    """
    jobs = {job.name: job for job in plan.jobs}
    problems: list[str] = []
    tables = [ResultTable(number, metric_names(number)) for number in plan.tables]
    by_number = {table.number: table for table in tables}
    for row in plan.rows:
        predictions = []
        for fold, name in row.jobs.items():
            head = row.heads.get(fold)
            if name in outcome.finished and (head is None or head in outcome.finished):
                stacked = outcome.finished[head] if head else None
                try:
                    record = outcome.finished[name]
                    predictions.append(load_test_predictions(root, jobs[name], record, row.table, stacked))
                except InputError as error:
                    problems.append(f"{name}: {error}")
        _fill_in(by_number[row.table], row, tuple(predictions), plan.preset.num_bootstrap)
    for table in tables:
        table.differences = _differences(table, 2 * plan.preset.num_bootstrap, problems)
    found = [e for table in tables for rows in table.groups.values() for r in rows for e in r.predictions]
    return Results(tables, may_show_paper(dataset_info, [e.tested_on for e in found]), problems)


def _fill_in(table: ResultTable, row: Row, predictions: tuple[TestPredictions, ...], num_bootstrap: int) -> None:
    if not predictions:
        table.empty.append(row.name)
        return
    size, settings = millions_of_parameters(row, predictions[0].settings), predictions[0].settings
    if row.kind == "head":  # which is as large as the decomposer
        row = replace(row, name=f"{row.name}, {settings['image_size']} px, width {settings['base_width']}")
    sources = sorted({source for one in predictions for source in one.sources})
    for group in [ALL_IMAGES, *(sources if len(sources) > 1 else [])]:
        present = tuple(one for one in predictions if _defined(table, one, group))
        if not present and group != ALL_IMAGES:
            continue
        summaries = _summaries(present or predictions, group, num_bootstrap)
        table.groups.setdefault(group, []).append(ResultRow(row, group, summaries, present or predictions, size))


def _defined(table: ResultTable, predictions: TestPredictions, group: str) -> bool:
    """Whether AUC (Table 7: AP) is defined on a fold's images of the group."""
    indices = predictions.indices(group)
    if not len(indices):
        return False
    return math.isfinite(metric_values(predictions.select(indices), len(indices))["ap" if table.number == 7 else "auc"])


def _summaries(predictions: Sequence[TestPredictions], group: str, num_bootstrap: int) -> dict[str, SplitSummary]:
    indices = [one.indices(group) for one in predictions]
    metrics = [one.select(own) for one, own in zip(predictions, indices, strict=True)]
    patients = [[one.patients[i] for i in own] for one, own in zip(predictions, indices, strict=True)]
    return summarise_splits(metrics, patients, num_bootstrap)


def _differences(table: ResultTable, num_bootstrap: int, problems: list[str]) -> list[Difference]:
    """With residue - without or with a control in its place, of the rows that differ in nothing else."""
    found = []
    for group, rows in table.groups.items():
        for first, second in _pairs([row for row in rows if row.row.pair]):
            difference = _difference(table, group, first, second, num_bootstrap)
            found += [difference] if difference else []
            if difference is None:
                names = f"{first.row.name} and {second.row.name}"
                problems.append(f"Table {table.number}: {names} were not tested on the same images of any fold")
    return found


def _pairs(rows: Sequence[ResultRow]) -> list[tuple[ResultRow, ResultRow]]:
    """Each row with residue and what it is compared with; a stacked head is on both sides, or on the other alone."""
    return [
        (first, second)
        for first in rows
        for second in rows
        if first.row.pair == second.row.pair
        and "residue" in first.row.channels
        and "residue" not in second.row.channels
        and (second.row.heads or not first.row.heads)
    ]


def _difference(
    table: ResultTable, group: str, first: ResultRow, second: ResultRow, num_bootstrap: int
) -> Difference | None:
    others = {one.fold: one for one in second.predictions}
    shared = [(one, others[one.fold]) for one in first.predictions if one.fold in others]
    shared = [(one, other) for one, other in shared if one.image_ids == other.image_ids]
    if not shared:
        return None
    indices = [one.indices(group) for one, _ in shared]
    sizes = [len(own) for own in indices]
    patients = [one.patients[i] for (one, _), own in zip(shared, indices, strict=True) for i in own]
    ours, theirs = (
        mean_over_splits([pair[side].select(own) for pair, own in zip(shared, indices, strict=True)], sizes)
        for side in (0, 1)
    )
    metrics = paired_differences(ours, theirs, patients, num_bootstrap)
    kept = {name: metrics[name] for name in table.metrics}
    return Difference(table.number, group, first, second, kept, tuple(one.fold for one, _ in shared))


def millions_of_parameters(row: Row, settings: Mapping[str, Any]) -> float | None:
    """Parameters of a classifier or of the head in millions, counted in the network itself; None for a detector."""
    if row.kind == "head":
        return _count_parameters("", 1, settings["base_width"], settings["num_res_blocks"])
    if row.kind == "classifier":
        return _count_parameters(settings["architecture"], len(settings["channels"]))
    return None


@functools.cache
def _count_parameters(architecture: str, in_channels: int, base_width: int = 0, num_res_blocks: int = 0) -> float:
    with torch.device("meta"):  # which holds no values
        network: torch.nn.Module = (
            build_classifier(architecture, in_channels)
            if architecture
            else AbnormalityNetwork(base_width, num_res_blocks)
        )
    return sum(parameter.numel() for parameter in network.parameters()) / 1e6


def positive_class_name(table: int) -> str:
    """The positive class of a table in words."""
    if table == 7:
        return ""
    return "normal is the positive class" if positive_class(table) == "normal" else "lung opacity is the positive class"
