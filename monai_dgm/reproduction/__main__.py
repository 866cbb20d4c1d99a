"""``python -m monai_dgm.reproduction --output_dir OUT``: trains what is missing, evaluates, writes the report."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from monai_dgm.errors import InputError
from monai_dgm.jobs.dataset_info import choose_folds, find_dataset_info
from monai_dgm.jobs.runner import Runner, all_decomposers, changed_configs
from monai_dgm.reproduction.jobs import TABLES, make_plan
from monai_dgm.reproduction.pages import write_page
from monai_dgm.reproduction.presets import PRESETS
from monai_dgm.reproduction.result_tables import collect
from monai_dgm.reproduction.table_files import write_csv, write_latex
from monai_dgm.utils.bundle_files import bundles_folder
from monai_dgm.utils.command import exit_status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m monai_dgm.reproduction",
        description="Tables 4 to 7 of the paper on your data: trains what is missing, evaluates, writes "
        "OUT/report/index.html, tables as CSV and LaTeX. The same command continues where it was interrupted.",
    )
    parser.add_argument("--output_dir", type=Path, required=True, help="folder for trainings, scores and report")
    parser.add_argument("--dataset_dir", help="folder with a manifest.csv, or the RSNA challenge; default: the sample")
    parser.add_argument(
        "--preset", choices=sorted(PRESETS), default="toy", help="size of networks and schedules (default: toy)"
    )
    parser.add_argument("--folds", type=_numbers, help="test folds, such as 0,1,2,3,4; default: the preset's")
    parser.add_argument("--tables", type=_numbers, default=list(TABLES), help="some of 4,5,6,7; default: all")
    parser.add_argument(
        "--decomposers", help="weights of decomposers to use instead of training them, with {fold} in the path"
    )
    parser.add_argument(
        "--cross_fitted",
        action="store_true",
        help="train on residues of the --decomposers that have not seen the image; needs those of all folds",
    )
    parser.add_argument(
        "--controls",
        action="store_true",
        help="also compare residues with another image's residue, the mean residue, and the head's logit",
    )
    parser.add_argument("--bundles_dir", type=Path, help="folder of the bundles; default: the package's")
    parser.add_argument("--report_only", action="store_true", help="train nothing, report the finished jobs")
    return parser


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part.strip()]


def run(arguments: argparse.Namespace) -> int:
    """Run the command; 0 when all jobs have finished, 1 when one failed.

    Raises:
        InputError: the arguments or the data cannot be used.
    """
    unknown = sorted(set(arguments.tables) - set(TABLES))
    if unknown or not arguments.tables:
        raise InputError(f"tables: expected some of {', '.join(map(str, TABLES))}, got {unknown or 'none'}")
    if arguments.decomposers and "{fold}" not in arguments.decomposers:
        raise InputError(f"decomposers: expected a path with {{fold}} in it, got {arguments.decomposers}")
    if arguments.cross_fitted and not arguments.decomposers:
        raise InputError("cross_fitted: expected --decomposers as well, which names a decomposer of every fold")
    preset, root = PRESETS[arguments.preset], arguments.output_dir.absolute()
    here = Path("bundles")
    bundles = arguments.bundles_dir or (here if (here / "dgm").is_dir() else bundles_folder())
    dataset_info = find_dataset_info(arguments.dataset_dir, root / "sample", preset.data)
    fingerprint = all_decomposers(arguments.decomposers, dataset_info.folds) if arguments.cross_fitted else None
    folds = choose_folds(dataset_info, arguments.folds, preset.folds)
    plan = make_plan(preset, folds, arguments.tables, fingerprint, arguments.controls)
    print(f"{len(plan.jobs)} jobs on {dataset_info.name}, folds {list(plan.folds)}.")
    print("Research software; not a medical device.", flush=True)
    runner = Runner(root, dataset_info, bundles, arguments.decomposers)
    outcome = runner.run(plan.jobs, train=not arguments.report_only)
    results = collect(plan, outcome, dataset_info, root)
    changed = changed_configs(outcome, plan.jobs, runner.bundles)
    remarks = [f"Trained with other configuration files than the present ones: {', '.join(changed)}"] if changed else []
    write_csv(results, dataset_info, root / "report")
    write_latex(results, dataset_info, root / "report")
    page = write_page(results, plan, outcome, dataset_info, root / "report", remarks)
    outcome.print_failed()
    print(f"report: {page}", flush=True)
    return 1 if outcome.failed or results.problems else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; errors of the user are one line."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    return exit_status(run, _parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
