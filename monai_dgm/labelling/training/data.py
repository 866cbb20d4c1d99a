"""What a detector is fine-tuned on: readers' corrections, original data beside them, the fixed validation images."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image

from monai_dgm.annotation.corrections import training_datalist
from monai_dgm.annotation.labels import ImageLabel
from monai_dgm.data.fingerprints import hash_file
from monai_dgm.data.opacity_boxes import num_boxes, opacity_splits
from monai_dgm.data.read import image_shape, sniff_format
from monai_dgm.data.sources import Splits, load_splits
from monai_dgm.errors import InputError
from monai_dgm.labelling.training.validation_set import LABELS, FixedImages, fixed_images, stable_order
from monai_dgm.utils.atomic import atomic_write

__all__ = [
    "Replay",
    "TrainingData",
    "corrected_items",
    "read_splits",
    "replayed",
    "training_data",
    "write_copy",
    "write_splits",
]

MAX_REPLAYED = 1000  # images beside the corrections; a training draws a few thousand of them at most
REPLAY_VALIDATION = 0.08  # of the patients: within any larger share that the bundles draw by the same seed
CORRECTED = "corrected"  # key of an item: 1 for a correction, 0 for original data
Datalist = list[dict[str, Any]]


@dataclass(frozen=True)
class Replay:
    """Original data: what may be trained on, what is validated on, what is never touched, and their folder's name."""

    training: Datalist
    validation: Datalist
    test: Datalist
    name: str


@dataclass(frozen=True)
class TrainingData:
    """What a fine-tuning gets.

    Attributes:
        training: corrections and original data; their key "corrected" is 1 or 0.
        validation: the fixed images.
        counts: of :class:`monai_dgm.annotation.corrections.Corrections`, with "trained", "replayed", "validation" and
            "held_back" (labelled images that are not trained on because they are validated or tested on).
        description: in words.
    """

    training: Datalist
    validation: Datalist
    counts: dict[str, int]
    description: str


def corrected_items(
    labels: Sequence[ImageLabel],
    paths: Mapping[str, str],
    weights: Mapping[str, float] | None = None,
    groups: Mapping[str, str] | None = None,
) -> tuple[Datalist, dict[str, int]]:
    """Labelled images with the consensus of their readers, and what became of the labels.

    Images that are gone, that cannot be read, or that have another size than when they were labelled are left out.

    Args:
        labels: one a reader and image.
        paths: of the images, by id.
        weights: of readers.
        groups: study of an image by its id, where it is known: in the place of the patient that the file tells.
    """
    sizes: dict[str, tuple[int, int]] = {}
    for name in sorted({label.image_id for label in labels} & paths.keys()):
        try:
            sizes[name] = image_shape(paths[name])
        except (InputError, OSError):
            continue
    usable = [label for label in labels if sizes.get(label.image_id) == label.size]
    key = secrets.token_bytes(16)  # a patient's id is only compared, and never written down
    names = sorted({label.image_id for label in usable})
    known = groups or {}
    datalist = [
        {"image": paths[name], "image_id": name, "patient_id": known.get(name) or _patient(paths[name], name, key)}
        for name in names
    ]
    corrections = training_datalist(usable, datalist, weights)
    unusable = len({label.image_id for label in labels}) - len(names)
    counts = {**corrections.counts, "unusable": corrections.counts["unusable"] + unusable}
    return [{**item, "source": "readers"} for item in corrections.datalist], counts


def _patient(path: str, image_id: str, key: bytes) -> str:
    """The same text for images of one patient, as far as their files tell; the image's id where they do not."""
    try:
        if sniff_format(path) != "dicom":
            return image_id
        tags = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["PatientID"], force=True)
        patient = str(tags.get("PatientID") or "")
    except Exception:  # a header that is damaged fails in many ways
        return image_id
    return (
        "patient-" + blake2b(patient.encode("utf-8", "replace"), key=key, digest_size=12).hexdigest()
        if patient
        else image_id
    )


def replayed(folder: str | os.PathLike[str] | None, fold: int = 0, seed: int = 0) -> Replay:
    """The splits of original data, as the bundle that trained on them draws them; empty without a folder.

    Args:
        folder: with a ``manifest.csv``, or the RSNA challenge as downloaded; None for no replay.
        fold, seed: of the detector's own training.

    Raises:
        InputError: another folder, or one without opacity boxes.
    """
    if folder is None:
        return Replay([], [], [], "")
    splits = opacity_splits(load_splits(folder, "", fold=fold, validation_fraction=REPLAY_VALIDATION, seed=seed))
    return Replay(splits.training, splits.validation, splits.test, Path(folder).resolve().name)


