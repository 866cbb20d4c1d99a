"""One opacity detector, on [image] or on [image, residue] with cross-fitted residues."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from gpu.decomposer import make_decomposer
from gpu.judge import decompose
from gpu.loop import Average, Clock, log, prepared, save, write_note
from gpu.pack import draws
from monai_dgm.engines.files import weights_sha256
from monai_dgm.engines.training.imagenet import load_imagenet
from monai_dgm.engines.training.resident import ResidentRadiographs
from monai_dgm.engines.weights import read_state_dict
from monai_dgm.networks.detector import OpacityDetector


def cross_fitted_residues(arguments: argparse.Namespace, data: ResidentRadiographs) -> Tensor:
    """Residues of the training images by decomposers that were trained on the other half of the patients."""
    residues = torch.zeros_like(data.images, dtype=torch.float16)
    for half, path in enumerate(arguments.halves):  # the one trained on half 0 takes half 1 apart
        network = make_decomposer(None).to(data.images.device, memory_format=torch.channels_last)
        network.load_state_dict(read_state_dict(path))
        others = (data.half != half).nonzero()[:, 0]
        residues[others] = decompose(network, data.take(others))[0]
    return residues


def train_detector(arguments: argparse.Namespace) -> None:
    """Train one opacity detector on [image] or, with ``--halves``, on [image, residue], and save its average."""
    from monai_dgm.transforms.augmentation import RandRadiographAugmentation

    device, training, _ = prepared(arguments)
    training = training.take((training.complete | training.empty).nonzero()[:, 0])
    channels = ("image", "residue") if arguments.halves else ("image",)
    residues = cross_fitted_residues(arguments, training) if arguments.halves else None
    torch.manual_seed(arguments.seed)
    size = training.images.shape[-1]
    detector = OpacityDetector(len(channels), arguments.backbone, size, arguments.width, 128)
    start_detector(detector, arguments)
    detector = detector.to(device, memory_format=torch.channels_last)
    fused = device.type == "cuda"
    optimizer = torch.optim.AdamW(detector.parameters(), lr=arguments.lr, weight_decay=0.05, fused=fused)
    augmentation = RandRadiographAugmentation(
        channels, rotation=8.0, scale=0.25, shift=0.1, contrast=0.2, brightness=0.15, gamma=0.3
    )
    average, clock = Average(detector, 0.002), Clock([optimizer], arguments.seconds)
    started, saved, seen = time.monotonic(), time.monotonic(), 0
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
        if time.monotonic() - saved > 60:
            save(average.average, f"{arguments.output}.last")
            saved = time.monotonic()
    save(average.average, arguments.output)
    note = {"name": Path(arguments.output).stem, "steps": clock.steps, "images": seen, "channels": channels,
            "backbone": arguments.backbone, "width": arguments.width, "batch_size": arguments.batch_size,
            "learning_rate": arguments.lr, "seconds": round(time.monotonic() - started, 1),
            "loss": float(losses["loss"]),
            "initial_weights_sha256": weights_sha256(arguments.initial_weights)}  # fmt: skip
    write_note(arguments, note)


def start_detector(detector: OpacityDetector, arguments: argparse.Namespace) -> None:
    """Weights to begin with: a detector's, also one of other channels, or ImageNet's for an EfficientNet."""
    body = detector.network.feature_extractor.body
    if arguments.initial_weights:
        state = read_state_dict(arguments.initial_weights)
        stem = next(name for name, _ in body.named_parameters(prefix="network.feature_extractor.body"))
        state[stem] = _with_channels(state[stem], detector.state_dict()[stem].shape[1])
        detector.load_state_dict(state)
    elif arguments.imagenet and arguments.backbone == "efficientnet_lite2":
        load_imagenet(body, Path(arguments.imagenet))


def _with_channels(weight: Tensor, channels: int) -> Tensor:
    """A first convolution's weights for fewer or more channels; those added do nothing yet."""
    blank = weight.new_zeros(weight.shape[0], max(0, channels - weight.shape[1]), *weight.shape[2:])
    return torch.cat((weight[:, :channels], blank), dim=1)


def detector_batch(data: ResidentRadiographs, residues: Tensor | None, index: Tensor) -> tuple[Tensor, Tensor]:
    """Images (B, C, S, S), half of them mirrored with their boxes (B, K, 4), those that an image lacks zeros."""
    image = data.batch(index)["image"]
    if residues is not None:
        image = torch.cat((image, residues[index].float()), dim=1)
    mirrored = torch.rand(len(index), device=image.device) < 0.5
    image = torch.where(mirrored[:, None, None, None], image.flip(-1), image)
    side = image.shape[-1]
    boxes = data.boxes[index]
    real = boxes[..., 2:3] > boxes[..., 0:1]
    flipped = torch.stack((side - boxes[..., 2], boxes[..., 1], side - boxes[..., 0], boxes[..., 3]), -1) * real
    return image.contiguous(memory_format=torch.channels_last), torch.where(mirrored[:, None, None], flipped, boxes)
