"""The same networks in PyTorch, OpenVINO and ONNX Runtime: time for an image, and what other precisions lose.

    python benchmarks/runtimes.py speed --threads 1 2
    python benchmarks/runtimes.py accuracy --dataset_dir DATA --images 600

``speed`` measures the shipped models and a decomposer of the paper's size, batch 1, the runtimes in turns: medians of
the time on the clock and of the processor time of the process, which other programs disturb less. It also measures the
arithmetic: GFLOP of each network, and GFLOP/s of a product of matrices.

``accuracy`` compares, on validation images, the pixel AP of |residue| on images with opacity boxes, and the AUC of the
abnormality head and of the mean |residue|, of the decomposer in full precision, with bfloat16, and quantised to 8 bits
with training images. Intervals of the differences: 95 %, paired bootstrap over patients.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.sources import load_splits
from monai_dgm.engines.decomposition.evaluator import result_of
from monai_dgm.engines.pipeline_loading import load_pipeline
from monai_dgm.engines.residues.features import predict_with_features
from monai_dgm.engines.residues.frozen_decomposer import load_decomposer
from monai_dgm.engines.runtimes.export import write_exported
from monai_dgm.engines.runtimes.graphs import DecomposerGraph
from monai_dgm.engines.runtimes.networks import ExportedDecomposer, exported_decomposer
from monai_dgm.engines.runtimes.quantise import quantise_decomposer
from monai_dgm.engines.runtimes.sessions import open_session
from monai_dgm.engines.runtimes.use import in_runtime
from monai_dgm.engines.weights import for_inference
from monai_dgm.metrics.case_results import Cohort, DecompositionResult
from monai_dgm.metrics.classification import auc
from monai_dgm.metrics.decomposition import mean_abs_residue
from monai_dgm.metrics.intervals import bootstrap_ranking, pixel_histograms
from monai_dgm.metrics.localisation import residue_score
from monai_dgm.networks.decomposer import Decomposer

ROOT = Path(__file__).resolve().parent.parent
BUNDLES = {
    "decomposer": "dgm",
    "lungs": "lung_segmentation",
    "detector": "opacity_detection",
    "classifier": "opacity_classification",
}
RUNTIMES = ("torch", "openvino", "onnxruntime", "openvino-bf16")


def shipped(bundle: str) -> Path:
    """Weights that ship."""
    return ROOT / "bundles" / bundle / "models" / "shipped" / "model.safetensors"


def in_turns(runs: dict[str, Callable[[], Any]], repetitions: int) -> dict[str, dict[str, float]]:
    """Medians of the time on the clock, of the processor time, and the least time, in milliseconds."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for repetition in range(repetitions + 1):
        for name, run in runs.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            if repetition:
                times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: {
            "clock": round(1e3 * float(np.median(values, axis=0)[0]), 2),
            "cpu": round(1e3 * float(np.median(values, axis=0)[1]), 2),
            "least": round(1e3 * float(np.min(values, axis=0)[0]), 2),
        }
        for name, values in times.items()
    }


def gflop(network: nn.Module, *shape: int) -> float:
    """Multiplications and additions of one image."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, *shape))
    return float(counter.get_total_flops()) / 1e9


def paper_decomposers(folder: Path) -> dict[str, nn.Module]:
    """A decomposer of the paper's size, with random weights, in every runtime."""
    network = for_inference(Decomposer(), "cpu")
    folder.mkdir(parents=True, exist_ok=True)
    example, made = (torch.zeros(2, 1, 224, 224),), {"torch": network}
    for runtime, name in (("openvino", "paper.xml"), ("onnxruntime", "paper.onnx")):
        if not (folder / name).exists():
            write_exported(DecomposerGraph(network), example, folder / name, {"image": {0: "batch"}})
        made[runtime] = ExportedDecomposer(open_session(folder / name))
    made["openvino-bf16"] = ExportedDecomposer(open_session(folder / "paper.xml", precision="bf16"))
    return made


def speed_here(repetitions: int, folder: Path) -> dict[str, Any]:
    """All networks with as many threads as torch has."""
    paths = {name: shipped(bundle) for name, bundle in BUNDLES.items()}
    loaded = load_pipeline(**{f"{name}_path": path for name, path in paths.items()})
    image, found = torch.linspace(-1, 1, 224 * 224).reshape(1, 1, 224, 224), {}
    sides = {"decomposer": 224, "lungs": 224, "detector": 224, "classifier": 128}
    calls: dict[str, Callable[[Any, Any], Any]] = {
        "decomposer": predict_with_features,
        "lungs": lambda model, image: model.examine(image),
        "detector": lambda model, image: model.network.detect(image),
        "classifier": lambda model, image: model.network(image),
    }
    for name, path in paths.items():
        part = image[..., : sides[name], : sides[name]].contiguous()
        models = {runtime: in_runtime(name, getattr(loaded, name), str(path), runtime) for runtime in RUNTIMES}
        runs = {r: lambda m=m, call=calls[name], x=part: call(m, x) for r, m in models.items()}  # type: ignore[misc]
        with torch.inference_mode():
            found[name] = in_turns(runs, repetitions)
        print(name, found[name], file=sys.stderr, flush=True)
    models = paper_decomposers(folder)
    with torch.inference_mode():
        runs = {r: lambda m=m: predict_with_features(m, image) for r, m in models.items()}  # type: ignore[misc]
        found["paper"] = in_turns(runs, repetitions)
    square = torch.rand(1536, 1536)
    product = in_turns({"product": lambda: square @ square}, repetitions)["product"]
    rates = {
        "gflop_per_s_clock": 2 * 1.536**3 / product["least"] * 1e3,
        "gflop_per_s_cpu": 2 * 1.536**3 / product["cpu"] * 1e3,
    }
    work = {
        "decomposer": gflop(loaded.decomposer, 1, 224, 224),  # type: ignore[arg-type]
        "lungs": gflop(loaded.lungs.network, 1, 128, 128) + 3 * gflop(loaded.lungs.upright.network, 1, 64, 64),  # type: ignore[union-attr]
        "detector": gflop(loaded.required("detector").network, 1, 224, 224),
        "classifier": gflop(loaded.required("classifier").network, 1, 128, 128),
        "paper": gflop(models["torch"], 1, 224, 224),
    }
    return {"times": found, "gflop": work, **rates}


