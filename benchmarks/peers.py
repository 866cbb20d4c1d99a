"""Other packages beside this one, in one run, as ratios of the time for an image of 224 x 224 pixels.

    python benchmarks/peers.py --repetitions 15

- Triage: the DenseNet121 of TorchXRayVision (one channel, 18 findings): its own class if it is installed, else MONAI's
  of the same layout. The trained weights can only be downloaded from its authors, so the network has random ones: the
  time is that of the trained one, and nothing is said of how well it does.
- Boxes: MONAI's RetinaNet with a ResNet-50 in the place of torchvision's, whose compiled parts PyPI's CPU packages of
  PyTorch may lack: the same backbone, pyramid on its last three stages (with one extra level, torchvision's has two),
  256 channels, nine anchors; random weights, the maps alone, without suppression.
- Decomposition: the other residue systems of this package with random weights, in the sizes of their classes' defaults.
- A whole run: a plain bundle of MONAI, its UNet, ``LoadImage`` and ``SaveImage``, by MONAI's own evaluator, against the
  run of ``bundles/dgm/configs/inference.json`` on the same files, as that configuration has them.

All networks run in PyTorch, in turns; ours also in the fastest other runtime that is installed. A time is the median of
the processor time, since other programs disturb it least; the number of threads is PyTorch's.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigWorkflow
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.networks.nets import DenseNet121, UNet
from monai.transforms import Compose, LoadImaged, Resized, SaveImaged, ScaleIntensityd

from monai_dgm.data.examples import example_radiographs
from monai_dgm.engines.decomposition.abnormality_head import abnormality_probability, load_abnormality_network
from monai_dgm.engines.pipeline_loading import load_pipeline
from monai_dgm.engines.residues.features import predict_with_features
from monai_dgm.engines.runtimes.installed import installed_runtimes
from monai_dgm.engines.runtimes.use import in_runtime
from monai_dgm.networks.detector import OpacityDetector
from monai_dgm.networks.residue_system import build_residue_system
from monai_dgm.utils.torchvision_import import ensure_torchvision

ROOT = Path(__file__).resolve().parent.parent
SIZE = 224
SYSTEMS = ("vagan", "cyclegan", "munit", "drit", "aeu", "ddad")


def shipped(bundle: str) -> Path:
    """Weights that ship."""
    return ROOT / "bundles" / bundle / "models" / "shipped" / "model.safetensors"


def in_turns(runs: dict[str, Callable[[], Any]], repetitions: int) -> dict[str, float]:
    """Median processor time of each, in milliseconds, after a run that does not count."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repetition in range(repetitions + 1):
        for name, run in runs.items():
            started = time.process_time()
            run()
            if repetition:
                times[name].append(time.process_time() - started)
    return {name: 1e3 * float(np.median(values)) for name, values in times.items()}


def networks() -> dict[str, Callable[[], Any]]:
    """What runs on one image, by name."""
    image = torch.linspace(-1, 1, SIZE * SIZE).reshape(1, 1, SIZE, SIZE)
    pipeline = load_pipeline(shipped("dgm"), detector_path=shipped("opacity_detection"))
    head, other = load_abnormality_network(shipped("dgm")), installed_runtimes()[0]
    detector = pipeline.required("detector")
    fast = in_runtime("decomposer", pipeline.decomposer, str(shipped("dgm")), other)
    fast_detector = in_runtime("detector", detector, str(shipped("opacity_detection")), other)
    runs: dict[str, Callable[[], Any]] = {
        "triage, ours (E_F and head)": lambda: abnormality_probability(head, image),
        "decomposition, ours": lambda: predict_with_features(pipeline.decomposer, image),  # type: ignore[arg-type]
        f"decomposition, ours, {other}": lambda: predict_with_features(fast, image),
        "boxes, ours": lambda: detector.network.detect(image),
        f"boxes, ours, {other}": lambda: fast_detector.network.detect(image),
    }
    runs |= {f"decomposition, {name}": residue_system(name, image) for name in SYSTEMS}
    ensure_torchvision()  # before anything imports torchvision
    triage, peer = triage_network(), retinanet()
    runs["triage, DenseNet121 of TorchXRayVision"] = lambda: triage(image)
    runs["boxes, RetinaNet R50"] = lambda: peer(image.expand(1, 3, SIZE, SIZE))
    return runs


