"""One opacity detector, on [image] or on [image, residue] with cross-fitted residues."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from gpu.decomposer import make_decomposer
from gpu.judge import decompose
from gpu.loop import Average, Clock, log, prepared, save
from gpu.pack import draws
from monai_dgm.engines.training.resident import ResidentRadiographs
from monai_dgm.networks.efficientnet import imagenet_state_dict


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
    from monai_dgm.transforms.augmentation import RandRadiographAugmentation

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
    augmentation = RandRadiographAugmentation(
        channels, rotation=8.0, scale=0.2, shift=0.1, contrast=0.2, brightness=0.15, gamma=0.3
    )
    average, clock = Average(detector, 0.004), Clock([optimizer], arguments.seconds)
    started, seen = time.monotonic(), 0
    detector.train()
    for index in draws(training, arguments.batch_size):
        if not clock.tick():
            break
        image, boxes = detector_batch(training, residues, index)
        varied = augmentation({"image": image, "boxes": boxes})
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
