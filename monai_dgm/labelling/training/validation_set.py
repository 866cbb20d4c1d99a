"""Validation images on which all versions of a model are compared: drawn once, stored, never trained on.

With original data (setting replay) they are from its validation split, at most :data:`MAX_IMAGES`. Without, they are a
share of the labelled patients, drawn separately among those with and without boxes, in the order of the SHA-256 of
their image ids: the same labels give the same draw. While these images are too few to decide by, later trainings add
a share of the patients that were labelled since, who were never trained on. No image is ever removed. If readers
correct a label later, it is corrected here, too; metrics can be compared where the digest of the ground truth is the
same.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monai_dgm.data.opacity_boxes import num_boxes
from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.image_label import utc_now
from monai_dgm.utils.atomic import write_json

__all__ = [
    "MIN_IMAGES",
    "MIN_IMAGES_WITH_BOXES",
    "FixedImages",
    "draw_from_labels",
    "enough_to_decide",
    "fixed_images",
    "stable_order",
    "truth_digest",
]

MAX_IMAGES = 400
FRACTION = 0.2
# Validation images needed to decide by, and of these with boxes: AP is a mean over boxes. On 8 images, a detector
# whose AP at IoU 0.40 on the test images fell from 0.22 to 0.12 was promoted.
MIN_IMAGES, MIN_IMAGES_WITH_BOXES = 50, 10
MIN_LABELLED, MIN_WITH_BOXES = 10, 2  # patients needed to draw from: with a label, and of these with boxes
LABELS, REPLAY = "labels", "replay"  # source of the images
Datalist = list[dict[str, Any]]


@dataclass(frozen=True)
class FixedImages:
    """The chosen images.

    Attributes:
        source: "labels" or "replay".
        dataset: name of the folder of original data; empty for "labels".
        image_ids: sorted.
        seen: ids of all images that had a label at a draw, sorted; None where that was not stored (earlier versions).
    """

    source: str
    dataset: str
    image_ids: tuple[str, ...]
    seen: tuple[str, ...] | None = None


def stable_order(image_ids: Sequence[str]) -> list[str]:
    """Image ids in the order of their SHA-256, which depends on the ids alone."""
    return sorted(image_ids, key=lambda name: hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest())


def draw_from_labels(items: Sequence[dict[str, Any]], fraction: float = FRACTION) -> list[str]:
    """Ids of labelled images for validation: from ``fraction`` of the patients with boxes, and of those without.

    Args:
        items: with "image_id", "patient_id" and "opacity_boxes".
        fraction: at least one patient with boxes, and one without if there are two or more.

    Raises:
        InputError: too few patients.
    """
    patients: dict[str, list[dict[str, Any]]] = {}
    for item in items:
        patients.setdefault(str(item["patient_id"]), []).append(item)
    first = {stable_order([item["image_id"] for item in own])[0]: own for own in patients.values()}
    ordered = [first[name] for name in stable_order(list(first))]
    positive = [own for own in ordered if any(num_boxes(item) for item in own)]
    negative = [own for own in ordered if not any(num_boxes(item) for item in own)]
    if len(patients) < MIN_LABELLED or len(positive) < MIN_WITH_BOXES:
        raise InputError(
            f"expected labels of at least {MIN_LABELLED} patients, {MIN_WITH_BOXES} of them with boxes, got "
            f"{len(patients)} and {len(positive)}; label more, or give original data (setting replay)"
        )
    chosen = [own for group in (positive, negative) if len(group) > 1 for own in group[: _share(len(group), fraction)]]
    return sorted(item["image_id"] for own in chosen for item in own)


def _share(number: int, fraction: float) -> int:
    return min(max(1, round(fraction * number)), number - 1)


def enough_to_decide(items: Sequence[dict[str, Any]]) -> bool:
    """Whether images with "opacity_boxes" are enough to compare detectors by: :data:`MIN_IMAGES` images, of which
    :data:`MIN_IMAGES_WITH_BOXES` have boxes."""
    return len(items) >= MIN_IMAGES and sum(num_boxes(item) > 0 for item in items) >= MIN_IMAGES_WITH_BOXES


def _extended(known: FixedImages, labelled: Sequence[dict[str, Any]]) -> FixedImages:
    """``known`` with a share of the patients of whom no image had a label at an earlier draw, if it is too small."""
    if known.seen is None or enough_to_decide([item for item in labelled if item["image_id"] in known.image_ids]):
        return known
    seen = {*known.seen, *known.image_ids}
    old = {item["patient_id"] for item in labelled if item["image_id"] in seen}
    groups: dict[str, list[str]] = {}
    for item in labelled:
        if item["patient_id"] not in old:
            groups.setdefault(str(item["patient_id"]), []).append(str(item["image_id"]))
    chosen = [name for own in groups.values() if _drawn(stable_order(own)[0]) for name in own]
    names = {name for own in groups.values() for name in own}
    return FixedImages(
        known.source,
        known.dataset,
        tuple(sorted({*known.image_ids, *chosen})),
        tuple(sorted(seen | names)),
    )


def _drawn(name: str) -> bool:
    """Whether the SHA-256 of an id is in the lowest :data:`FRACTION` of all values."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:8], "big") < FRACTION * 2**64


def fixed_images(
    path: str | os.PathLike[str], labelled: Sequence[dict[str, Any]], replay: Sequence[dict[str, Any]], dataset: str
) -> FixedImages:
    """The images stored in ``path``; if there is no such file, they are drawn and stored. Too few are added to.

    Args:
        path: a JSON file.
        labelled: images with boxes of the readers.
        replay: validation split of the original data; empty without original data.
        dataset: name of the folder of original data.

    Raises:
        InputError: a damaged file, too few labels, or images drawn from other original data.
    """
    file = Path(path)
    if file.is_file():
        known = _read(file)
        if known.source == REPLAY and known.dataset != dataset:
            raise InputError(
                f"replay: expected {known.dataset}, from which the validation images were drawn, got "
                f"{dataset or 'none'}; remove {file.name} to draw others; older metrics can then not be compared"
            )
        extended = _extended(known, labelled) if known.source == LABELS else known
        if extended != known:
            _write(file, extended)
        return extended
    if replay:
        names = stable_order([str(item["image_id"]) for item in replay])[:MAX_IMAGES]
        drawn = FixedImages(REPLAY, dataset, tuple(sorted(names)))
    else:
        seen = tuple(sorted(str(item["image_id"]) for item in labelled))
        drawn = FixedImages(LABELS, "", tuple(draw_from_labels(labelled)), seen)
    _write(file, drawn)
    return drawn


def _write(path: Path, images: FixedImages) -> None:
    values = {"schema_version": 1, "source": images.source, "dataset": images.dataset, "drawn": utc_now()}
    names = {"image_ids": images.image_ids, **({} if images.seen is None else {"seen": images.seen})}
    write_json(path, {**values, **names})


def _read(path: Path) -> FixedImages:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        names, seen = tuple(values["image_ids"]), tuple(values.get("seen") or ())
        if values["source"] not in (LABELS, REPLAY) or not all(isinstance(name, str) for name in (*names, *seen)):
            raise ValueError("another content")
        return FixedImages(values["source"], str(values["dataset"]), names, seen if "seen" in values else None)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: expected the ids of the validation images, the file cannot be read") from error


def truth_digest(items: Sequence[dict[str, Any]]) -> str:
    """First 16 digits of the SHA-256 of images and boxes: with the same digest, the ground truth is the same."""
    rows = sorted(
        (str(item["image_id"]), np.asarray(item["opacity_boxes"], dtype=np.float64).round(2).tolist()) for item in items
    )
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]