def residue_system(name: str, image: torch.Tensor) -> Callable[[], Any]:
    """A run of another residue system with random weights."""
    settings = {"image_size": SIZE} if name in ("aeu", "ddad") else {}
    system = build_residue_system({"architecture": name, "network_settings": settings}).eval()
    return lambda: system(image)


def triage_network() -> torch.nn.Module:
    """The DenseNet121 of TorchXRayVision, or MONAI's of the same layout."""
    try:
        import torchxrayvision
    except ImportError:
        return DenseNet121(spatial_dims=2, in_channels=1, out_channels=18).eval()
    return torchxrayvision.models.DenseNet(weights=None).eval()


def retinanet() -> torch.nn.Module:
    """MONAI's RetinaNet in torchvision's layout."""
    return OpacityDetector(3, "resnet50", SIZE, 1.0, 256).eval().network


def plain_bundle(files: list[Path], output: Path) -> Callable[[], Any]:
    """MONAI's own parts alone: read, resize, UNet, write a picture."""
    keys = "image"
    steps = Compose(
        [
            LoadImaged(keys, ensure_channel_first=True, image_only=True),
            Resized(keys, (SIZE, SIZE)),
            ScaleIntensityd(keys, -1, 1),
        ]
    )
    network = UNet(2, 1, 1, (16, 32, 64, 128, 256), (2, 2, 2, 2), num_res_units=2).eval()
    save = SaveImaged("pred", output_dir=str(output), output_ext=".nii.gz", print_log=False, separate_folder=False)
    loader = DataLoader(Dataset([{"image": str(file)} for file in files], steps), batch_size=4)

    def run() -> None:
        evaluator = SupervisedEvaluator(
            torch.device("cpu"), loader, network, postprocessing=Compose([save]),
            prepare_batch=lambda batch, *_, **__: (batch["image"], None),
        )  # fmt: skip
        evaluator.logger.setLevel(logging.ERROR)
        evaluator.run()

    return run


def our_bundle(files: list[Path], output: Path, runtime: str, outputs: str) -> Callable[[], Any]:
    """The run of the inference configuration, its models loaded before."""

    def prepared() -> ConfigWorkflow:
        workflow = ConfigWorkflow(
            workflow_type="infer", config_file="bundles/dgm/configs/inference.json", logging_file=False,
            dataset_dir=str(files[0].parent), output_dir=str(output), runtime=runtime, outputs=outputs,
        )  # fmt: skip
        workflow.initialize()
        workflow.parser.get_parsed_content("evaluator")
        return workflow

    workflow = prepared()
    return workflow.run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--networks_only", action="store_true", help="no whole runs")
    given = parser.parse_args()
    logging.disable(logging.INFO)
    with torch.inference_mode():
        times = in_turns(networks(), given.repetitions)
    if given.networks_only:
        print(json.dumps({"threads": torch.get_num_threads(), "ms cpu per image": times}, indent=1))
        return
    print(json.dumps({name: round(value, 1) for name, value in times.items()}, indent=1), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        files = sorted((example_radiographs() / "images").glob("*.png"))
        whole = {
            "run, MONAI's UNet and SaveImage": plain_bundle(files, Path(folder) / "plain"),
            "run, ours, maps": our_bundle(files, Path(folder) / "maps", "torch", "maps"),
            f"run, ours, maps, {installed_runtimes()[0]}": our_bundle(
                files, Path(folder) / "fast", installed_runtimes()[0], "maps"
            ),
        }
        times |= {name: value / len(files) for name, value in in_turns(whole, 2).items()}
    print(json.dumps({"threads": torch.get_num_threads(), "ms cpu per image": times}, indent=1))


if __name__ == "__main__":
    main()
