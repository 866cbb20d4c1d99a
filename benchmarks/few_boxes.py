"""Does the residue help a detector that has few boxes to learn from? Detectors on [image] and on [image, residue].

    python benchmarks/few_boxes.py --output_dir OUT --dataset_dir FOLDER --decomposer model.pt \
        [--boxed_images 50,200,1000] [--seeds 0,1,2] [--results docs/results/few_boxes.json] [--figure few_boxes.png]

The decomposer should have seen labels alone, or the residue carries the very boxes that the detector is not shown:
train it with ``--supervision labels`` and without fold 0, the test fold. Both detectors of a seed see the same boxes in
the same order, by the bundle's own training at 96 px and a quarter of the width. A run that was ended goes on where it
was. The table has AP at IoU 0.40 and AP (0.40 to 0.75) within each source: mean and deviation over seeds, and the
difference that the residue makes, with its 95 % interval by bootstrap over the test patients, paired.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ablations import BUNDLES, mean_and_deviation, write_results

from monai_dgm.engines.detection.detection_evaluation import read_detections
from monai_dgm.jobs.dataset_info import find_dataset_info
from monai_dgm.jobs.job import Job
from monai_dgm.jobs.runner import Runner
from monai_dgm.metrics.comparison import PairedDifference, paired_differences
from monai_dgm.metrics.detection import detection_metric_set
from monai_dgm.metrics.detection_matching import DetectionResult, match_detections
from monai_dgm.metrics.metric_sets import MetricSet, Weights, metric_values
from monai_dgm.utils.atomic import atomic_write

CHANNELS = (("image",), ("image", "residue"))
METRICS = {"ap40": "AP at IoU 0.40", "ap": "AP"}
DECOMPOSER = Job("decomposer", "decomposer", "the decomposer that is given", "dgm", "training", ("train.json",), {}, 0)

Detections = tuple[list[DetectionResult], list[str]]
"""Results of the test images, and the source of each."""


def plan(channels: Sequence[str], boxed_images: int, seed: int, steps: int) -> Job:
    """The training of one detector."""
    overrides: dict[str, Any] = {
        "channels": list(channels), "boxed_images": boxed_images, "seed": seed, "image_size": 96, "width": 0.25,
        "fpn_channels": 64, "batch_size": 8, "epoch_length": steps // 4, "max_epochs": 4, "val_interval": 4,
        "warm_up_steps": 50, "ema_momentum": 0.02, "num_bootstrap": 2, "splits#splits#seed": 0,
    }  # fmt: skip
    words = " and ".join(channels)
    name = f"boxes{boxed_images}-{'_'.join(channels)}-{seed}"
    title = f"{boxed_images} images with boxes, {words}, seed {seed}"
    needs = DECOMPOSER.name if "residue" in channels else None
    return Job(name, "detector", title, "opacity_detection", "training", ("train.json",), overrides, 0, needs)


def mean_over_seeds(runs: Sequence[Sequence[DetectionResult]]) -> MetricSet:
    """The metrics of each seed's detections of the same images, averaged under the same weights."""
    sets = [detection_metric_set(match_detections(results)) for results in runs]

    def mean(weights: Weights) -> Mapping[str, Any]:
        values = [metrics(weights) for metrics in sets]
        return {name: np.mean([value[name] for value in values], axis=0) for name in METRICS}

    return mean


def select(detections: Detections, source: str) -> list[DetectionResult]:
    """Results of one source's images, in the order of their names."""
    own = [result for result, name in zip(*detections, strict=True) if name == source]
    return sorted(own, key=lambda result: result.image_id)


def row_of(count: int, source: str, runs: Mapping[tuple[str, ...], Sequence[Detections]]) -> list[Any]:
    """One row of the table: each metric of both detectors, and their paired difference."""
    chosen = {channels: [select(detections, source) for detections in own] for channels, own in runs.items()}
    without, with_residue = (chosen[channels] for channels in CHANNELS)
    patients = [result.patient_id for result in without[0]]
    differences = paired_differences(mean_over_seeds(with_residue), mean_over_seeds(without), patients)
    boxed = sum(len(result.truth) > 0 for result in without[0])
    values = [
        [metric_values(mean_over_seeds([results]), len(results)) for results in own] for own in (without, with_residue)
    ]
    cells: list[Any] = [[count], f"{source}, n = {len(without[0])} ({boxed})", [len(without)]]
    for metric in METRICS:
        for own in values:
            cells.append(mean_and_deviation([value[metric] for value in own]))
        cells.append(_interval(differences[metric]))
    return cells


