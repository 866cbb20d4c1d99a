"""What each ingredient does: short trainings, one for each variant and seed, as one table and one figure.

    python benchmarks/ablations.py --output_dir OUT [--dataset_dir FOLDER] [--seeds 0,1,2] [--only default,paper]

Every variant is the bundle's own training command with the overrides below, at 64 px and a quarter of the width, tested
on fold 0; without --dataset_dir on the embedded sample. Short runs rank ingredients; they do not show what a long
training reaches. A run that was ended goes on where it was. ``--results docs/results/ablations.json`` writes the table
that docs/experiments.md shows, ``--figure`` the loss with and without D_J (the paper's Fig. 4).
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_dgm.handlers.history import read_history
from monai_dgm.jobs.dataset_info import find_dataset_info
from monai_dgm.jobs.job import Job
from monai_dgm.jobs.runner import Runner
from monai_dgm.utils.atomic import atomic_write, write_json

BUNDLES = Path(__file__).resolve().parents[1] / "bundles"
ADDED_TERMS = ("clean_normal", "healthy_normal", "paired_normal", "paired_residue", "normal_ssim", "evidence")
PAPER_TERMS = ("adversarial", "reconstruction", "total_variation", "abnormality")

NO_JOINT_DECODER: dict[str, Any] = {"network_def#joint_decoder": False}
NO_TOTAL_VARIATION: dict[str, Any] = {"objective#weights#total_variation": 0.0}
NO_PAIRS: dict[str, Any] = {
    "train#batch_transforms#1#prob": 0.0,
    "objective#superimposed_teach_head": False,
    "objective#weights#paired_normal": 0.0,
    "objective#weights#paired_residue": 0.0,
}
# Changes of the default settings, one at a time.
OURS: dict[str, dict[str, Any]] = {
    "default": {},
    "without_joint_decoder": NO_JOINT_DECODER,
    "without_total_variation": NO_TOTAL_VARIATION,
    **{f"without_{term}": {f"objective#weights#{term}": 0.0} for term in ADDED_TERMS},
    "without_superimposition": NO_PAIRS,
    "without_normal_skips": {"network_def#normal_skips": False},
    "with_residue_skips": {"network_def#residue_skips": True},
    "one_learning_rate": {"discriminator#optimizer#lr": "@learning_rate"},
}
# The paper's model (paper.json): its network, discriminator and eq. 6; batches and learning rate of the other rows.
PAPER: dict[str, dict[str, Any]] = {
    "paper": {},
    "paper_without_joint_decoder": NO_JOINT_DECODER,
    "paper_without_total_variation": NO_TOTAL_VARIATION,
}
VARIANTS = {**OURS, **PAPER}
METRICS = (
    "head_auc", "residue_auc", "residue_pixel_ap", "residue_pixel_ap/baseline_mean_box_prior", "pointing_game",
    "pointing_game/baseline_mean_box_prior", "normal_ssim", "normal_std_ratio", "lesion_error_reduction",
)  # fmt: skip
CURVES = ("paper", "paper_without_joint_decoder")

Metrics = dict[str, tuple[float, int]]
"""Value and number of images of each metric."""


def plan(name: str, seed: int, iterations: int, size: Mapping[str, Any]) -> Job:
    """The training of one variant with one seed."""
    overrides: dict[str, Any] = {
        "batch_size": 8, "learning_rate": 2e-4, "epoch_length": iterations // 4, "max_epochs": 4, "val_interval": 4,
        "warm_up_iterations": 0, "log_interval": max(1, iterations // 50), "seed": seed, "splits#seed": 0,
        "supervision": "labels", **size,
    }  # fmt: skip
    configs = ["train.json"]
    if name in PAPER:
        configs.append("paper.json")
        overrides |= {"num_real": 0, "normal_fraction": 0.5, "lr_milestones": [2, 3]}
    title = f"{name}, seed {seed}"
    named = f"{name}-{seed}"
    return Job(named, "decomposer", title, "dgm", "training", tuple(configs), {**overrides, **VARIANTS[name]}, 0)


def read_metrics(folder: Path, group: str) -> Metrics:
    """Metrics of a finished training, those that are defined on its data."""
    rows = json.loads((folder / "report" / "metrics.json").read_text(encoding="utf-8"))
    own = [row for row in rows if row["group"] == group]
    return {row["name"]: (row["value"], row["num_images"]) for row in own if row["value"] is not None}


def table_of(results: Mapping[str, Sequence[Metrics]]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds, as docs/result_tables.py takes a table."""
    found = [name for name in METRICS if any(name in metrics for runs in results.values() for metrics in runs)]
    counts = {name: max(m[name][1] for runs in results.values() for m in runs if name in m) for name in found}
    columns = ["variant", "seeds", *(f"{name.replace('_', ' ')} (n = {counts[name]})" for name in found)]
    rows = []
    for variant, runs in results.items():
        cells: list[Any] = [variant.replace("_", " "), [len(runs)]]
        for name in found:
            values = [metrics[name][0] for metrics in runs if name in metrics]
            cells.append(mean_and_deviation(values) if values else "")
        rows.append(cells)
    return {"columns": columns, "formats": ["", "{:d}", *("{:.3f} ± {:.3f}" for _ in found)], "rows": rows}


