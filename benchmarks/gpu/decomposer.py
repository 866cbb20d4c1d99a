"""One decomposer: network, objective and transforms of the weights that ship."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from gpu.judge import judge
from gpu.loop import Average, Clock, log, prepared, save, write_note
from gpu.pack import draws
from monai_dgm.engines.training.imagenet import load_imagenet
from monai_dgm.engines.training.steps import AdversarialStep
from monai_dgm.losses.objective import DGMObjective
from monai_dgm.networks.dgm import DGM
from monai_dgm.networks.discriminator import MultiScaleDiscriminator
from monai_dgm.transforms.lung_opacity import RandLungOpacity
from monai_dgm.transforms.truth_augmentation import RandTruthAugmentation

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


def make_decomposer(imagenet: str | None) -> DGM:
    """The network of NETWORK, its E_F with ImageNet's weights."""
    network = DGM(joint_decoder=False, **NETWORK)
    if imagenet:
        load_imagenet(network.residue_encoder, Path(imagenet))
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
        batch_transforms=[RandTruthAugmentation(**VARIATION), opacity], autocast=torch.bfloat16, max_grad_norm=5.0,
    )  # fmt: skip
    if arguments.compile:
        step.network, step.discriminator = torch.compile(network), torch.compile(discriminator)
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
    metrics = judge(average.average, validation)
    settings = {"steps": clock.steps, "images": seen, "seconds": round(time.monotonic() - started, 1), **NETWORK}
    memory = torch.cuda.max_memory_allocated() / 2**30 if fused else 0.0
    note = {"name": Path(arguments.output).stem, "memory_gib": round(memory, 1), **settings, "validation": metrics}
    write_note(arguments, note)