def _interval(difference: PairedDifference) -> list[float]:
    return [round(value, 4) for value in (difference.difference, difference.low, difference.high)]


def table_of(runs: Mapping[int, Mapping[tuple[str, ...], Sequence[Detections]]]) -> dict[str, Any]:
    """The table as docs/result_tables.py takes it; sources without a box in the test are left out."""
    rows = []
    for count, own in runs.items():
        results, sources = own[CHANNELS[0]][0]
        boxed = {source for result, source in zip(results, sources, strict=True) if len(result.truth)}
        rows += [row_of(count, source, own) for source in sorted(boxed)]
    names, formats = ["images with boxes", "tested within (with boxes)", "seeds"], ["{:d}", "", "{:d}"]
    for title in METRICS.values():
        names += [f"{title}, image", "image and residue", "difference"]
        formats += ["{:.3f} ± {:.3f}", "{:.3f} ± {:.3f}", "{:+.3f} [{:+.3f}, {:+.3f}]"]
    return {"columns": names, "formats": formats, "rows": rows}


def draw(table: Mapping[str, Any], path: Path) -> None:
    """AP at IoU 0.40 over the number of images with boxes, a panel for each source; bars are deviations over seeds."""
    from matplotlib.figure import Figure

    sources = list(dict.fromkeys(row[1] for row in table["rows"]))
    figure = Figure(figsize=(4 * len(sources), 3.2), layout="constrained")
    for axes, source in zip(figure.subplots(1, len(sources), squeeze=False)[0], sources, strict=True):
        rows = [row for row in table["rows"] if row[1] == source]
        for column, label in ((3, "image"), (4, "image and residue")):
            cells = [row[column] for row in rows]
            means, deviations = np.array([cell if isinstance(cell, list) else [float(cell), 0] for cell in cells]).T
            axes.errorbar([row[0][0] for row in rows], means, deviations, marker="o", capsize=3, label=label)
        axes.set(
            xscale="log", title=source, xlabel="training images with boxes", ylabel=METRICS["ap40"], ylim=(0, None)
        )
        axes.set_xticks([row[0][0] for row in rows], [str(row[0][0]) for row in rows])
        axes.minorticks_off()
        axes.legend()
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=150, format=path.suffix.removeprefix("."))


def main() -> int:
    """Train what is missing; write table and figure of the numbers of boxes for which both detectors are there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--dataset_dir", required=True, help="folder with a manifest")
    parser.add_argument("--output_dir", type=Path, default=Path("output/few_boxes"))
    parser.add_argument("--decomposer", required=True, help="weights, with their settings beside them")
    parser.add_argument("--boxed_images", default="50,200,1000", help="comma-separated; default: 50,200,1000")
    parser.add_argument("--seeds", default="0,1,2", help="comma-separated; default: 0,1,2")
    parser.add_argument("--steps", type=int, default=400, help="of 8 images; default: 400")
    parser.add_argument("--results", type=Path, help="file of docs/results that takes the table")
    parser.add_argument("--figure", type=Path, help="file of the figure, .png or .svg")
    arguments = parser.parse_args()
    counts, seeds = ([int(n) for n in text.split(",")] for text in (arguments.boxed_images, arguments.seeds))
    dataset_info = find_dataset_info(arguments.dataset_dir, arguments.output_dir.absolute() / "sample", {})
    runner = Runner(arguments.output_dir, dataset_info, BUNDLES, arguments.decomposer)
    keys = [(seed, count, channels) for seed in seeds for count in counts for channels in CHANNELS]
    jobs = {(s, count, c): plan(c, count, s, arguments.steps) for s, count, c in keys}
    outcome = runner.run([DECOMPOSER, *jobs.values()])
    found = {
        key: read_detections(runner.root / outcome.finished[job.name].scores[1])
        for key, job in jobs.items()
        if job.name in outcome.finished
    }
    both = {n: [s for s in seeds if all((s, n, c) in found for c in CHANNELS)] for n in counts}
    runs = {n: {c: [found[s, n, c] for s in own] for c in CHANNELS} for n, own in both.items() if own}
    table = table_of(runs)
    for row in table["rows"]:
        print(*row, sep=" | ")
    if arguments.results:
        command = "python benchmarks/few_boxes.py --output_dir OUT --dataset_dir FOLDER --decomposer MODEL"
        write_results(arguments.results, {"curve": table}, f"{command} --steps {arguments.steps}")
    if arguments.figure and runs:
        draw(table, arguments.figure)
    outcome.print_failed()
    return 1 if outcome.failed else 0


if __name__ == "__main__":
    sys.exit(main())
