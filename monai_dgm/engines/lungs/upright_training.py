"""Trains the network of the upright check, and measures it on chests that neither training nor threshold has seen.

``python -m monai_dgm.engines.lungs.upright_training DATA OUTPUT``: folds other than the test and the validation fold
train, the validation fold gives the threshold, the test fold the figures.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.manifest import load_manifest
from monai_dgm.data.splits import select_folds
from monai_dgm.engines.lungs.upright import SIDE, UPRIGHT_FILE, UprightNetwork, save_upright_check, upright_scores

__all__ = ["augmented", "metrics_of", "thresholds_of", "train_upright"]

logger = logging.getLogger(__name__)

QUANTILE = 0.006  # of upright validation chests that are taken for mirrored
WEIGHT_DECAY = 1e-2


def augmented(image: Tensor) -> Tensor:
    """Radiographs (B, 1, S, S) in [-1, 1], turned a little, moved, scaled, with other contrast and two plates on them.

    The plates hide letters on the film now and then: they tell the side, but not every radiograph has them.
    """
    count = len(image)
    angle, scale = (torch.rand(count) - 0.5) * 0.35, 1 + (torch.rand(count) - 0.5) * 0.3
    shift = (torch.rand(count, 2) - 0.5) * 0.2
    cosine, sine = scale * torch.cos(angle), scale * torch.sin(angle)
    rows = (torch.stack([cosine, -sine, shift[:, 0]], 1), torch.stack([sine, cosine, shift[:, 1]], 1))
    grid = nn.functional.affine_grid(torch.stack(rows, 1), list(image.shape), align_corners=False)
    moved = nn.functional.grid_sample(image + 1, grid, align_corners=False) - 1
    gamma = torch.exp((torch.rand(count, 1, 1, 1) - 0.5) * 0.8)
    moved = ((moved + 1) / 2).clamp(0, 1).pow(gamma) * 2 - 1
    moved = moved * (1 + (torch.rand(count, 1, 1, 1) - 0.5) * 0.3) + (torch.rand(count, 1, 1, 1) - 0.5) * 0.2
    for one in moved:
        for _ in range(int(torch.randint(3, ()))):
            height, width = (int(torch.randint(4, 14, ())) for _ in range(2))
            top, left = int(torch.randint(0, SIDE - height, ())), int(torch.randint(0, SIDE - width, ()))
            one[:, top : top + height, left : left + width] = torch.rand(()) * 2 - 1
    return moved


def train_upright(
    images: Tensor, epochs: int = 12, batch_size: int = 64, learning_rate: float = 2e-3, weights: str | None = None
) -> UprightNetwork:
    """Train on upright radiographs; how they look turned follows from the scores' definition.

    Args:
        images: (N, 1, 64, 64) in [-1, 1].
        epochs, batch_size, learning_rate: of AdamW in one cycle.
        weights: file to start from.
    """
    network = UprightNetwork()
    if weights is not None:
        network.load_state_dict({name: value.float() for name, value in load_file(weights).items()})
    optimiser = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=WEIGHT_DECAY)
    steps = len(images) // batch_size
    if not epochs * steps:
        return network.eval()
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=epochs * steps, pct_start=0.1)
    for epoch in range(epochs):
        network.train()
        total = 0.0
        for chosen in torch.randperm(len(images))[: steps * batch_size].split(batch_size):
            scores = upright_scores(network, augmented(images[chosen]))
            loss = nn.functional.softplus(-scores[:, 0]).mean() + 0.3 * nn.functional.softplus(-scores[:, 1]).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        logger.info("epoch %d of %d: loss %.4f", epoch + 1, epochs, total / max(steps, 1))
    return network.eval()


def scores_of(network: nn.Module, images: Tensor) -> NDArray[np.float64]:
    """Scores (N, 2) of radiographs (N, 1, 64, 64)."""
    with torch.inference_mode():
        return torch.cat([upright_scores(network, part) for part in images.split(256)]).double().numpy()


def thresholds_of(scores: NDArray[np.float64], quantile: float = QUANTILE) -> tuple[float, float]:
    """The thresholds that upright validation chests give: a quantile from left to right, and 0 from top to bottom,
    where nearly none is in doubt."""
    return float(np.quantile(scores[:, 0], quantile)), 0.0


def metrics_of(
    network: nn.Module, thresholds: tuple[float, float], images: Tensor, sources: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Share of held-out chests that are taken for turned, by source and over "all": as they are ("false_alarms"), and
    mirrored, upside down and turned by 180 degrees."""
    views = {"false_alarms": images, "mirrored": images.flip(3), "upside_down": images.flip(2)}
    views["turned_180"] = images.flip(2, 3)
    called = {name: (scores_of(network, view) < np.array(thresholds)).any(axis=1) for name, view in views.items()}
    groups = {"all": np.ones(len(images), dtype=bool)}
    groups |= {name: np.array([source == name for source in sources]) for name in sorted(set(sources))}
    metrics: dict[str, dict[str, float]] = {}
    for group, inside in groups.items():
        shares = {name: round(float(of[inside].mean()), 4) for name, of in called.items()}
        metrics[group] = {"num_images": int(inside.sum()), **shares}
    return metrics


def _images_of(datalist: list[dict[str, Any]], cache_dir: str | os.PathLike[str]) -> Tensor:
    dataset = RadiographDataset(datalist, SIDE, cache_dir, skip_bad=True)
    return dataset.images_as_tensor(list(range(len(dataset))))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder with a manifest.csv that has a column fold")
    parser.add_argument("output", help="folder for upright.safetensors and upright.json")
    parser.add_argument("--fold", type=int, default=0, help="the test fold")
    parser.add_argument("--validation_fold", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=12, help="0 measures the weights that training would start from")
    parser.add_argument("--weights", help="weights to start from")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.manual_seed(options.seed)
    datalist = load_manifest(options.data)
    held = [options.fold, options.validation_fold]
    rest = sorted({item["fold"] for item in datalist} - set(held))
    test, validation = (select_folds(datalist, [fold]) for fold in held)
    with tempfile.TemporaryDirectory() as cache:
        test_images, validation_images = _images_of(test, cache), _images_of(validation, cache)
        training = _images_of(select_folds(datalist, rest), cache) if options.epochs else test_images[:0]
        network = train_upright(training, options.epochs, weights=options.weights)
    thresholds = thresholds_of(scores_of(network, validation_images))
    metrics = metrics_of(network, thresholds, test_images, [str(item["source"]) for item in test])
    settings = {"width": 12, "fold": options.fold, "validation_fold": options.validation_fold, "quantile": QUANTILE}
    save_upright_check(Path(options.output) / UPRIGHT_FILE, network, thresholds, {**settings, "figures": metrics})
    for group, values in metrics.items():
        print(group, values)
    return 0


if __name__ == "__main__":
    sys.exit(main())
