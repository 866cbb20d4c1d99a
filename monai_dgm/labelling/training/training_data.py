"""Data of a fine-tuning: readers' corrections, original data to train on as well, and the validation images."""

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
from numpy.typing import NDArray
from PIL import Image

from monai_dgm.data.fingerprints import hash_file
from monai_dgm.data.opacity_boxes import num_boxes, opacity_splits
from monai_dgm.data.sources import Splits, load_splits
from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.corrections import training_datalist
from monai_dgm.labelling.labels.image_label import ImageLabel
from monai_dgm.labelling.training.validation_set import LABELS, FixedImages, fixed_images, stable_order
from monai_dgm.readers.dicom.read import read_header
from monai_dgm.readers.read import image_shape, sniff_format
from monai_dgm.utils.atomic import atomic_write, write_json

__all__ = [
    "Replay",
    "TrainingData",
    "corrected_items",
    "make_training_data",
    "read_splits",
    "replayed",
    "write_copy",
    "write_splits",
]

MAX_REPLAYED = 1000  # images of the original data; a training draws a few thousand images in all
REPLAY_VALIDATION = 0.08  # of the patients; with the same seed they are within any larger share of the bundles
CORRECTED = "corrected"  # key of an item: 1 for a corrected image, 0 for original data
Datalist = list[dict[str, Any]]
_KEYS = ("image", "image_id", "patient_id", "label", "category", "label_source", "source", CORRECTED)


@dataclass(frozen=True)
class Replay:
    """Original data, on which the detector is trained again so that it does not forget them.

    Attributes:
        training, validation, test: datalists; those of the test split are never used.
        name: of their folder.
    """

    training: Datalist
    validation: Datalist
    test: Datalist
    name: str


@dataclass(frozen=True)
class TrainingData:
    """Data of one fine-tuning.

    Attributes:
        training: corrected images and original data; the key "corrected" is 1 or 0.
        validation: the validation images.
        counts: of :class:`monai_dgm.labelling.labels.corrections.Corrections`, with "trained", "replayed",
            "validation", and "held_back": labelled images that are not trained on, since they are for validation or
            test.
        description: a sentence.
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
    """Labelled images with the consensus of their readers, and counts of labels.

    Images are left out if they are missing, cannot be read, or changed their size after they were labelled.

    Args:
        labels: one per reader and image.
        paths: file of each image, by its id.
        weights: of the readers in the consensus, by name.
        groups: study of an image by its id, where known; it is used instead of the patient in the file.
    """
    sizes: dict[str, tuple[int, int]] = {}
    for name in sorted({label.image_id for label in labels} & paths.keys()):
        try:
            sizes[name] = image_shape(paths[name])
        except (InputError, OSError):
            continue
    usable = [label for label in labels if sizes.get(label.image_id) == label.size]
    key = secrets.token_bytes(16)  # a patient's id is only compared, never stored
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
    """A pseudonym of the patient in a DICOM file; the image's id where the file names none."""
    try:
        if sniff_format(path) != "dicom":
            return image_id
        patient = str(read_header(path).get("PatientID") or "")
    except Exception:  # a header that is damaged fails in many ways
        return image_id
    return (
        "patient-" + blake2b(patient.encode("utf-8", "replace"), key=key, digest_size=12).hexdigest()
        if patient
        else image_id
    )


def replayed(folder: str | os.PathLike[str] | None, fold: int = 0, seed: int = 0) -> Replay:
    """The splits of the original data, drawn as in the detector's first training; empty without a folder.

    Args:
        folder: with a ``manifest.csv``, or the RSNA challenge as downloaded; None for no original data.
        fold, seed: of the detector's first training.

    Raises:
        InputError: a folder in another form, or without opacity boxes.
    """
    if folder is None:
        return Replay([], [], [], "")
    splits = opacity_splits(load_splits(folder, "", fold=fold, validation_fraction=REPLAY_VALIDATION, seed=seed))
    return Replay(splits.training, splits.validation, splits.test, Path(folder).resolve().name)


