"""Do pseudo-healthy images help where normals are few? Classifiers with and without them, paired differences of AUC.

    python benchmarks/pseudo_healthy.py --dataset_dir FOLDER --decomposer_path WEIGHTS [--normals 25,50,100]

A pseudo-healthy image is the decomposer's normal image of an abnormal radiograph. Every training is the classification
bundle's own command: N random normals of the training folds with all abnormal images, equally many steps, batches of
half normal and half abnormal labels; "with" takes half of the normal ones from pseudo-healthy images (normal_fraction
0.25, pseudo_healthy_prob 1/3). Each seed draws other normals, the same for both. AUC is of the test fold, averaged over
the seeds; intervals are by bootstrap over its patients. Trainings that have finished are not repeated.

The table does not show two things: the decomposer has seen all normals of the folds it was trained on, so that normals
are few for the classifier only, unless a decomposer of few normals is given; and the validation images, which choose
the epoch, are not reduced.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from monai_dgm.engines.classification.classification_evaluation import SCORES_FILES, ClassificationResult, read_scores
from monai_dgm.engines.metric_rows import METRICS_FILE
from monai_dgm.metrics.classification import classification_metric_set
from monai_dgm.metrics.comparison import paired_differences
from monai_dgm.metrics.metric_sets import MetricSet, mean_over_splits, summarise_splits

BUNDLE = "bundles/opacity_classification"
VARIANTS: dict[str, dict[str, float]] = {
    "without": {"normal_fraction": 0.5, "pseudo_healthy_prob": 0.0},
    "with": {"normal_fraction": 0.25, "pseudo_healthy_prob": 1 / 3},
}
Runs = list[list[ClassificationResult]]


def train(arguments: argparse.Namespace, variant: str, normals: int, seed: int) -> list[ClassificationResult]:
    """Train one classifier, unless it is there, and return its scores of the test images."""
    folder = arguments.output_dir / f"normals_{normals}" / f"seed_{seed}_{variant}"
    epochs = max(1, arguments.iterations // arguments.epoch_length)
    settings: dict[str, object] = {
        "dataset_dir": arguments.dataset_dir, "decomposer_path": arguments.decomposer_path, "fold": arguments.fold,
        "output_dir": folder, "ckpt_dir": folder / "models", "cache_dir": arguments.output_dir / "cache",
        "task": arguments.task, "channels": "['image']", "architecture": arguments.architecture,
        "image_size": arguments.image_size, "learning_rate": arguments.learning_rate, "batch_size": 16,
        "epoch_length": arguments.epoch_length, "max_epochs": epochs, "num_bootstrap": 2,
        "max_normals": normals, "seed": seed, **VARIANTS[variant],
    }  # fmt: skip
    if not (folder / "report" / METRICS_FILE).is_file():
        command = [sys.executable, "-m", "monai.bundle", "run", "training"]
        command += ["--config_file", f"{BUNDLE}/configs/train.json"]
        for key, value in settings.items():
            command += [f"--{key}", str(value)]
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "log.txt", "w", encoding="utf-8") as log:
            subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT)
    return read_scores(folder / "report" / SCORES_FILES["test"])


def metric_sets(runs: Runs) -> list[MetricSet]:
    """The metrics of each seed's test images; AUC needs no threshold."""
    return [classification_metric_set([r.label for r in run], [r.score for r in run], 0.5) for run in runs]


def row(normals: int, group: str, without: Runs, with_pseudo_healthy: Runs, num_bootstrap: int) -> str:
    """One line of the table; the runs of both are paired by seed."""
    patients = [[result.patient_id for result in run] for run in without]
    sizes = [len(run) for run in without]
    cells = [str(normals), group, str(sizes[0])]
    for runs in (without, with_pseudo_healthy):
        summary = summarise_splits(metric_sets(runs), patients, num_bootstrap)["auc"]
        cells.append(f"{summary.mean:.3f} [{summary.low:.3f}, {summary.high:.3f}], sd {summary.sd:.3f}")
    pooled = [mean_over_splits(metric_sets(runs), sizes) for runs in (with_pseudo_healthy, without)]
    everyone = [patient for part in patients for patient in part]
    found = paired_differences(pooled[0], pooled[1], everyone, num_bootstrap)["auc"]
    cells.append(f"{found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}], p {found.p_value:.3f}")
    return "| " + " | ".join(cells) + " |"


def within(runs: Runs, group: str) -> Runs:
    """The scores of one source, or all."""
    return [[result for result in run if group in ("all", result.source)] for run in runs]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--dataset_dir", required=True, help="folder with a manifest.csv, or the RSNA challenge")
    parser.add_argument("--decomposer_path", required=True, help="weights of a decomposer trained on the same folds")
    parser.add_argument("--output_dir", type=Path, default=Path("output/pseudo_healthy"))
    parser.add_argument("--normals", default="25,50,100,200", help="numbers of normals, comma-separated")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--fold", type=int, default=0, help="test fold")
    parser.add_argument("--task", default="abnormality", help="abnormality or opacity")
    parser.add_argument("--architecture", default="densenet_small")
    parser.add_argument("--image_size", type=int, default=96, help="best the decomposer's own: larger shows as blur")
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--epoch_length", type=int, default=100, help="iterations between validations")
    parser.add_argument("--groups", default="all,nih", help="all, and names of sources, comma-separated")
    parser.add_argument("--num_bootstrap", type=int, default=2000)
    return parser.parse_args(arguments)


def main() -> None:
    """Train what is missing and print a Markdown table, a line as soon as it is known."""
    arguments = parse()
    print("| normals | images | n | AUC without | AUC with pseudo-healthy images | with - without |")
    print("|---" * 6 + "|")
    for normals in (int(number) for number in arguments.normals.split(",")):
        runs = {
            variant: [train(arguments, variant, normals, seed) for seed in range(arguments.seeds)]
            for variant in VARIANTS
        }
        for group in arguments.groups.split(","):
            parts = [within(runs[variant], group) for variant in ("without", "with")]
            if all(len({result.label for result in run}) == 2 for run in parts[0]):
                print(row(normals, group, parts[0], parts[1], arguments.num_bootstrap), flush=True)


if __name__ == "__main__":
    main()
