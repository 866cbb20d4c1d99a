"""How fast a training step, a decomposition and the data path are, as ratios.

    python benchmarks/step_speed.py                   # full size at 224 pixels, all parts; some minutes
    python benchmarks/step_speed.py --quick           # a small network: does the script run?
    python benchmarks/step_speed.py --parts inference --repetitions 20

- training: a plain loop (single precision, NCHW, upsampling then convolution, fakes computed again for D, batch 1,
  plain Adam) against `AdversarialStep` (bfloat16 autocast, channels last, folded upsampling, fused Adam) at several
  batch sizes, by the image.
- inference: the network with upsampling then convolution against `Decomposer`, both eager, single precision, batch 1.
- data: reading batches from a warm cache, and varying them, as a share of a training step.

Repetitions are interleaved (A B A B ...), so that whatever else the machine does falls on all of them alike. Compare
ratios, not times.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.sampler import BalancedBatchSampler
from monai_dgm.engines.training.steps import AdversarialStep
from monai_dgm.engines.training.trainer import PrepareTrainingBatch
from monai_dgm.losses.objective import DGMObjective
from monai_dgm.networks.blocks import UpsampleConv2d
from monai_dgm.networks.decomposer import Decomposer
from monai_dgm.networks.dgm import DGM
from monai_dgm.networks.discriminator import MultiScaleDiscriminator
from monai_dgm.transforms.augmentation import RandRadiographAugmentation
from monai_dgm.transforms.superimpose import RandSuperimposeOpacity

Times = dict[str, list[float]]


def interleaved(runs: Mapping[str, Callable[[], object]], repetitions: int) -> Times:
    """Seconds of each run, in turns; one turn before that does not count."""
    times: Times = {name: [] for name in runs}
    for repetition in range(repetitions + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if repetition > 0:
                times[name].append(time.perf_counter() - start)
    return times


def show(times: Times, images: dict[str, int] | None = None) -> None:
    """Print minimum and median of each run in ms, by the image where a run takes several."""
    for name, seconds in times.items():
        scale = 1000 / (images or {}).get(name, 1)
        print(f"  {name:44s} min {scale * min(seconds):9.2f} ms   median {scale * statistics.median(seconds):9.2f} ms")


def show_ratio(words: str, slow: list[float], fast: list[float], images: int = 1, target: float | None = None) -> None:
    """Print how many times faster ``fast`` is by the image."""
    ratios = [images * pick(slow) / pick(fast) for pick in (min, statistics.median)]
    wanted = "" if target is None else f"   (target {target})"
    print(f"  {words}: {ratios[0]:.2f} by the minima, {ratios[1]:.2f} by the medians{wanted}")


def use_direct_upsampling(network: torch.nn.Module) -> torch.nn.Module:
    """Compute Table 2's "Upsample, Conv" as it is written."""
    for module in network.modules():
        if isinstance(module, UpsampleConv2d):
            module.folded = False
    return network


def make_adam(network: torch.nn.Module, fused: bool) -> torch.optim.Adam:
    """The paper's settings."""
    return torch.optim.Adam(network.parameters(), lr=1e-5, betas=(0.5, 0.999), weight_decay=1e-4, fused=fused)


def make_networks(args: argparse.Namespace) -> tuple[DGM, MultiScaleDiscriminator]:
    """Both networks with the same weights every time."""
    torch.manual_seed(0)
    network = DGM(base_width=args.base_width, num_res_blocks=args.num_res_blocks)
    return network, MultiScaleDiscriminator(base_width=args.base_width)


def make_batch(count: int, size: int) -> dict[str, Tensor]:
    """``count`` images to train on, alternately abnormal and normal, then as many that only D sees, as real ones."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2 * count, 1, size, size, generator=generator) * 2 - 1
    return {"image": images, "label": (torch.arange(2 * count) % 2 == 0).float()}


class PlainLoop:
    """The step as one writes it down from the paper, nothing done for speed. Batch 1."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.network, self.discriminator = make_networks(args)
        use_direct_upsampling(self.network)
        self.generator_optimizer = make_adam(self.network, fused=False)
        self.discriminator_optimizer = make_adam(self.discriminator, fused=False)
        batch = make_batch(1, args.size)
        self.image, self.real, self.label = batch["image"][:1], batch["image"][1:], batch["label"][:1]

    def __call__(self) -> float:
        """One alternation; returns the generator's loss."""
        self.discriminator.requires_grad_(False)
        self.generator_optimizer.zero_grad()
        outputs = self.network(self.image)
        y, a = outputs["normal"], outputs["residue"]
        adversarial = sum(0.5 * ((scores - 1) ** 2).mean() for scores in self.discriminator(y))
        reconstruction = F.l1_loss(y + a, self.image) + F.l1_loss(outputs["joint_reconstruction"], self.image)
        blank = (a.abs().mean(dim=(1, 2, 3)) * (self.label == 0)).mean()
        variation = (y[:, :, 1:] - y[:, :, :-1]).abs().mean() + (y[..., 1:] - y[..., :-1]).abs().mean()
        head = F.binary_cross_entropy_with_logits(outputs["abnormality_logit"][:, 0], self.label)
        loss = 10 * adversarial + 10 * (reconstruction + blank) + variation + head
        loss.backward()
        self.generator_optimizer.step()

        self.discriminator.requires_grad_(True)
        self.discriminator_optimizer.zero_grad()
        with torch.no_grad():  # the fakes once more, by the generator as it is now
            fake = self.network.normal_decoder(self.network.normal_encoder(self.image), self.image)
        loss_d = sum(0.5 * (scores**2).mean() for scores in self.discriminator(fake))
        loss_d = loss_d + sum(0.5 * ((scores - 1) ** 2).mean() for scores in self.discriminator(self.real))
        loss_d.backward()
        self.discriminator_optimizer.step()
        return float(loss.detach())


