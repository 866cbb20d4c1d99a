"""Processor time of each part of an inference run, in milliseconds for an image of 512 x 512 pixels in JPEG.

    python benchmarks/inference_parts.py --runtime openvino

Means of 12 images, made of packaged radiographs; the networks take four at once. Shipped weights of decomposer, lungs
and detector, one thread.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from monai_dgm.data.examples import example_radiographs
from monai_dgm.engines.decomposition import outputs
from monai_dgm.engines.pipeline_loading import load_pipeline
from monai_dgm.engines.residues.decomposed_radiograph import decompose_prediction, to_original
from monai_dgm.engines.runtimes.use import use_runtime
from monai_dgm.report import colours
from monai_dgm.report.panels import panel_figure
from monai_dgm.transforms.load_radiograph import LoadRadiographd

ROOT = Path(__file__).resolve().parent.parent
COUNT, BATCH = 12, 4


def shipped(bundle: str) -> Path:
    """Weights that ship."""
    return ROOT / "bundles" / bundle / "models" / "shipped" / "model.safetensors"


class Clock:
    """Adds up the processor time of calls by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str, run: Callable[..., Any], *args: Any) -> Any:
        started = time.process_time()
        found = run(*args)
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - started
        return found


def write_files(clock: Clock, decomposition: Any, source: Any, folder: Path) -> None:
    """Each file by itself, then all but the panel as a run writes them."""
    original = clock("results over the original's pixels", to_original, decomposition)
    levels = clock("colours of residue.png", colours.residue_levels, original.residue, outputs.RESIDUE_PNG_SCALE)
    makers = outputs._makers(decomposition, original, source)
    for name in ("normal.png", "residue.nii.gz", "residue.png", "saliency.png", "overlay.png"):
        clock(name, makers[name])
    clock("panel.png", lambda: panel_figure([outputs.panel_of(decomposition, source)]))
    clock("all files but panel.png", outputs.write_decomposition, folder, decomposition, source, False)
    assert levels.shape == original.residue.shape


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", default="openvino")
    given = parser.parse_args()
    torch.set_num_threads(1)
    paths = (shipped("dgm"), shipped("lung_segmentation"), shipped("opacity_detection"))
    pipeline, clock = use_runtime(load_pipeline(*paths), given.runtime), Clock()
    load = LoadRadiographd("image", pipeline.sides)
    with tempfile.TemporaryDirectory() as folder:
        items = []
        for i, source in enumerate(sorted((example_radiographs() / "images").glob("*.png"))[:COUNT]):
            file = Path(folder) / f"{i}.jpg"
            Image.open(source).convert("L").resize((512, 512), Image.Resampling.BICUBIC).save(file, quality=92)
            items.append(clock("reading and preparation", load, {"image": str(file)}))
        pipeline([item["prepared"] for item in items[:BATCH]])  # the first call is slower
        for start in range(0, COUNT, BATCH):
            part = items[start : start + BATCH]
            found = clock("lungs and chest check", pipeline.find_lungs, [item["prepared"] for item in part])
            batch = [one.prepared for one in found]
            predictions, _ = clock("decomposer", pipeline.predict, batch)
            clock("detector", pipeline.detect, batch, [None] * len(batch))
            for i, (prepared, prediction) in enumerate(zip(batch, predictions, strict=True)):
                decomposition = clock("saliency", decompose_prediction, prepared, prediction)
                write_files(clock, decomposition, part[i]["source"], Path(folder) / f"results{start + i}")
    for name, seconds in clock.seconds.items():
        print(f"{name:40s}{1e3 * seconds / COUNT:8.1f}")


if __name__ == "__main__":
    main()
