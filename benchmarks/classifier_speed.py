"""How long a training step of each classifier takes, and what the head alone costs against a whole decomposition.

    python benchmarks/classifier_speed.py                       # both parts; some minutes on two cores
    python benchmarks/classifier_speed.py --parts head --repetitions 20
    python benchmarks/classifier_speed.py --parts steps --architectures densenet_small --sizes 96

- steps: seconds a step of batch 16 with two channels, bfloat16 autocast, channels last, fused Adam.
- head: E_F and the head against the decomposer, full width, single precision, batch 1, in turns, so that whatever else
  the machine does falls on both alike.

Both print wall and CPU time (of all threads): on a machine that does other things, compare CPU times.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from monai_dgm.networks.abnormality import AbnormalityNetwork
from monai_dgm.networks.classifiers import build_classifier
from monai_dgm.networks.decomposer import Decomposer

ARCHITECTURES = "densenet161,densenet121,resnet18,densenet_small"


def timed(run: Callable[[], object], device: str) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - cpu


def training_step(architecture: str, size: int, batch_size: int, device: str) -> Callable[[], None]:
    """A step on random images, as :class:`monai_dgm.engines.training.supervised.ResumableTrainer` does it."""
    network = build_classifier(architecture, 2).to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(network.parameters(), 1e-4, fused=True)
    image = torch.randn(batch_size, 2, size, size, device=device).contiguous(memory_format=torch.channels_last)
    label = (torch.arange(batch_size, device=device) % 2).float()[:, None]

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, dtype=torch.bfloat16):
            logits = network(image)
        F.binary_cross_entropy_with_logits(logits.float(), label).backward()
        optimizer.step()

    return step


def report_steps(architectures: list[str], sizes: list[int], batch_size: int, repetitions: int, device: str) -> None:
    """A table of seconds a step: the least of the repetitions after one that does not count."""
    print("| architecture | pixels | s/step, wall | s/step, CPU |")
    print("|---|---|---|---|")
    for architecture in architectures:
        for size in sizes:
            step = training_step(architecture, size, batch_size, device)
            step()
            times = [timed(step, device) for _ in range(repetitions)]
            wall, cpu = (min(column) for column in zip(*times, strict=True))
            print(f"| {architecture} | {size} | {wall:.3f} | {cpu:.3f} |", flush=True)


def report_head(size: int, base_width: int, repetitions: int, device: str) -> None:
    """Milliseconds of E_F and head, of the decomposer, and their ratio: medians of runs in turns."""
    networks = {
        "head alone": AbnormalityNetwork(base_width).to(device).eval(),
        "decomposer": Decomposer(base_width).to(device).eval(),
    }
    image = torch.rand(1, 1, size, size, device=device) * 2 - 1
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in networks}
    with torch.inference_mode():
        for repetition in range(repetitions + 1):
            for name, network in networks.items():
                seconds = timed(lambda network=network: network(image), device)  # type: ignore[misc]
                if repetition:
                    times[name].append(seconds)
    for place, clock in enumerate(("wall", "CPU")):
        head, whole = (1000 * statistics.median(t[place] for t in times[name]) for name in networks)
        print(f"{clock}: head alone {head:.1f} ms, decomposer {whole:.1f} ms, ratio {head / whole:.2f}")


def main() -> None:
    """Measure the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--parts", default="steps,head")
    parser.add_argument("--architectures", default=ARCHITECTURES)
    parser.add_argument("--sizes", default="96,128,224", help="sides in pixels, of the steps")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--head_size", type=int, default=224)
    parser.add_argument("--base_width", type=int, default=64, help="of the decomposer")
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    where = torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"torch {torch.__version__}, {platform.processor() or platform.machine()}, {where}\n")
    if "steps" in arguments.parts:
        sizes = [int(size) for size in arguments.sizes.split(",")]
        names = arguments.architectures.split(",")
        report_steps(names, sizes, arguments.batch_size, arguments.repetitions, device)
    if "head" in arguments.parts:
        report_head(arguments.head_size, arguments.base_width, arguments.repetitions, device)


if __name__ == "__main__":
    main()
