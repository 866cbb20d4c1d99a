"""``report/``: the page, its figures, and the tables as CSV, LaTeX and JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_dgm.benchmark.downstream import DownstreamRow
from monai_dgm.benchmark.figures import glance_figure, panels_figure
from monai_dgm.benchmark.judge import predictions_of
from monai_dgm.benchmark.judging import Bench
from monai_dgm.benchmark.presets import Preset
from monai_dgm.benchmark.result_files import interval_text, value_text, write_csv, write_json, write_latex
from monai_dgm.benchmark.results import METRICS, Comparison, Results
from monai_dgm.benchmark.systems import System
from monai_dgm.benchmark.tables import BenchmarkTable, make_tables
from monai_dgm.data.fingerprints import hash_file
from monai_dgm.jobs.dataset_info import DatasetInfo
from monai_dgm.jobs.job import Job
from monai_dgm.jobs.runner import Outcome
from monai_dgm.report.colours import data_uri
from monai_dgm.report.page import write_page
from monai_dgm.utils.atomic import write_bytes

__all__ = ["Run", "write_all"]

_COSTS = {
    "parameters": ("parameters, M", ".2f"),
    "training_parameters": ("in training, M", ".2f"),
    "gflop": ("GFLOP an image", ".2f"),
    "gflop_step": ("GFLOP a step", ".1f"),
    "step_ms": ("ms a step", ".0f"),
    "decompose_ms": ("ms an image", ".0f"),
    "step_memory_mib": ("MiB of a step", ".0f"),
}
_NOTES = (
    "±: standard deviation over seeds. Brackets: 95 % interval of the mean over seeds, by bootstrap over patients.",
    "Differences: the same images in the same resamples, mean over common seeds; percentile interval and two-sided p, "
    "not corrected for their number.",
    "Every system: the same images, batch size and CPU time of one thread, the augmentation of its configuration, "
    "last weights (moving average); nothing is chosen by validation or test images.",
    "Inserted opacities: real ones from boxes of the training folds, Poisson-blended (boxes.json trains with the same "
    "blending), and rendered ones by the simulator, into real normal radiographs of the test fold.",
    "Realism: features of EfficientNet-lite2 as ImageNet taught it; y' of abnormal against real normal radiographs, "
    "equally many of each source.",
    "FLOPs are counted by torch (two for a multiplication and addition); times are CPU times of one thread, medians, "
    "systems taking turns.",
)
_PANELS = {"residues": "Residues, as Fig. 5 of the paper", "normals": "Normal images, as Fig. 6 of the paper"}


@dataclass(frozen=True, eq=False)
class Run:
    """What was run, for the report.

    Attributes:
        preset, dataset_info, systems, jobs, outcome, costs: of the run.
        budget_minutes: of each training.
        seeds: asked for.
        weights: (name, seed) -> file.
        warnings: of what is missing.
    """

    preset: Preset
    dataset_info: DatasetInfo
    systems: Sequence[System]
    jobs: Mapping[tuple[str, int], Job]
    outcome: Outcome
    costs: Mapping[str, Mapping[str, float]]
    budget_minutes: float
    seeds: Sequence[int]
    weights: Mapping[tuple[str, int], Path]
    warnings: Sequence[str]

    def steps(self, name: str) -> int | None:
        """Steps of a system's trainings; None for one that is not trained."""
        for (own, _), job in self.jobs.items():
            if own == name:
                return int(job.overrides["epoch_length"]) * int(job.overrides["max_epochs"])
        return None


