"""What a classifier is trained on: labels of a task, and splits with both labels."""

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

# task -> names of label 1 and label 0, which is what all images not of label 1 have
TASKS: dict[str, tuple[str, str]] = {
    "abnormality": ("abnormal", "normal"),  # the paper's Tables 4 and 5
    "opacity": ("lung_opacity", "no_lung_opacity"),  # Table 6: opacities against normal and other abnormal images
}


def task_datalist(datalist: Sequence[Mapping[str, Any]], task: str) -> Datalist:
    """The items with the labels of a task.

    Args:
        datalist: items with "label" (0 normal, 1 abnormal), and "category" for the task "opacity".
        task: of :data:`TASKS`.

    Raises:
        InputError: a task that there is not, or an image without what the task asks for.
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
    """The splits with the labels of a task; training and validation hold both of them.

    Args:
        splits: from :func:`monai_dgm.data.sources.load_splits`.
        task: of :data:`TASKS`.
        max_normals: keep at most that many images of label 0 to train on, those of random patients, as where normals
            are few; None for all. Validation and test are as they were.
        seed: of that choice.

    Raises:
        InputError: as :func:`task_datalist`; or training or validation lack a label.
    """
    training, validation, test = (task_datalist(p, task) for p in (splits.training, splits.validation, splits.test))
    description = splits.description
    if max_normals is not None:
        training = _few_normals(training, max_normals, seed)
        count = sum(item["label"] == 0 for item in training)
        description = f"{description}, with {count} images without {TASKS[task][0]} to train on"
    for name, part in (("training", training), ("validation", validation)):
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
    rank = {patients[place]: number for number, place in enumerate(order)}
    normals = [place for place, item in enumerate(datalist) if item["label"] == 0]
    kept = set(sorted(normals, key=lambda place: (rank[datalist[place]["patient_id"]], place))[:count])
    return [item for place, item in enumerate(datalist) if item["label"] == 1 or place in kept]
