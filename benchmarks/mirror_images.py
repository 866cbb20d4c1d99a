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
from torch import nn

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.sources import load_splits
from monai_dgm.engines.classification.classifier import load_classifier
from monai_dgm.engines.classification.tasks import task_splits
from monai_dgm.engines.weights import read_model_settings
from monai_dgm.metrics.classification import classification_metric_set
from monai_dgm.metrics.comparison import paired_differences
from monai_dgm.metrics.metric_sets import summarise_splits

Scores = NDArray[np.float64]


@torch.no_grad()
def logits(network: nn.Module, dataset: RadiographDataset, mirrored: bool) -> Scores:
    """(N,) of a dataset's images."""
    found = []
    for start in range(0, len(dataset), 32):
        images = dataset.images_as_tensor(range(start, min(start + 32, len(dataset))))
        found.append(network(images.flip(-1) if mirrored else images)[:, 0].double())
    return torch.cat(found).numpy()


def print_table(
    title: str, rows: Sequence[tuple[str, Scores]], labels: Scores, patients: Sequence[str], num: int
) -> None:
    """A row for each classifier; its scores are (2, N), of the images as they are and mirrored."""
    print(f"\n| {title}, n = {len(labels)} | as it is | mirrored | both | both - as it is |")
    print("|---" * 5 + "|")
    for name, scores in rows:
        plain, mirror, both = (
            classification_metric_set(labels, values, 0.0) for values in (*scores, scores.mean(axis=0))
        )
        found = [summarise_splits([metrics], [patients], num)["auc"] for metrics in (plain, mirror, both)]
        cells = [f"{one.mean:.3f} [{one.low:.3f}, {one.high:.3f}]" for one in found]
        gain = paired_differences(both, plain, patients, num)["auc"]
        cells.append(f"{gain.difference:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]")
        print("| " + " | ".join((name, *cells)) + " |", flush=True)


def main() -> None:
    """Print Markdown tables for validation and test images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", required=True)
    parser.add_argument("--classifiers", nargs="+", required=True, help="task abnormality, channels ['image']")
    parser.add_argument("--cache_dir", default="output/cache")
    parser.add_argument("--source", default="nih")
    parser.add_argument("--num_bootstrap", type=int, default=2000)
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
        patients = np.array([str(item["patient_id"]) for item in items])
        for group, chosen in (("all sources", np.full(len(items), True)), (f"within {given.source}", within)):
            rows = [(name, scores[:, chosen]) for name, scores in named.items()]
            print_table(f"{part}, {group}", rows, labels[chosen], patients[chosen].tolist(), given.num_bootstrap)


if __name__ == "__main__":
    main()