def write_all(results: Results, bench: Bench, run: Run, downstream: Sequence[DownstreamRow], root: Path) -> Path:
    """Write every file of the report into ``root/report`` and return the page."""
    folder, tables = root / "report", make_tables(results)
    folder.mkdir(parents=True, exist_ok=True)
    figures = _figures(results, bench, run, root)
    for name, png in figures.items():
        write_bytes(folder / f"{name}.png", png)
    hashes = {key: hash_file(path) for key, path in run.weights.items()}
    origins = {
        system.name: " ".join(f"sha256:{sha}" for (name, _), sha in hashes.items() if name == system.name)
        for system in run.systems
    }
    write_csv(tables, results, origins, folder)
    write_latex(tables, f"{run.dataset_info.name}; manifest sha256:{run.dataset_info.sha256}", folder)
    costs = {s.name: {**run.costs.get(s.name, {}), "steps": run.steps(s.name)} for s in run.systems}
    write_json(tables, results, _settings(run, bench), costs, folder / "results.json")
    return write_page(
        folder,
        "benchmark.html",
        Path(__file__).parent / "templates",
        title="Who takes radiographs apart best?",
        summary=_summary(run, bench),
        warnings=[*run.warnings, *_warnings(run)],
        notes=_NOTES,
        glance=data_uri(figures["glance"]),
        panels=[(words, data_uri(figures[name])) for name, words in _PANELS.items() if name in figures],
        tables=[_table(table) for table in tables],
        differences=_differences(results),
        costs=_cost_rows(run),
        cost_heads=[words for words, _ in _COSTS.values()],
        downstream=[_downstream(row) for row in downstream],
        cells=_cells(run, hashes),
    )


def _figures(results: Results, bench: Bench, run: Run, root: Path) -> dict[str, bytes]:
    figures = {"glance": glance_figure(results)}
    shown = {}
    for system in run.systems:
        seeds = sorted(seed for name, seed in run.weights if name == system.name)
        if seeds:
            real = {"real": bench.test_sets["real"]}
            path = run.weights[system.name, seeds[0]]
            shown[system.title] = predictions_of(path, real, bench.features, root / "predictions")["real"]
    if shown:
        figures["residues"] = panels_figure(bench.test_sets["real"], shown, True)
        figures["normals"] = panels_figure(bench.test_sets["real"], shown, False)
    return figures


def _settings(run: Run, bench: Bench) -> dict[str, Any]:
    return {
        "preset": run.preset.name,
        "data": run.dataset_info.name,
        "manifest_sha256": run.dataset_info.sha256,
        "budget_minutes": run.budget_minutes,
        "seeds": list(run.seeds),
        "image_size": run.preset.image_size,
        "batch_size": run.preset.batch_size,
        "fold": run.preset.fold,
        "test_images": {name: len(test_set) for name, test_set in bench.test_sets.items()},
    }


def _summary(run: Run, bench: Bench) -> str:
    counts = ", ".join(f"{len(test_set):,} {name}" for name, test_set in bench.test_sets.items())
    seeds = ", ".join(map(str, run.seeds))
    return (
        f"{len(run.systems)} systems on {run.dataset_info.name}: {run.preset.image_size} px, "
        f"{run.budget_minutes:g} minutes of CPU time of one thread for each training, seeds {seeds}; test fold "
        f"{run.preset.fold}. Test images: {counts}.\n\n{run.preset.summary}"
    )


def _warnings(run: Run) -> list[str]:
    lines = [f"Failed: {name}: {reason}" for name, reason in run.outcome.failed.items()]
    if run.outcome.waiting:
        lines.append(f"Not trained yet: {', '.join(run.outcome.waiting)}. The tables hold what is there.")
    done = {name for name, _ in run.weights}
    missing = [s.title for s in run.systems if s.name not in done and s.name not in {n for n, _ in run.jobs}]
    if missing:
        lines.append(f"Not measured and not trained: {', '.join(missing)}.")
    if run.jobs and len(run.seeds) < 3:
        lines.append(f"{len(run.seeds)} seed(s): deviations over seeds say little.")
    return lines


