"""One abnormality classifier on the image: EfficientNet-lite2 from the weights of ImageNet."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from gpu.decomposer import VARIATION
from gpu.judge import abnormality_aucs
from gpu.loop import Average, Clock, log, prepared, save, write_note
from gpu.pack import draws
from monai_dgm.engines.training.imagenet import load_imagenet
from monai_dgm.networks.classifiers import EfficientNetClassifier
from monai_dgm.transforms.truth_augmentation import RandTruthAugmentation

SMOOTHING = 0.05  # of the labels, many of which are text-mined


def train_classifier(arguments: argparse.Namespace) -> None:
    """Train one classifier and save its average."""
    device, training, validation = prepared(arguments)
    network = EfficientNetClassifier(1, dropout=0.3)
    if arguments.imagenet:
        load_imagenet(network.encoder, Path(arguments.imagenet))
    network = network.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=arguments.lr, weight_decay=0.05, fused=device.type == "cuda")
    augmentation = RandTruthAugmentation(**VARIATION)
    average, clock = Average(network), Clock([optimizer], arguments.seconds)
    started, judged, seen = time.monotonic(), time.monotonic(), 0
    network.train()
    for index in draws(training, arguments.batch_size):
        if not clock.tick():
            break
        image = augmentation({"image": training.batch(index)["image"]})["image"]
        target = training.label[index] * (1 - 2 * SMOOTHING) + SMOOTHING
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            logit = network(image.contiguous(memory_format=torch.channels_last))[:, 0]
        loss = binary_cross_entropy_with_logits(logit.float(), target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        average.update()
        seen += len(index)
        if clock.steps % arguments.log_interval == 0:
            log(arguments, clock.steps, clock.pace(), {"loss": loss})
        if time.monotonic() - judged > 15:
            log(arguments, clock.steps, clock.pace(), abnormality_aucs(average.average, validation))
            judged = time.monotonic()
    save(average.average, arguments.output)
    note = {"name": Path(arguments.output).stem, "steps": clock.steps, "images": seen,
            "seconds": round(time.monotonic() - started, 1),
            "validation": abnormality_aucs(average.average, validation)}  # fmt: skip
    write_note(arguments, note)
