"""Tables 5 to 7 of the paper with the residues of every system, by the jobs of the reproduction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from monai_dgm.benchmark.systems import System
from monai_dgm.errors import InputError
from monai_dgm.jobs.runner import Runner
from monai_dgm.metrics.metric_sets import SplitSummary
from monai_dgm.reproduction.jobs import make_plan
from monai_dgm.reproduction.presets import PRESETS
from monai_dgm.reproduction.result_tables import collect

__all__ = ["DownstreamRow", "run_downstream"]

TABLES = (5, 6, 7)


@dataclass(frozen=True)
class DownstreamRow:
    """A row of Tables 5 to 7.

    Attributes:
        table: 5, 6 or 7.
        network: with its size.
        residues: title of the system whose residues it sees; "" for the image alone.
        summaries: by metric.
    """

    table: int
    network: str
    residues: str
    summaries: Mapping[str, SplitSummary]


def run_downstream(
    preset: str | None,
    systems: Sequence[System],
    weights: Mapping[tuple[str, int], Path],
    runner: Runner,
    fold: int,
    train: bool,
) -> list[DownstreamRow]:
    """Train the classifiers and detectors that are missing; each system's first seed gives its residues.

    Args:
        preset: of the reproduction; None for no rows.
        systems: in the order of the rows.
        weights: (name, seed) -> file.
        runner: of the benchmark; the jobs go into ``downstream`` below its folder, where networks that see the image
            alone are trained once for all systems.
        fold: the test fold.
        train: False takes only what is there.

    Raises:
        InputError: an unknown preset.
    """
    if preset is None:
        return []
    if preset not in PRESETS:
        raise InputError(f"downstream: expected a preset of the reproduction ({', '.join(PRESETS)}), got {preset!r}")
    root = runner.root / "downstream"
    rows: dict[tuple[int, str, str], DownstreamRow] = {}
    for system in systems:
        seeds = sorted(seed for name, seed in weights if name == system.name)
        if not seeds:
            continue
        own = Runner(root, runner.dataset_info, runner.bundles, str(weights[system.name, seeds[0]]), threads=1)
        plan = make_plan(PRESETS[preset], [fold], TABLES)
        outcome = own.run(plan.jobs, train=train)
        for table in collect(plan, outcome, runner.dataset_info, root).tables:
            for row in table.groups.get("all", []):
                residues = system.title if "residue" in row.row.channels else ""
                network = row.row.name.removesuffix(" + DGM")
                rows[table.number, network, residues] = DownstreamRow(table.number, network, residues, row.summaries)
    return sorted(rows.values(), key=lambda row: (row.table, row.network, row.residues != ""))
