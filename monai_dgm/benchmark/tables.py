"""Which metric of which test images stands in which table, and the tables as rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from monai_dgm.benchmark.results import REALISM, Estimate, Results

__all__ = ["GLANCE", "BenchmarkTable", "TableRow", "glance_columns", "make_tables"]

_LOCALISATION = ("pixel_ap", "pointing", "area_correlation", "residue_auc", "head_auc", "identity", "normal_ssim")
_EXACT = (
    "pixel_ap",
    "pointing",
    "residue_correlation",
    "residue_error",
    "normal_error",
    "lesion_left",
    "outside_error",
    "identity",
)
_PARTS = ("pixel_ap", "pointing", "residue_correlation", "residue_error", "lesion_left")
_REALISM = ("kid", "real_or_made_auc", "probe_auc", "own_rank", "sharpness")
GLANCE = (
    ("simulator", "residue_correlation"),
    ("inserted", "pixel_ap"),
    ("inserted", "lesion_left"),
    ("real", "pixel_ap"),
    ("real", "pointing"),
    ("real", "residue_auc"),
    ("real", "identity"),
    (REALISM, "kid"),
    (REALISM, "real_or_made_auc"),
    (REALISM, "probe_auc"),
    (REALISM, "own_rank"),
    (REALISM, "sharpness"),
)
"""Columns of the figure that shows at a glance who wins what; those of real images once for each source."""


@dataclass(frozen=True)
class TableRow:
    """A system's line of a table; the estimates are None where the metric is not defined."""

    name: str
    title: str
    is_reference: bool
    estimates: tuple[Estimate | None, ...]


@dataclass(frozen=True)
class BenchmarkTable:
    """A table: one test set, one group of its images, some metrics, all systems.

    Attributes:
        key: for file names.
        title: heading.
        test_set, group: whose images.
        metrics: columns.
        rows: systems, then references.
        best: the system with the best mean of each column, None where there is none.
        detail: whether it is a part of another table, shown folded.
    """

    key: str
    title: str
    test_set: str
    group: str
    metrics: tuple[str, ...]
    rows: tuple[TableRow, ...]
    best: tuple[str | None, ...]
    detail: bool = False


def real_groups(results: Results) -> list[str]:
    """Sources of the real images; "all" where there is one."""
    groups = results.groups.get("real", [])
    return [group for group in groups if group.startswith("source: ")] or [g for g in groups if g == "all"]


def make_tables(results: Results) -> list[BenchmarkTable]:
    """All tables that have a value, in their order."""
    return [table for table in _tables(results) if table.rows]


def _tables(results: Results) -> Iterator[BenchmarkTable]:
    yield _table(results, "(a) Simulated radiographs, exact truth", "simulator", "all", (*_EXACT, "normal_ssim"))
    yield _table(results, "(b) Inserted opacities in real normals, exact truth", "inserted", "all", _EXACT)
    for group in results.groups.get("inserted", [])[1:]:
        yield _table(results, f"(b) Inserted opacities, {group}", "inserted", group, _PARTS, detail=True)
    for group in real_groups(results):
        words = group.removeprefix("source: ")
        yield _table(results, f"(c) Readers' boxes, within {words}", "real", group, _LOCALISATION)
    yield _table(results, "(d) Realism of the normal image", REALISM, "all", _REALISM)


def _table(
    results: Results, title: str, test_set: str, group: str, metrics: Sequence[str], detail: bool = False
) -> BenchmarkTable:
    rows = []
    for one in results.judged:
        own = tuple(results.estimates.get((one.name, test_set, group, metric)) for metric in metrics)
        if any(estimate is not None for estimate in own):
            rows.append(TableRow(one.name, one.title, one.is_reference, own))
    best = tuple(results.best(test_set, group, metric) for metric in metrics)
    key = f"{test_set}_{group}" if group != "all" else test_set
    return BenchmarkTable(key, title, test_set, group, tuple(metrics), tuple(rows), best, detail)


def glance_columns(results: Results) -> list[tuple[str, str, str]]:
    """(test set, group, metric) of each column at a glance that any system has a value of."""
    columns = []
    for test_set, metric in GLANCE:
        for group in real_groups(results) if test_set == "real" else ["all"]:
            if any((one.name, test_set, group, metric) in results.estimates for one in results.judged):
                columns.append((test_set, group, metric))
    return columns
