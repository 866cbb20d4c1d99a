"""``report/index.html``: Tables 4 to 7, the differences that residues make, and where every figure comes from."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

from monai_dgm.metrics.comparison import PairedDifference
from monai_dgm.report.page import write_sections
from monai_dgm.reproduction.dataset_info import DatasetInfo
from monai_dgm.reproduction.jobs import Plan
from monai_dgm.reproduction.paper_values import PAPER_SIZES, paper_value
from monai_dgm.reproduction.result_tables import Difference, ResultRow, Results, ResultTable, positive_class_name
from monai_dgm.reproduction.runner import LOG_FILE, Outcome
from monai_dgm.reproduction.table_files import HEADINGS, TITLES, percent, percent_interval, place, size_name
from monai_dgm.reproduction.test_predictions import TestPredictions

__all__ = ["write_page"]

# At every table, since any of them may be the first one on the page.
_STYLE = """<style>
.argument td, .argument th { white-space: nowrap; }
.argument td:first-child { white-space: normal; min-width: 190px; }
.argument small { display: block; color: var(--soft); font-size: 12px; font-weight: 400; }
.argument tr.paper td { background: #f7f8fa; color: var(--soft); font-style: italic; padding-top: 4px;
  padding-bottom: 4px; }
.argument [title] { cursor: help; }
.argument .clear { font-weight: 650; }
.origin td { font-size: 13px; overflow-wrap: anywhere; }
.origin code { font-size: 12px; }
.forest { width: 130px; height: 18px; display: block; }
.forest line { stroke: var(--accent); stroke-width: 3; stroke-opacity: .4; }
.forest .zero { stroke: #98a2af; stroke-width: 1; stroke-opacity: 1; }
.forest circle { fill: var(--accent); }
</style>"""


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
        plan, outcome: what was to be done, and what became of it.
        material: the data.
        folder: ``index.html`` is written into it.
        remarks: further warnings.
    """
    parts = [("With residue − without", _differences_body(results), _DIFFERENCES_HINT)]
    for table in results.tables:
        title = f"Table {table.number}. {TITLES[table.number]}"
        parts.append((title, _STYLE + _table_body(table, results.with_paper), _hint(table)))
    parts.append(("Where the figures come from", _origin_body(plan, outcome), _ORIGIN_HINT))
    return write_sections(
        folder,
        "Do residues help to diagnose?",
        _summary(plan, dataset_info, results.with_paper),
        parts,
        warnings=[*_warnings(plan, outcome), *results.problems, *remarks],
        notes=_notes(plan.cross_fitted, results.with_paper),
    )


def _summary(plan: Plan, dataset_info: DatasetInfo, with_paper: bool) -> str:
    folds = ", ".join(map(str, plan.folds))
    beside = "" if with_paper else " The paper's own figures are of other data and are not shown."
    return (
        f"Tables {', '.join(map(str, plan.tables))} of Tang et al. (Medical Image Analysis 67, 2021), made anew on "
        f"{dataset_info.name}; test fold{'s' if len(plan.folds) > 1 else ''} {folds}. One decomposer a fold, trained "
        f"without it, gives all residues.{beside}\n\n"
        f"{plan.preset.summary}"
    )


def _warnings(plan: Plan, outcome: Outcome) -> list[str]:
    titles = {job.name: job.title for job in plan.jobs}
    lines = [f"Failed: {titles[name]}: {reason}" for name, reason in outcome.failed.items()]
    if outcome.waiting:
        lines.append(f"Not run yet: {len(outcome.waiting)} of {len(plan.jobs)} jobs. Tables hold what is there.")
    return lines


_NOT_CROSS_FITTED = (
    "Training images have residues of the fold's decomposer, which was trained on them and their labels. These tell "
    "the labels better than residues of new images, so that a network may trust residues too much, which works against "
    "them in the test. --cross_fitted avoids it."
)
_CROSS_FITTED = (
    "Classifiers and detectors were trained on residues of decomposers that had not seen the image (cross-fitted). "
    "Those decomposers had seen the test images, whose own residues come from the fold's decomposer, which had not."
)


def _notes(cross_fitted: bool, with_paper: bool) -> list[str]:
    notes = [_CROSS_FITTED if cross_fitted else _NOT_CROSS_FITTED]
    notes += [
        "Percent. ±: standard deviation over the folds' trainings (none for one fold). Brackets: 95 % interval of the "
        "mean by bootstrap over the patients of all test folds, the larger uncertainty where test sets are small.",
        "n counts test images of all folds; a patient who is in several is drawn for all of them at once.",
        "The threshold of sensitivity, specificity, precision and F1 minimises |sensitivity − specificity| on the "
        "fold's validation images, of all sources together; it is applied to the test images as it is (paper, 5.2).",
        "Figures of a source are of its test images alone, by networks that were trained on all sources. Where native "
        "resolution or device tells the label, only these are to be believed.",
        "Size: millions of parameters, counted in the network that infers.",
        "Detection: average precision as COCO computes it, AP is its mean over IoU 0.40:0.05:0.75.",
    ]
    if with_paper:
        notes.append(
            "The paper's figures are quoted as printed, also where a row contradicts itself (docs/fidelity.md). Its ± "
            "are over five splits that share one test set of 1,000 images."
        )
    return notes


def _hint(table: ResultTable) -> str:
    words = positive_class_name(table.number)
    lacking = f" Nothing yet: {', '.join(table.empty)}." if table.empty else ""
    return "Point at a figure to see checkpoint and data." + (f" {words.capitalize()}." if words else "") + lacking


def _table_body(table: ResultTable, with_paper: bool) -> str:
    parts = []
    for group, rows in table.groups.items():
        html = _rows_html(table, rows, with_paper and group == "all")
        if group == "all":
            parts.append(html)
        else:
            count = max(next(iter(row.summaries.values())).num_images for row in rows)
            parts.append(
                f"<details><summary>within {escape(group)} <small>{count} images</small></summary>{html}</details>"
            )
    return "".join(parts) or "<p>No figures yet.</p>"


def _rows_html(table: ResultTable, rows: Sequence[ResultRow], with_paper: bool) -> str:
    sized = table.number == 4
    heads = [*(["Size"] if sized else []), *(HEADINGS[name] for name in table.metrics), "n"]
    head = "".join(f"<th class='n'>{escape(name)}</th>" for name in heads)
    body = ""
    for row in rows:
        size = f"<td class='n'>{size_name(row.size)}</td>" if sized else ""
        cells = "".join(_cell(row, name) for name in table.metrics)
        counts = next(iter(row.summaries.values()))
        n = f"{counts.num_images}<small>{counts.num_patients} patients</small>"
        folds = (
            f"<small>fold{'s' if len(row.evidence) > 1 else ''} {', '.join(str(e.fold) for e in row.evidence)}</small>"
        )
        body += f"<tr><td><b>{escape(row.row.name)}</b>{folds}</td>{size}{cells}<td class='n'>{n}</td></tr>"
        if with_paper and row.row.paper:
            body += _paper_row(table, row.row.paper, sized)
    table_html = f"<table class='argument'><thead><tr><th>Method</th>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide">{table_html}</div>'


def _cell(row: ResultRow, figure: str) -> str:
    own = row.summaries[figure]
    note = f"<small>{escape(own.note)}</small>" if own.note else ""
    under = f"<small>{percent_interval(own.low, own.high)}</small>"
    title = escape(_provenance(row.evidence, own.values), quote=True)
    return f"<td class='n' title='{title}'>{percent(own.mean, own.sd)}{under}{note}</td>"


def _provenance(evidence: Sequence[TestPredictions], values: Sequence[float]) -> str:
    lines = []
    for one, value in zip(evidence, values, strict=True):
        seen = f", residues of {one.done.decomposer_sha256[:12]}" if one.done.decomposer_sha256 else ""
        where = f"{place(one.done)}, SHA-256 {one.done.sha256[:12]}{seen}"
        data = f"{one.tested_on}, manifest {one.done.data_sha256[:12]}"
        lines.append(f"fold {one.fold}: {percent(value)} | {where} | {data}")
    return "\n".join(lines)


def _paper_row(table: ResultTable, name: str, sized: bool) -> str:
    size = f"<td class='n'>{PAPER_SIZES[name]:.1f}</td>" if name in PAPER_SIZES else "<td></td>"
    cells = ""
    for figure in table.metrics:
        printed = paper_value(table.number, name, figure)
        cells += f"<td class='n'>{f'{printed[0]:.2f} ± {printed[1]:.2f}' if printed else ''}</td>"
    words = f"{escape(name)}, the paper's Table {table.number}"
    return f"<tr class='paper'><td>{words}</td>{size if sized else ''}{cells}<td class='n'>1000</td></tr>"


_DIFFERENCES_HINT = (
    "The same network trained twice, on image and residue and on the image alone, compared on the same test images. In "
    "points; 95 % interval and two-sided p by paired bootstrap over patients, whatever the sign. Nothing is corrected "
    "for the number of comparisons."
)
_MAIN = {5: ("auc", "average_precision", "f1"), 6: ("auc", "average_precision", "f1"), 7: ("ap", "ap40", "ap50")}


def _differences_body(results: Results) -> str:
    found = [difference for table in results.tables for difference in table.differences]
    main = [difference for difference in found if difference.group == "all"]
    more = [difference for difference in found if difference.group != "all"]
    inner = _differences_table(main) if main else ""
    if more:
        inner += f"<details><summary>within each source</summary>{_differences_table(more)}</details>"
    return inner


def _differences_table(differences: Sequence[Difference]) -> str:
    widest = max([abs(v) for d in differences for f in d.metrics.values() for v in (f.low, f.high) if v == v] or [1.0])
    body = "".join(
        _difference_row(difference, figure, widest) for difference in differences for figure in _MAIN[difference.table]
    )
    heads = ("Table", "Network", "Images", "Figure")
    numbers = ("without", "with", "difference", "95 % interval")
    head = "".join(f"<th>{name}</th>" for name in heads) + "".join(f"<th class='n'>{name}</th>" for name in numbers)
    columns = f"<thead><tr>{head}<th></th><th class='n'>p</th><th class='n'>n</th></tr></thead>"
    return f'<div class="wide"><table class="argument">{columns}<tbody>{body}</tbody></table></div>'


def _difference_row(difference: Difference, figure: str, widest: float) -> str:
    own = difference.metrics[figure]
    clear = " clear" if own.low > 0 or own.high < 0 else ""
    evidence = (*difference.first.evidence, *difference.second.evidence)
    title = escape("\n".join(f"{place(one.done)}, SHA-256 {one.done.sha256[:12]}" for one in evidence), quote=True)
    change = f"{100 * own.difference:+.1f}".replace("-", "−") if math.isfinite(own.difference) else "–"
    p_value = f"{own.p_value:.3f}" if math.isfinite(own.p_value) else "–"
    return (
        f"<tr><td style='min-width:0'>{difference.table}</td><td>{escape(difference.second.row.name)}</td>"
        f"<td>{escape(difference.group)}</td><td>{HEADINGS[figure]}</td>"
        f"<td class='n'>{percent(own.second)}</td><td class='n'>{percent(own.first)}</td>"
        f"<td class='n{clear}' title='{title}'>{change}</td>"
        f"<td class='n'>{percent_interval(own.low, own.high).replace('-', '−')}</td><td>{_forest(own, widest)}</td>"
        f"<td class='n'>{p_value}</td><td class='n'>{own.num_images}</td></tr>"
    )


def _forest(difference: PairedDifference, widest: float) -> str:
    if not math.isfinite(difference.difference) or not math.isfinite(difference.low):
        return ""

    def at(value: float) -> float:
        return 65 + 60 * value / widest

    return (
        '<svg class="forest" viewBox="0 0 130 18" aria-hidden="true">'
        '<line class="zero" x1="65" x2="65" y1="0" y2="18"/>'
        f'<line x1="{at(difference.low):.1f}" x2="{at(difference.high):.1f}" y1="9" y2="9"/>'
        f'<circle cx="{at(difference.difference):.1f}" cy="9" r="3.5"/></svg>'
    )


_ORIGIN_HINT = (
    f"Each job is a folder below jobs/ with its weights, scores, {LOG_FILE} and job.json, which names the command."
)


def _origin_body(plan: Plan, outcome: Outcome) -> str:
    lines = []
    for job in plan.jobs:
        done = outcome.done.get(job.name)
        state = "failed" if job.name in outcome.failed else "done" if done else "not run yet"
        detail = ""
        if done:
            minutes = f"{done.seconds / 60:.1f} min" if done.seconds else "given"
            detail = f"<code title='{escape(done.command, quote=True)}'>{escape(place(done))}</code>"
            detail = f"<td>{minutes}</td><td>{detail}</td><td><code>{done.sha256[:16]}</code></td>"
        lines.append(f"<tr><td>{escape(job.title)}</td><td>{state}</td>{detail or '<td></td><td></td><td></td>'}</tr>")
    head = "".join(f"<th>{name}</th>" for name in ("job", "state", "last run", "weights", "SHA-256"))
    table = f"<table class='origin'><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    failed = " open" if outcome.failed else ""
    return f'<details{failed}><summary>{len(plan.jobs)} jobs</summary><div class="wide">{table}</div></details>'
