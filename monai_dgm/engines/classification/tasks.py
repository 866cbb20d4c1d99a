"""Tasks of classifiers: the labels of a task, and splits in which both labels occur."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from monai_dgm.data.sources import Splits
from monai_dgm.errors import InputError

__all__ = [
    "TASKS",
    "task_datalist",
    "task_splits",
]

Datalist = list[dict[str, Any]]

# task -> names of label 1 and label 0; all images without label 1 have label 0
TASKS: dict[str, tuple[str, str]] = {
    "abnormality": ("abnormal", "normal"),  # the paper's Tables 4 and 5
    "opacity": ("lung_opacity", "no_lung_opacity"),  # Table 6: opacities against normal and other abnormal images
}


def task_datalist(datalist: Sequence[Mapping[str, Any]], task: str) -> Datalist:
    """Datalist items with the labels of a task.

    Args:
        datalist: items with "label" (0 normal, 1 abnormal), and "category" for the task "opacity".
        task: of :data:`TASKS`.

    Raises:
        InputError: an unknown task, or an image without the label or category that the task needs.
    """
    if task not in TASKS:
        raise InputError(f"task: expected one of {', '.join(TASKS)}, got {task!r}")
    labelled: Datalist = []
    for item in datalist:
        known = item.get("category" if task == "opacity" else "label")
        if known is None:
            wanted = "a category" if task == "opacity" else "a label"
            raise InputError(f"{item['image']}: expected {wanted} for the task {task}, got none")
        labelled.append({**item, "label": int(known == "lung_opacity") if task == "opacity" else int(known)})
    return labelled


def task_splits(splits: Splits, task: str, max_normals: int | None = None, seed: int = 0) -> Splits:
    """Splits with the labels of a task; training and validation have images of both labels.

    Args:
        splits: from :func:`monai_dgm.data.sources.load_splits`.
        task: of :data:`TASKS`.
        max_normals: keep at most this number of training images of label 0, of randomly chosen patients; None for all.
            Validation and test do not change.
        seed: of that choice.

    Raises:
        InputError: as :func:`task_datalist`; or training or validation have images of one label only, unless all images
            are test images.
    """
    training, validation, test = (task_datalist(p, task) for p in (splits.training, splits.validation, splits.test))
    description = splits.description
    if max_normals is not None:
        training = _few_normals(training, max_normals, seed)
        count = sum(item["label"] == 0 for item in training)
        description = f"{description}, with {count} images without {TASKS[task][0]} to train on"
    known = () if splits.is_external else (("training", training), ("validation", validation))
    for name, part in known:
        found = {item["label"] for item in part}
        if len(found) < 2:
            lacking = TASKS[task][1 if 1 in found else 0]
            raise InputError(f"{name}: expected images of both labels for the task {task}, got no {lacking} one")
    return Splits(training, validation, test, description)


def _few_normals(datalist: Datalist, count: int, seed: int) -> Datalist:
    if count < 1:
        raise InputError(f"max_normals: expected at least one image, got {count}")
    patients = sorted({item["patient_id"] for item in datalist if item["label"] == 0})
    order = np.random.default_rng((seed, count)).permutation(len(patients))
    rank = {patients[index]: number for number, index in enumerate(order)}
    normals = [index for index, item in enumerate(datalist) if item["label"] == 0]
    kept = set(sorted(normals, key=lambda index: (rank[datalist[index]["patient_id"]], index))[:count])
    return [item for index, item in enumerate(datalist) if item["label"] == 1 or index in kept]