def speed(given: argparse.Namespace) -> None:
    """A process for each number of threads."""
    found = {}
    for threads in given.threads:
        env = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        command = [
            sys.executable,
            __file__,
            "speed_here",
            "--repetitions",
            str(given.repetitions),
            "--folder",
            given.folder,
        ]
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
        found[str(threads)] = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(found, indent=1))


def evaluated(network: nn.Module, dataset: RadiographDataset) -> list[DecompositionResult]:
    """Each radiograph, decomposed; only small parts of the results are kept."""
    found = []
    for start in range(0, len(dataset), 8):
        index = range(start, min(start + 8, len(dataset)))
        images = dataset.images_as_tensor(index)
        with torch.inference_mode():
            predictions, _ = predict_with_features(network, images)
        pairs = zip(index, images, predictions, strict=True)
        found += [result_of(dataset, i, image, prediction) for i, image, prediction in pairs]
    return found


def measures(results: list[DecompositionResult], num_bootstrap: int) -> dict[str, tuple[float, Any]]:
    """Values and resamples; the resamples are the same for equal lists of patients."""
    cohort = Cohort.draw("all", results, num_bootstrap, 0)
    labels = np.array([one.label for one in results])
    found: dict[str, tuple[float, Any]] = {}
    for name, scores in (
        ("AUC of the head", cohort.each(lambda one: one.probability)),
        ("AUC of mean |residue|", cohort.each(mean_abs_residue)),
    ):
        found[name] = (auc(labels, scores), bootstrap_ranking(scores, labels, cohort.weights).auc)
    areas = [one.opacity_area() for one in results]
    index = [i for i, area in enumerate(areas) if area is not None]
    ranked = pixel_histograms([residue_score(results[i].residue) for i in index], [areas[i] for i in index])  # type: ignore[misc]
    pooled = ranked.pooled_average_precision
    found["pixel AP"] = (float(pooled()[0]), pooled(cohort.weights[:, index]))
    return found


def accuracy(given: argparse.Namespace) -> None:
    """Full precision against bfloat16 and 8 bits."""
    weights, cache = shipped("dgm"), Path(given.cache_dir)
    splits = load_splits(given.dataset_dir, cache / "sample", fold=0)
    picked = {}
    for name, items, number in (
        ("training", splits.training, given.calibration),
        ("validation", splits.validation, given.images),
    ):
        chosen = [items[i] for i in np.linspace(0, len(items) - 1, min(number, len(items))).astype(int)]
        picked[name] = RadiographDataset(chosen, 224, cache)
    calibration = list(picked["training"].images_as_tensor(range(len(picked["training"]))).numpy())
    started = time.process_time()
    quantise_decomposer(weights, calibration)
    network, dataset = load_decomposer(weights), picked["validation"]
    print(f"quantised in {time.process_time() - started:.0f} s of processor time", flush=True)
    found, planes = {}, {}
    for runtime in ("torch", "openvino-int8", "openvino-bf16"):
        model = network if runtime == "torch" else exported_decomposer(weights, runtime, network)
        results = evaluated(model, dataset)
        planes[runtime] = np.stack([one.residue for one in results]).astype(np.float16)
        found[runtime] = measures(results, given.bootstrap)
        print(runtime, {name: round(value, 4) for name, (value, _) in found[runtime].items()}, flush=True)
    boxes = sum(len(item.get("opacity_boxes", ())) > 0 for item in dataset.items)
    table: dict[str, Any] = {"images": len(dataset), "with boxes": boxes}
    for runtime, metrics in found.items():
        error = np.abs(planes[runtime].astype(np.float32) - planes["torch"])
        row: dict[str, Any] = {"mean |error|": float(error.mean()), "largest |error|": float(error.max())}
        for name, (value, samples) in metrics.items():
            plain, plain_samples = found["torch"][name]
            low, high = np.quantile(np.asarray(samples) - np.asarray(plain_samples), [0.025, 0.975])
            row[name] = {"value": value, "difference": value - plain, "low": float(low), "high": float(high)}
        table[runtime] = row
    print(json.dumps(table, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["speed", "accuracy", "speed_here"])
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--folder", default="runs/runtimes", help="of the exports of the paper's decomposer")
    parser.add_argument("--dataset_dir", help="folder with a manifest.csv, or of RSNA")
    parser.add_argument("--images", type=int, default=600, help="of validation")
    parser.add_argument("--calibration", type=int, default=128, help="training images for the quantisation")
    parser.add_argument("--bootstrap", type=int, default=1000)
    parser.add_argument("--cache_dir", default=".cache")
    given = parser.parse_args()
    if given.part == "speed_here":
        print(json.dumps(speed_here(given.repetitions, Path(given.folder))))
    else:
        {"speed": speed, "accuracy": accuracy}[given.part](given)


if __name__ == "__main__":
    main()