def mean_and_deviation(values: Sequence[float]) -> Any:
    mean = round(statistics.fmean(values), 4)
    return [mean, round(statistics.stdev(values), 4)] if len(values) > 1 else f"{mean:.3f}"


def common_loss(history: Sequence[Mapping[str, Any]], weight: float = 10.0) -> tuple[list[int], list[float]]:
    """Iterations, and the total without l_R^2: what a model with D_J and one without it have in common."""
    rows = [row for row in history if "loss/loss" in row]
    values = [row["loss/loss"] - weight * row.get("loss/joint_reconstruction", 0.0) for row in rows]
    return [row["iteration"] for row in rows], values


def curve_figures(histories: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]]) -> dict[str, dict[str, Any]]:
    """What the curves show, for each variant: the last tenth of the loss, when it is first 10 % above it, its jumps.

    A jump is the mean change of the loss from one row to the next over the second half, whatever its sign: the paper's
    "more stable" in a number. Mean and standard deviation over the seeds.
    """
    figures = {}
    for variant, runs in histories.items():
        last, reached, jumps = [], [], []
        for history in runs:
            iterations, values = common_loss(history)
            losses = np.array(values)
            last.append(float(losses[-max(1, len(losses) // 10) :].mean()))
            reached.append(float(iterations[int(np.argmax(losses <= 1.1 * last[-1]))]))
            jumps.append(float(np.abs(np.diff(losses[len(losses) // 2 :])).mean()))
        figures[variant] = {"last": last, "reached": reached, "jumps": jumps}
    return figures


def curve_table(histories: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]]) -> dict[str, Any]:
    """:func:`curve_figures` as docs/result_tables.py takes a table."""
    rows = [
        [
            variant.replace("_", " "),
            [len(own["last"])],
            *(mean_and_deviation(own[k]) for k in ("last", "reached", "jumps")),
        ]
        for variant, own in curve_figures(histories).items()
    ]
    columns = ["variant", "seeds", "loss at the end", "iterations until 10 % above it", "mean jump, second half"]
    return {
        "columns": columns,
        "formats": ["", "{:d}", "{:.3f} ± {:.3f}", "{:.0f} ± {:.0f}", "{:.4f} ± {:.4f}"],
        "rows": rows,
    }


def draw_curves(histories: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]], path: Path) -> None:
    """The loss that the variants have in common; each seed as a thin line, their mean as a thick one."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for index, (variant, runs) in enumerate(histories.items()):
        curves = [common_loss(history) for history in runs]
        length = min(len(values) for _, values in curves)
        for iterations, values in curves:
            axes.plot(iterations, values, color=f"C{index}", alpha=0.35, linewidth=0.8)
        mean = np.mean([values[:length] for _, values in curves], axis=0)
        axes.plot(
            curves[0][0][:length], mean, color=f"C{index}", label=f"{variant.replace('_', ' ')} ({len(runs)} seeds)"
        )
    axes.set_xlabel("iteration")
    axes.set_ylabel("loss without $\\ell_R^2$")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 8.0, 9.0)))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.legend()
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=150, format=path.suffix.removeprefix("."))


def write_results(path: Path, tables: Mapping[str, Any], command: str) -> None:
    """Write tables into a file of docs/results; tables that it has already and that are not among these stay."""
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"tables": {}}
    content |= {"command": command, "date": str(datetime.date.today())}
    content["tables"] = {**content["tables"], **tables}
    write_json(path, content, ensure_ascii=False)


def main() -> int:
    """Train what is missing of the variants asked for; print, and where asked write, what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--dataset_dir", help="folder of radiographs; default: the embedded sample")
    parser.add_argument("--output_dir", type=Path, default=Path("output/ablations"))
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--seeds", default="0,1,2", help="comma-separated; default: 0,1,2")
    parser.add_argument("--only", default=",".join(VARIANTS), help="comma-separated names")
    parser.add_argument("--group", default="all", help="all, or source:<name>")
    parser.add_argument("--image_size", type=int, default=64)
    parser.add_argument("--base_width", type=int, default=16)
    parser.add_argument("--sample_patients", type=int, default=1500, help="of the embedded sample")
    parser.add_argument("--results", type=Path, help="file of docs/results that takes the tables")
    parser.add_argument("--figure", type=Path, help="file of the figure, .png or .svg")
    arguments = parser.parse_args()
    names, seeds = arguments.only.split(","), [int(seed) for seed in arguments.seeds.split(",")]
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        parser.error(f"--only: expected some of {', '.join(VARIANTS)}, got {unknown[0]}")
    sample = {} if arguments.dataset_dir else {"sample_patients": arguments.sample_patients, "sample_size": 128}
    dataset_info = find_dataset_info(arguments.dataset_dir, arguments.output_dir.absolute() / "sample", sample)
    size = {"image_size": arguments.image_size, "base_width": arguments.base_width, **sample}
    runner = Runner(arguments.output_dir, dataset_info, BUNDLES)
    # seed by seed, so that a run that is ended has all variants of the seeds that it has
    jobs = {(name, seed): plan(name, seed, arguments.iterations, size) for seed in seeds for name in names}
    outcome = runner.run(list(jobs.values()))
    done = {key: runner.folder(job, None) for key, job in jobs.items() if job.name in outcome.finished}
    results = {n: [read_metrics(done[n, s], arguments.group) for s in seeds if (n, s) in done] for n in names}
    results = {name: runs for name, runs in results.items() if runs}
    curves = {n: [read_history(done[n, s] / "history.jsonl") for s in seeds if (n, s) in done] for n in CURVES}
    curves = {name: runs for name, runs in curves.items() if runs}
    where = "real" if arguments.dataset_dir else "sample"
    tables = {where: table_of(results), **({f"{where}_loss": curve_table(curves)} if curves else {})}
    print(json.dumps(tables, indent=1, ensure_ascii=False))
    if arguments.results:
        data = f"{dataset_info.name}; {arguments.iterations} iterations of 8 images, {arguments.image_size} px"
        chosen = {"only": arguments.only, "seeds": arguments.seeds, "iterations": arguments.iterations}
        given = [f" --{name} {value}" for name, value in chosen.items() if value != parser.get_default(name)]
        folder = " --dataset_dir FOLDER" if arguments.dataset_dir else ""
        command = f"python benchmarks/ablations.py --output_dir OUT{folder}{''.join(given)}"
        write_results(arguments.results, tables, f"{command} ({data})")
    if arguments.figure and curves:
        draw_curves(curves, arguments.figure)
    outcome.print_failed()
    return 1 if outcome.failed else 0


if __name__ == "__main__":
    sys.exit(main())