def make_training_data(
    items: Sequence[dict[str, Any]], counts: Mapping[str, int], replay: Replay, validation_file: str | os.PathLike[str]
) -> TrainingData:
    """Corrected images and original data for training, without the images for validation and test.

    The same image may be in the studies and in the original data. Files are therefore compared by content, and the
    correction replaces the label in the original data.

    Args:
        items: corrected images from :func:`corrected_items`.
        counts: from the same function.
        replay: the original data.
        validation_file: see :func:`monai_dgm.labelling.training.validation_set.fixed_images`.

    Raises:
        InputError: too few labels, no image to train on, or a ``validation_file`` that does not fit.
    """
    fixed = fixed_images(validation_file, items, replay.validation, replay.name)
    validation = _fixed_items(fixed, items, replay)
    copies = _same_content(items, [*replay.training, *replay.validation, *replay.test])
    reserved = {_key(item) for item in validation} | {_key(item) for item in replay.test}
    patients = {item["patient_id"] for item in validation}
    kept = [
        item
        for item in items
        if _key(item) not in reserved
        and item["patient_id"] not in patients
        and not ({copy["image"] for copy in copies.get(item["image"], [])} & reserved)
    ]
    if not kept:
        raise InputError(f"expected labelled images to train on, but all {len(items)} are for validation or test")
    corrected = {copy["image"] for item in kept for copy in copies.get(item["image"], [])}
    originals = {item["image_id"]: item for item in replay.training if _key(item) not in corrected | reserved}
    chosen = [originals[name] for name in stable_order(list(originals))[:MAX_REPLAYED]]
    training = [{**item, CORRECTED: 1} for item in kept] + [{**item, CORRECTED: 0} for item in chosen]
    numbers = {"trained": len(kept), "replayed": len(chosen), "validation": len(validation)}
    words = f"{len(kept)} corrected images" + (f" and {len(chosen)} of {replay.name}" if chosen else " alone")
    return TrainingData(training, validation, {**counts, **numbers, "held_back": len(items) - len(kept)}, words)


def _key(item: Mapping[str, Any]) -> str:
    return str(item["image"])


def _fixed_items(fixed: FixedImages, items: Sequence[dict[str, Any]], replay: Replay) -> Datalist:
    known = {item["image_id"]: item for item in (items if fixed.source == LABELS else replay.validation)}
    found = [known[name] for name in fixed.image_ids if name in known]
    if fixed.source != LABELS and len(found) < len(fixed.image_ids):
        raise InputError(f"replay: expected the {len(fixed.image_ids)} stored validation images, found {len(found)}")
    if not any(num_boxes(item) for item in found):
        raise InputError("expected validation images with boxes; their labels are missing or disputed")
    return found


def _same_content(items: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]]) -> dict[str, Datalist]:
    """For each item's path the images in ``others`` with the same bytes. Files of other sizes are not read."""
    sizes = {os.path.getsize(item["image"]) for item in items}
    by_hash: dict[str, Datalist] = {}
    for other in others:
        if os.path.getsize(other["image"]) in sizes:
            by_hash.setdefault(hash_file(other["image"]), []).append(other)
    return {item["image"]: by_hash.get(hash_file(item["image"]), []) for item in items} if by_hash else {}


def write_copy(pixels: NDArray[np.floating[Any]], path: str | os.PathLike[str]) -> None:
    """Write pixels as a 16-bit PNG.

    Args:
        pixels: (rows, cols); the lowest value becomes 0, the highest 65535. The training maps percentiles to [-1, 1].
        path: of the file.

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
    """Write the data of a training, so that it has the same data when it is continued."""
    values = {"description": data.description, "counts": data.counts}
    parts = {name: [_plain(item) for item in getattr(data, name)] for name in ("training", "validation")}
    write_json(path, {**values, **parts}, indent=None)


def read_splits(path: str | os.PathLike[str]) -> Splits:
    """The splits that :func:`write_splits` wrote, for the bundle's configuration; test is the same as validation.

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
        raise InputError(f"{path}: expected the datalists of a training, the file cannot be read") from error


def _plain(item: Mapping[str, Any]) -> dict[str, Any]:
    boxes = np.asarray(item["opacity_boxes"], dtype=np.float64).reshape(-1, 4).tolist()
    return {**{name: item.get(name) for name in _KEYS}, "opacity_boxes": boxes}


def _items(rows: Sequence[Mapping[str, Any]]) -> Datalist:
    return [{**row, "opacity_boxes": np.asarray(row["opacity_boxes"], dtype=np.float32).reshape(-1, 4)} for row in rows]
