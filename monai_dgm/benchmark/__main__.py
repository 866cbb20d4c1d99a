"""``python -m monai_dgm.benchmark --output_dir OUT``: trains what is missing, judges all systems, writes the report."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from monai_dgm.benchmark.benchmark_data import choose_sources
from monai_dgm.benchmark.downstream import run_downstream
from monai_dgm.benchmark.features import FeatureNetwork, load_feature_network
from monai_dgm.benchmark.judging import judge_systems, make_bench
from monai_dgm.benchmark.presets import PRESETS
from monai_dgm.benchmark.report import Run, write_all
from monai_dgm.benchmark.results import REALISM, collect
from monai_dgm.benchmark.systems import find_systems, import_modules
from monai_dgm.benchmark.training import find_weights, make_costs, split_settings, train
from monai_dgm.data.sources import load_splits
from monai_dgm.engines.lungs.segmentor import load_lung_finder
from monai_dgm.engines.training.imagenet import find_imagenet_weights
from monai_dgm.errors import InputError
from monai_dgm.jobs.dataset_info import choose_folds, find_dataset_info
from monai_dgm.jobs.runner import Runner
from monai_dgm.utils.command import exit_status

_REPOSITORY = Path(__file__).resolve().parents[2]
OURS = ("dgm_boxes", "dgm_labels")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m monai_dgm.benchmark",
        description="All residue systems under one budget on the same test images with known truth: trains what is "
        "missing, writes OUT/report/index.html, tables as CSV and LaTeX. The same command continues where it stopped.",
    )
    add = parser.add_argument
    add("--output_dir", type=Path, required=True, help="folder for trainings, predictions and report")
    add("--dataset_dir", help="folder with a manifest.csv; default: the embedded sample")
    add("--preset", choices=sorted(PRESETS), default="toy", help="sizes and schedules (default: toy)")
    add("--systems", type=_names, help="some of them, such as dgm_boxes,vagan; default: all")
    add("--seeds", type=_numbers, help="of the trainings, such as 0,1,2; default: the preset's")
    add("--budget", type=float, help="CPU minutes of one thread for each training; default: the preset's")
    add("--add", action="append", default=[], metavar="NAME=FILE", help="another system: overlay or weights")
    add("--train_images", type=int, help="at most that many training images of each label and source")
    add(
        "--import",
        dest="modules",
        action="append",
        default=[],
        metavar="MODULE",
        help="that registers a system of --add",
    )
    add("--test_images", type=int, help="at most that many test images of each kind and source")
    add("--imagenet", type=Path, help="ImageNet's weights of EfficientNet-lite2; default: the installed package's")
    add("--downstream", metavar="PRESET", help="also the rows of Tables 5 to 7, by this preset of the reproduction")
    add("--bundles_dir", type=Path, help="folder of the bundles; default: bundles of this repository")
    add("--report_only", action="store_true", help="train nothing, judge and report what is there")
    return parser


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part.strip()]


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _features(path: Path | None) -> tuple[FeatureNetwork | None, list[str]]:
    """The network of features, and a warning where there is none."""
    found = path or find_imagenet_weights()
    if found is None:
        return None, ["No features: install monai-dgm[benchmark] or give --imagenet; realism is the sharpness alone."]
    return load_feature_network(found), []


def run(arguments: argparse.Namespace) -> int:
    """Run the command; 0 when all trainings have finished, 1 when one failed.

    Raises:
        InputError: the arguments or the data cannot be used.
    """
    if arguments.budget is not None and not arguments.budget > 0:
        raise InputError(f"budget: expected minutes above 0, got {arguments.budget}")
    preset = PRESETS[arguments.preset]
    if arguments.test_images is not None:
        count = arguments.test_images
        preset = replace(preset, test_images=count, simulated_patients=min(count, preset.simulated_patients))
    root, here = arguments.output_dir.absolute(), Path("bundles")
    bundles = (arguments.bundles_dir or (here if (here / "dgm").is_dir() else _REPOSITORY / "bundles")).absolute()
    import_modules(arguments.modules)
    systems = find_systems(bundles, arguments.systems, arguments.add)
    features, warnings = _features(arguments.imagenet)
    data = choose_sources(arguments.dataset_dir, preset.sources, root / "data", preset.fold, arguments.train_images)
    info = find_dataset_info(data, root / "sample", preset.data)
    choose_folds(info, [preset.fold], None)
    seeds, budget = arguments.seeds or list(preset.seeds), arguments.budget or preset.budget_minutes
    runner = Runner(root, info, bundles, threads=1)
    print(f"{len(systems)} systems on {info.name}, {budget:g} min of one thread each, seeds {seeds}.")
    print("Research software; not a medical device.", flush=True)
    root.mkdir(parents=True, exist_ok=True)
    costs = make_costs(systems, preset, root, bundles, arguments.modules, not arguments.report_only)
    jobs, outcome = train(systems, preset, seeds, costs, budget, runner, run=not arguments.report_only)
    weights = find_weights(systems, jobs, outcome, runner)
    torch.set_num_threads(1)
    splits = load_splits(**split_settings(preset, info))
    finder = load_lung_finder(bundles / "lung_segmentation")
    bench = make_bench(splits, preset, root / "test_sets", root / "cache", finder, features)
    judged = judge_systems(systems, weights, bench, root / "predictions")
    test_sets = {**bench.test_sets, REALISM: bench.test_sets["real"]}
    ours = [name for name in OURS if name in {one.name for one in judged}]
    results = collect(judged, test_sets, ours, preset.num_bootstrap)
    downstream = run_downstream(arguments.downstream, systems, weights, runner, preset.fold, not arguments.report_only)
    described = Run(preset, info, systems, jobs, outcome, costs, budget, seeds, weights, warnings)
    page = write_all(results, bench, described, downstream, root)
    outcome.print_failed()
    print(f"report: {page}", flush=True)
    return 1 if outcome.failed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; errors of the user are one line."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    return exit_status(run, _parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
