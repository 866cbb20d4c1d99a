"""What does a classifier say of a radiograph's mirror image, and is the mean of both better?

    python benchmarks/mirror_images.py --dataset_dir FOLDER --classifiers A/model.pt B/model.pt

Disease has no side, but where an image comes from has: letters on the film, the way a hospital crops. Prints the AUC of
abnormal against normal on validation and test images, over all and within one source, of the image as it is, mirrored,
and of both (the mean logit), for each classifier and for their mean; 95 % intervals by bootstrap over patients, and the
difference both - as it is with its own.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import nn

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.sources import load_splits
from monai_dgm.engines.classification.classifier import load_classifier
from monai_dgm.engines.classification.data import task_splits
from monai_dgm.engines.weights import read_model_settings
from monai_dgm.metrics.intervals import interval, patient_weights

Scores = NDArray[np.float64]


@torch.no_grad()
def logits(network: nn.Module, dataset: RadiographDataset, mirrored: bool) -> Scores:
    """(N,) of a dataset's images."""
    found = []
    for start in range(0, len(dataset), 32):
        images = dataset.images_as_tensor(range(start, min(start + 32, len(dataset))))
        found.append(network(images.flip(-1) if mirrored else images)[:, 0].double())
    return torch.cat(found).numpy()


def auc_with_interval(labels: Scores, scores: Sequence[Scores], weights: NDArray[np.float32]) -> str:
    """AUC of the scores, or the difference of two of them (first minus second), with its bounds."""

    def figure(weight: NDArray[np.float32] | None) -> float:
        aucs = [roc_auc_score(labels, values, sample_weight=weight) for values in scores]
        return float(aucs[0] - aucs[1]) if len(aucs) == 2 else float(aucs[0])

    bounds = interval([figure(row) for row in weights if len(set(labels[row > 0])) == 2])
    sign = "+" if len(scores) == 2 else ""
    return f"{figure(None):{sign}.3f} [{bounds.low:{sign}.3f}, {bounds.high:{sign}.3f}]"


def print_table(title: str, rows: Sequence[tuple[str, Scores]], labels: Scores, weights: NDArray[np.float32]) -> None:
    """A row for each classifier; its scores are (2, N), of the images as they are and mirrored."""
    print(f"\n| {title}, n = {len(labels)} | as it is | mirrored | both | both - as it is |")
    print("|---" * 5 + "|")
    for name, (plain, mirror) in rows:
        mean = (plain + mirror) / 2
        columns = ([plain], [mirror], [mean], [mean, plain])
        print(f"| {name} |", " | ".join(auc_with_interval(labels, scores, weights) for scores in columns), "|")


def main() -> None:
    """Print Markdown tables for validation and test images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", required=True)
    parser.add_argument("--classifiers", nargs="+", required=True, help="task abnormality, channels ['image']")
    parser.add_argument("--cache_dir", default="output/cache")
    parser.add_argument("--source", default="nih")
    parser.add_argument("--num_bootstrap", type=int, default=500)
    given = parser.parse_args()
    settings = [read_model_settings(path) for path in given.classifiers]
    size, fold, task = (settings[0][name] for name in ("image_size", "fold", "task"))
    common = {"image_size": size, "fold": fold, "task": task, "channels": ["image"]}
    if any({**own, **common} != own for own in settings):
        parser.error("--classifiers: expected one size, fold and task, and the channels ['image']")
    networks = [load_classifier(path) for path in given.classifiers]
    splits = task_splits(load_splits(given.dataset_dir, None, fold=fold, validation_fraction=0.1, seed=0), task)
    for part, items in (("validation", splits.validation), ("test", splits.test)):
        dataset = RadiographDataset(items, size, given.cache_dir)
        both = np.array([[logits(network, dataset, mirrored) for mirrored in (False, True)] for network in networks])
        named = {f"classifier {place}": scores for place, scores in enumerate(both, 1)} | {"mean": both.mean(axis=0)}
        labels = dataset.labels.numpy().astype(np.float64)
        within = np.array([item["source"] == given.source for item in items])
        patients = patient_weights([str(item["patient_id"]) for item in items], given.num_bootstrap)
        for group, chosen in (("all sources", np.full(len(items), True)), (f"within {given.source}", within)):
            rows = [(name, scores[:, chosen]) for name, scores in named.items()]
            print_table(f"{part}, {group}", rows, labels[chosen], patients[:, chosen])


if __name__ == "__main__":
    main()