def _table(table: BenchmarkTable) -> dict[str, Any]:
    counts = [own for row in table.rows for own in row.estimates if own is not None]
    return {
        "title": table.title,
        "detail": table.detail,
        "num_images": max(own.num_images for own in counts),
        "num_patients": max(own.num_patients for own in counts),
        "heads": [
            {**METRICS[metric], "num_images": next((o.num_images for r in table.rows if (o := r.estimates[i])), 0)}
            for i, metric in enumerate(table.metrics)
        ],
        "rows": [
            {
                "title": row.title,
                "reference": row.is_reference,
                "cells": [
                    {
                        "text": value_text(own),
                        "interval": interval_text(own.low, own.high) if own else "",
                        "best": best == row.name,
                    }
                    for own, best in zip(row.estimates, table.best, strict=True)
                ],
            }
            for row in table.rows
        ],
    }


def _differences(results: Results) -> list[dict[str, Any]]:
    """For each of ours a table: other systems by metrics, on inserted opacities and within each source."""
    titles = {one.name: one.title for one in results.judged}
    ours = dict.fromkeys(one.ours for one in results.comparisons)
    found = []
    for our in ours:
        for test_set in ("inserted", "real"):
            own = [c for c in results.comparisons if (c.ours, c.test_set) == (our, test_set)]
            sources = [g for g in dict.fromkeys(c.group for c in own) if g == "all" or g.startswith("source: ")]
            groups = [g for g in sources if test_set == "inserted" or g != "all"] or sources
            for group in groups[:1] if test_set == "inserted" else groups:
                part = [c for c in own if c.group == group]
                metrics = [m for m in METRICS if any(c.metric == m for c in part)]
                rows = [
                    {"title": titles[other], "cells": [_cell(part, other, metric) for metric in metrics]}
                    for other in dict.fromkeys(c.other for c in part)
                ]
                place = "(b) inserted opacities" if test_set == "inserted" else f"(c) {group.removeprefix('source: ')}"
                heads = [(METRICS[m]["label"], METRICS[m]["better"]) for m in metrics]
                found.append({"title": f"{titles[our]} − others, {place}", "heads": heads, "rows": rows})
    return found


def _cell(part: Sequence[Comparison], other: str, metric: str) -> dict[str, str]:
    one = next((c for c in part if (c.other, c.metric) == (other, metric)), None)
    if one is None or not math.isfinite(one.difference):
        return {"text": "–", "interval": "", "verdict": ""}
    text = f"{one.difference:+.3f}".replace("-", "−")
    return {"text": text, "interval": interval_text(one.low, one.high), "verdict": one.verdict}


def _cost_rows(run: Run) -> list[dict[str, Any]]:
    rows = []
    for system in run.systems:
        own = run.costs.get(system.name, {})
        steps = run.steps(system.name)
        if own:
            cells = [format(own[name], form) if name in own else "–" for name, (_, form) in _COSTS.items()]
            rows.append({"title": system.title, "cells": cells, "steps": f"{steps:,}" if steps else "–"})
    return rows


def _downstream(row: DownstreamRow) -> dict[str, Any]:
    names = ("auc", "average_precision", "ap", "ap40", "ap50")
    known = {name: row.summaries[name] for name in names if name in row.summaries}
    return {
        "table": row.table,
        "network": row.network,
        "residues": row.residues or "none",
        "text": "; ".join(f"{n} {100 * s.mean:.1f} [{100 * s.low:.1f}, {100 * s.high:.1f}]" for n, s in known.items()),
    }


def _cells(run: Run, hashes: Mapping[tuple[str, int], str]) -> list[dict[str, str]]:
    lines = []
    for (name, seed), job in run.jobs.items():
        record = run.outcome.finished.get(job.name)
        failed = job.name in run.outcome.failed
        lines.append(
            {
                "title": job.title,
                "state": "failed" if failed else "done" if record else "not run yet",
                "time": f"{record.seconds / 60:.1f} min" if record else "",
                "sha256": hashes.get((name, seed), "")[:16],
                "command": record.command if record else "",
            }
        )
    return lines