class FastStep:
    """`AdversarialStep` as the bundle uses it."""

    def __init__(self, args: argparse.Namespace) -> None:
        network, discriminator = make_networks(args)
        for module in (network, discriminator):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.step = AdversarialStep(
            network,
            discriminator,
            make_adam(network, fused=True),
            make_adam(discriminator, fused=True),
            DGMObjective(),
            autocast=torch.bfloat16,
        )

    def __call__(self, batch: dict[str, Tensor]) -> float:
        """One alternation; returns the generator's loss."""
        count = len(batch["image"]) // 2
        prepared = PrepareTrainingBatch(count, channels_last=True)(batch, torch.device("cpu"))
        return float(self.step(prepared)["loss"])


def measure_training(args: argparse.Namespace) -> None:
    """Plain loop against `AdversarialStep`."""
    plain, fast = PlainLoop(args), FastStep(args)
    batches = {count: make_batch(count, args.size) for count in args.batch_sizes}
    print("training step, ms an image")
    first = (plain(), fast(make_batch(1, args.size)))
    print(f"  loss of the same first step: plain {first[0]:.4f}, AdversarialStep {first[1]:.4f}")
    runs: dict[str, Callable[[], object]] = {"plain loop, batch 1": plain}
    for count, batch in batches.items():
        runs[f"AdversarialStep, batch {count}"] = lambda batch=batch: fast(batch)  # type: ignore[misc]
    times = interleaved(runs, args.repetitions)
    names = {count: f"AdversarialStep, batch {count}" for count in batches}
    show(times, {names[count]: count for count in batches})
    for count, name in names.items():
        target = {1: 1.5, 4: 2.5}.get(count)
        show_ratio(f"faster an image at batch {count}", times["plain loop, batch 1"], times[name], count, target)


def measure_inference(args: argparse.Namespace) -> None:
    """Direct upsampling against the folded kernels of `Decomposer`."""
    torch.manual_seed(0)
    direct = DGM(base_width=args.base_width, num_res_blocks=args.num_res_blocks, joint_decoder=False).eval()
    decomposer = Decomposer.from_dgm(direct)
    use_direct_upsampling(direct)
    image = make_batch(1, args.size)["image"][:1]
    with torch.inference_mode():
        outputs = direct(image)
        maps = torch.cat((outputs["normal"], outputs["residue"]), dim=1)
        difference = (decomposer(image)[:, :2] - maps).abs().max().item()
        runs = {"direct": lambda: direct(image), "Decomposer": lambda: decomposer(image)}
        times = interleaved(runs, args.repetitions)
    print(f"decomposition, eager, single precision, batch 1 (largest difference of the outputs {difference:.1e})")
    show(times)
    show_ratio("faster", times["direct"], times["Decomposer"], target=1.5)


def write_radiographs(folder: Path, count: int) -> list[dict[str, object]]:
    """Images of noise as a datalist; what they show does not matter once they are in the cache."""
    rng = np.random.default_rng(0)
    datalist: list[dict[str, object]] = []
    for i in range(count):
        path = folder / f"{i}.png"
        Image.fromarray(rng.integers(0, 255, (64, 64), dtype=np.uint8)).save(path)
        datalist.append({"image": str(path), "image_id": str(i), "patient_id": str(i), "label": i % 2})
    return datalist


def measure_data(args: argparse.Namespace) -> None:
    """Reading and varying batches from a warm cache, against a training step of as many images."""
    count = max(args.batch_sizes)
    step, batch = FastStep(args), make_batch(count, args.size)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = RadiographDataset(write_radiographs(folder, 16 * count), args.size, folder / "cache")
        sampler = BalancedBatchSampler(dataset.labels.tolist(), count, normal_fraction=None, epoch_length=16)
        loader = DataLoader(dataset, batch_sampler=sampler)
        transforms = (RandRadiographAugmentation(), RandSuperimposeOpacity())

        def read() -> None:
            for _ in loader:
                pass

        def vary() -> None:
            varied = {"image": batch["image"][:count], "label": batch["label"][:count]}
            for transform in transforms:
                varied = transform(varied)

        runs = {"16 batches read": read, "one batch varied": vary, "one step": lambda: step(batch)}
        times = interleaved(runs, args.repetitions)
    reading = [seconds / 16 for seconds in times.pop("16 batches read")]
    times = {"one batch read": reading, **times}
    print(f"data path with a warm cache, batch {count}, in the training's own process")
    show(times)
    paths = {"reading": ["one batch read"], "reading and varying": ["one batch read", "one batch varied"]}
    for words, parts in paths.items():
        shares = [sum(pick(times[p]) for p in parts) / pick(times["one step"]) for pick in (min, statistics.median)]
        print(f"  {words}: {shares[0]:.2%} of a step by the minima, {shares[1]:.2%} by the medians   (target 5%)")


PARTS = {"training": measure_training, "inference": measure_inference, "data": measure_data}


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--base-width", type=int, default=64)
    parser.add_argument("--num-res-blocks", type=int, default=4)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--quick", action="store_true", help="64 pixels, an eighth of the width, one residual block")
    args = parser.parse_args()
    if args.quick:
        args.size, args.base_width, args.num_res_blocks = 64, 8, 1
    torch.set_num_threads(args.threads)
    print(
        f"{args.size} pixels, base width {args.base_width}, {args.num_res_blocks} residual blocks, "
        f"{args.repetitions} repetitions, {args.threads} threads, torch {torch.__version__}, {platform.machine()}"
    )
    for part in args.parts:
        PARTS[part](args)


if __name__ == "__main__":
    main()
