"""What each ingredient of the default settings does: short trainings on real radiographs, one row each.

    python benchmarks/ablations.py --dataset_dir FOLDER [--only default,paper] [--iterations 1000]

Every variant is the bundle's own training command with the overrides below, at 64 px and a quarter of the width, on
folds 1 to 4, tested on fold 0. Short runs rank ingredients; they do not show what a long training reaches.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

NO_PAIRS = {
    "train#batch_transforms#1#prob": 0.0,
    "objective#superimposed_teach_head": False,
    "objective#weights#paired_normal": 0.0,
    "objective#weights#paired_residue": 0.0,
}
NO_EVIDENCE = {"objective#weights#evidence": 0.0}
VARIANTS: dict[str, dict[str, object]] = {
    "default": {},
    "one_learning_rate": {"discriminator#optimizer#lr": "@learning_rate"},
    "no_superimposition": NO_PAIRS,
    "no_normal_skips": {"network_def#normal_skips": False},
    "residue_skips": {"network_def#residue_skips": True},
    "no_evidence": NO_EVIDENCE,
    "no_second_pass": {"objective#weights#clean_normal": 0.0, "objective#weights#healthy_normal": 0.0},
    "no_joint_decoder": {"network_def#joint_decoder": False},
    # The best of the first trials: no skips, no superimposition, no evidence, two self-consistency terms.
    "first_trials": {
        **NO_PAIRS,
        **NO_EVIDENCE,
        "network_def#normal_skips": False,
        "objective#weights#clean_normal": 10.0,
        "objective#weights#total_variation": 1.0,
        "objective#weights#abnormality": 1.0,
    },
    # The paper's objective and discriminator (eq. 6), at this size and learning rate.
    "paper_objective": {
        **NO_PAIRS,
        **NO_EVIDENCE,
        "network_def#normal_skips": False,
        "objective#weights#clean_normal": 0.0,
        "objective#weights#healthy_normal": 0.0,
        "objective#weights#adversarial": 10.0,
        "objective#weights#total_variation": 1.0,
        "objective#weights#abnormality": 1.0,
        "discriminator#network_def#norm": "none",
        "discriminator#optimizer#lr": "@learning_rate",
    },
}
FIGURES = (
    "head_auc", "residue_auc", "residue_ratio", "residue_pixel_ap", "residue_pixel_ap/baseline_mean_box_prior",
    "pointing_game", "pointing_game/baseline_mean_box_prior", "normal_ssim", "normal_std_ratio",
)  # fmt: skip


def train(name: str, dataset_dir: str, output_dir: Path, iterations: int) -> dict[str, dict[str, float]]:
    """Train one variant (or go on with it) and return its figures by group."""
    folder = output_dir / name
    settings: dict[str, object] = {
        "dataset_dir": dataset_dir, "output_dir": str(folder), "ckpt_dir": str(folder / "models"),
        "cache_dir": str(output_dir / "cache"), "image_size": 64, "base_width": 16, "batch_size": 8,
        "learning_rate": 2e-4, "epoch_length": iterations // 4, "max_epochs": 4, "val_interval": 4,
        **VARIANTS[name],
    }  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "monai.bundle",
        "run",
        "training",
        "--config_file",
        "bundles/dgm/configs/train.json",
    ]
    for key, value in settings.items():
        command += [f"--{key}", str(value)]
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "log.txt", "w", encoding="utf-8") as log:
        subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT)
    metrics: dict[str, dict[str, float]] = {}
    for row in json.loads((folder / "report" / "metrics.json").read_text(encoding="utf-8")):
        metrics.setdefault(row["group"], {})[row["name"]] = row["value"]
    return metrics


def main() -> None:
    """Train the variants asked for and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--dataset_dir", required=True, help="folder with a manifest.csv")
    parser.add_argument("--output_dir", type=Path, default=Path("output/ablations"))
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--only", default=",".join(VARIANTS), help="comma-separated names")
    parser.add_argument("--group", default="all", help="all, or source:<name>")
    arguments = parser.parse_args()
    print("| variant | " + " | ".join(name.replace("_", " ") for name in FIGURES) + " |")
    print("|---" * (len(FIGURES) + 1) + "|")
    for name in arguments.only.split(","):
        metrics = train(name, arguments.dataset_dir, arguments.output_dir, arguments.iterations)[arguments.group]
        cells = (f"{metrics[figure]:.3f}" if metrics.get(figure) is not None else "" for figure in FIGURES)
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