def training_data(
    items: Sequence[dict[str, Any]], counts: Mapping[str, int], replay: Replay, record: str | os.PathLike[str]
) -> TrainingData:
    """Corrections and original data, without any image that is validated or tested on.

    The same image may be in the studies and in the original data: files are compared by content, and a correction takes
    the place of what the original data say.

    Args:
        items: from :func:`corrected_items`.
        counts: beside them.
        replay: original data.
        record: file of the validation images, see :func:`monai_dgm.labelling.training.validation_set.fixed_images`.

    Raises:
        InputError: too few labels, none to train on, or a record that does not fit.
    """
    fixed = fixed_images(record, items, replay.validation, replay.name)
    validation = _fixed_items(fixed, items, replay)
    twins = _same_content(items, [*replay.training, *replay.validation, *replay.test])
    reserved = {_key(item) for item in validation} | {_key(item) for item in replay.test}
    patients = {item["patient_id"] for item in validation}
    kept = [
        item
        for item in items
        if _key(item) not in reserved
        and item["patient_id"] not in patients
        and not ({twin["image"] for twin in twins.get(item["image"], [])} & reserved)
    ]
    if not kept:
        raise InputError(f"expected labelled images to train on, got none of {len(items)} that is not validated on")
    corrected = {twin["image"] for item in kept for twin in twins.get(item["image"], [])}
    originals = {item["image_id"]: item for item in replay.training if _key(item) not in corrected | reserved}
    chosen = [originals[name] for name in stable_order(list(originals))[:MAX_REPLAYED]]
    training = [{**item, CORRECTED: 1} for item in kept] + [{**item, CORRECTED: 0} for item in chosen]
    told = {"trained": len(kept), "replayed": len(chosen), "validation": len(validation)}
    words = f"{len(kept)} corrected images" + (f", replaying {len(chosen)} of {replay.name}" if chosen else " alone")
    return TrainingData(training, validation, {**counts, **told, "held_back": len(items) - len(kept)}, words)


def _key(item: Mapping[str, Any]) -> str:
    return str(item["image"])


def _fixed_items(fixed: FixedImages, items: Sequence[dict[str, Any]], replay: Replay) -> Datalist:
    known = {item["image_id"]: item for item in (items if fixed.source == LABELS else replay.validation)}
    found = [known[name] for name in fixed.image_ids if name in known]
    if fixed.source != LABELS and len(found) < len(fixed.image_ids):
        raise InputError(f"replay: expected the {len(fixed.image_ids)} validation images, there are {len(found)}")
    if not any(num_boxes(item) for item in found):
        raise InputError("expected validation images with boxes; their labels are gone, or disputed")
    return found


def _same_content(items: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]]) -> dict[str, Datalist]:
    """The images among ``others`` that have an item's bytes, by the item's path. Files of other sizes are not read."""
    sizes = {os.path.getsize(item["image"]) for item in items}
    by_hash: dict[str, Datalist] = {}
    for other in others:
        if os.path.getsize(other["image"]) in sizes:
            by_hash.setdefault(hash_file(other["image"]), []).append(other)
    return {item["image"]: by_hash.get(hash_file(item["image"]), []) for item in items} if by_hash else {}


def write_copy(pixels: NDArray[np.floating[Any]], path: str | os.PathLike[str]) -> None:
    """Keep pixels (rows, cols) as a 16-bit PNG, the lowest 0, the highest 65535; percentiles map them to [-1, 1] later.

    Raises:
        InputError: no room on the disk.
    """
    low, high = float(pixels.min()), float(pixels.max())
    levels = (np.asarray(pixels, dtype=np.float64) - low) / (high - low if high > low else 1.0)
    try:
        with atomic_write(path) as partial:
            Image.fromarray(np.rint(65535 * levels).astype(np.uint16)).save(partial)
    except OSError as error:
        raise InputError(f"{path}: expected a folder with room to write it ({error.strerror})") from error


def write_splits(path: str | os.PathLike[str], data: TrainingData) -> None:
    """Keep what a training is made from, so that a resumed one gets the same."""
    values = {"description": data.description, "counts": data.counts}
    parts = {name: [_plain(item) for item in getattr(data, name)] for name in ("training", "validation")}
    with atomic_write(path) as partial:
        partial.write_text(json.dumps({**values, **parts}), encoding="utf-8")


def read_splits(path: str | os.PathLike[str]) -> Splits:
    """What :func:`write_splits` wrote, as the bundle's configuration takes it; the test is the validation.

    Raises:
        InputError: no such file.
    """
    values = _read(path)
    training, validation = (_items(values[name]) for name in ("training", "validation"))
    return Splits(training, validation, validation, values["description"])


def read_counts(path: str | os.PathLike[str]) -> dict[str, int]:
    """The counts that :func:`write_splits` wrote."""
    return dict(_read(path)["counts"])


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        return dict(json.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected the datalists of a training, they cannot be read") from error


_KEYS = ("image", "image_id", "patient_id", "label", "category", "label_source", "source", CORRECTED)


def _plain(item: Mapping[str, Any]) -> dict[str, Any]:
    boxes = np.asarray(item["opacity_boxes"], dtype=np.float64).reshape(-1, 4).tolist()
    return {**{name: item.get(name) for name in _KEYS}, "opacity_boxes": boxes}


def _items(rows: Sequence[Mapping[str, Any]]) -> Datalist:
    return [{**row, "opacity_boxes": np.asarray(row["opacity_boxes"], dtype=np.float32).reshape(-1, 4)} for row in rows]
