"""``monai-dgm benchmark``: all residue systems under one budget on the same test images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from monai_dgm.cli.bundle_run import DatasetArgument, dataset_and_overrides


def benchmark(
    dataset: DatasetArgument = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- --OPTION VALUE ...]", help="Others of python -m monai_dgm.benchmark."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of trainings and report.")] = Path("benchmark"),
    preset: Annotated[str, typer.Option(help="Sizes and schedules.")] = "toy",
    systems: Annotated[str | None, typer.Option(help="Some of them, such as dgm_boxes,vagan; default: all.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Of the trainings, such as 0,1,2; default: the preset's.")] = None,
    budget: Annotated[float | None, typer.Option(help="CPU minutes of each training; default: the preset's.")] = None,
    report_only: Annotated[bool, typer.Option(help="Train nothing, judge and report what is there.")] = False,
) -> int:
    """Train the residue systems that are missing under one budget, and judge all on images with known truth.

    Writes OUTPUT/report/index.html, and tables as CSV and LaTeX. The same command goes on where it was stopped.
    """
    from monai_dgm.benchmark.__main__ import main

    dataset, words = dataset_and_overrides(dataset, overrides)
    options = {"dataset_dir": dataset, "preset": preset, "systems": systems, "seeds": seeds, "budget": budget}
    given = [word for name, value in options.items() if value is not None for word in (f"--{name}", str(value))]
    return main(["--output_dir", str(output), *given, *(["--report_only"] if report_only else []), *words])
