"""Labels for other programs and from them: COCO's detection JSON, and the CSV of the RSNA challenge.

Both hold one label an image: several readers go through :mod:`monai_dgm.labelling.labels.consensus` first.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_dgm.data.listing import unique_ids
from monai_dgm.data.manifest import check_boxes
from monai_dgm.data.rsna import BOX_COLUMNS, read_boxes
from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.image_label import (
    FAR,
    MAX_SIDE,
    OPACITY,
    ImageLabel,
    LabelledBox,
    checked_text,
    make_boxes,
)
from monai_dgm.labelling.labels.json_input import parse_json, read_json, shown
from monai_dgm.transforms.boxes import xywh_to_xyxy
from monai_dgm.utils.atomic import atomic_write

MAX_COCO_BYTES = 500_000_000


def coco_of(labels: Sequence[ImageLabel], file_names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Labels as COCO's object detection format.

    Boxes become ``bbox`` [x, y, width, height] in original pixels; an image without annotations is a confirmed
    negative. Beside COCO's own keys, an image has "image_id" (ours) and an annotation "score" where known.

    Args:
        labels: one an image.
        file_names: ``file_name`` by image id; the id itself where not given.

    Raises:
        InputError: several labels of one image.
    """
    ordered = _one_an_image(labels)
    names = sorted({box.label or OPACITY for label in ordered for box in label.boxes} | {OPACITY})
    categories = {name: number for number, name in enumerate(names, 1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, label in enumerate(ordered, 1):
        name = (file_names or {}).get(label.image_id, label.image_id)
        image = {"id": number, "file_name": name, "width": label.size[1], "height": label.size[0]}
        images.append({**image, "image_id": label.image_id})
        for box in label.boxes:
            annotation = _annotation(box, number, categories[box.label or OPACITY])
            annotations.append({"id": len(annotations) + 1, **annotation})
    return {
        "info": {"description": "opacity boxes of monai-dgm"},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
    }


def write_coco(
    path: str | os.PathLike[str], labels: Sequence[ImageLabel], file_names: Mapping[str, str] | None = None
) -> None:
    """Write :func:`coco_of` to a file."""
    values = coco_of(labels, file_names)
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")


def read_coco(path: str | os.PathLike[str], reader: str, source: str = "import") -> list[ImageLabel]:
    """Labels of a COCO file, in the order of its images.

    An image without annotations becomes a confirmed negative. Its id is "image_id" where :func:`write_coco` wrote the
    file, else its file name without suffix (with folders, where names repeat). Boxes are clipped to the image when they
    reach out by at most half a pixel.

    Args:
        path: JSON file.
        reader: who drew the boxes.
        source: of the labels.

    Raises:
        InputError: naming the file and what is wrong with it: not COCO, a box outside its image, an image or category
            that is not listed, a crowd region.
    """
    return _labels_of_coco(str(Path(path)), read_json(path, MAX_COCO_BYTES), reader, source)


def parse_coco(document: bytes, where: str, max_bytes: int, reader: str, source: str = "import") -> list[ImageLabel]:
    """As :func:`read_coco`, of a file's content; ``where`` is what it is, for the message.

    Raises:
        InputError: as :func:`read_coco`, or more than ``max_bytes``.
    """
    return _labels_of_coco(where, parse_json(document, where, max_bytes), reader, source)


def _labels_of_coco(where: str, values: Any, reader: str, source: str) -> list[ImageLabel]:
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected COCO's object with images, annotations and categories")
    images, annotations, categories = (_objects(where, values, k) for k in ("images", "annotations", "categories"))
    names = {_key(where, entry, "id"): _category_name(where, entry) for entry in categories}
    by_image: dict[int | str, list[dict[str, Any]]] = {_key(where, image, "id"): [] for image in images}
    if len(by_image) != len(images) or len(names) != len(categories):
        raise InputError(f"{where}: expected each id of an image or category once")
    for annotation in annotations:
        belongs, category = _key(where, annotation, "image_id"), _key(where, annotation, "category_id")
        if belongs not in by_image or category not in names:
            raise InputError(f"{where}: expected annotations of images and categories that the file lists")
        by_image[belongs].append(annotation)
    labels = []
    for image_id, image in zip(_image_ids(where, images), images, strict=True):
        size = (_whole(where, image, "height"), _whole(where, image, "width"))
        boxes = _coco_boxes(where, by_image[_key(where, image, "id")], size, names)
        labels.append(_label(where, image_id, size, boxes, reader, source))
    return labels


def write_rsna_csv(path: str | os.PathLike[str], labels: Sequence[ImageLabel]) -> None:
    """Write labels as ``stage_2_train_labels.csv`` of the RSNA challenge: a row a box with Target 1, and for a
    confirmed negative a row without box with Target 0; x and y are the upper left corner in original pixels.

    Raises:
        InputError: several labels of one image.
    """
    content = rsna_csv_of(labels)
    with atomic_write(path) as partial:
        partial.write_text(content, encoding="utf-8", newline="")


def rsna_csv_of(labels: Sequence[ImageLabel]) -> str:
    """The content of :func:`write_rsna_csv`'s file; errors as there."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(BOX_COLUMNS)
    for label in _one_an_image(labels):
        for box in label.boxes:
            xmin, ymin, xmax, ymax = box.box
            writer.writerow([label.image_id, xmin, ymin, xmax - xmin, ymax - ymin, 1])
        if not label.boxes:
            writer.writerow([label.image_id, "", "", "", "", 0])
    return stream.getvalue()


def read_rsna_csv(
    path: str | os.PathLike[str], sizes: Mapping[str, tuple[int, int]], reader: str, source: str = "import"
) -> list[ImageLabel]:
    """Labels of a CSV in the challenge's form, in the order of the file.

    Args:
        path: the CSV file.
        sizes: (rows, cols) of every image by its patientId, which the file does not say (1024 x 1024 in the challenge).
        reader: who drew the boxes.
        source: of the labels.

    Raises:
        InputError: naming the file and what is wrong with it: as :func:`monai_dgm.data.rsna.read_boxes`, an image
            without size, or a box outside its image.
    """
    return labels_of_rsna(str(Path(path)), read_boxes(Path(path)), sizes, reader, source)


def labels_of_rsna(
    where: str,
    boxes_by_image: Mapping[str, Sequence[Sequence[float]]],
    sizes: Mapping[str, tuple[int, int]],
    reader: str,
    source: str = "import",
) -> list[ImageLabel]:
    """As :func:`read_rsna_csv`, of boxes that are read already."""
    labels = []
    for image_id, boxes in boxes_by_image.items():
        if image_id not in sizes:
            raise InputError(f"{where}: expected images whose size is known, one is not among the {len(sizes)} given")
        size = sizes[image_id]
        inside = check_boxes(where, np.asarray(boxes, dtype=np.float64).reshape(-1, 4), *size)
        labels.append(_label(where, image_id, size, make_boxes(inside, [OPACITY] * len(inside)), reader, source))
    return labels


def _one_an_image(labels: Sequence[ImageLabel]) -> list[ImageLabel]:
    if len({label.image_id for label in labels}) < len(labels):
        raise InputError("expected one label an image, got several of one: take their consensus first")
    return sorted(labels, key=lambda label: label.image_id)


def _annotation(box: LabelledBox, image: int, category: int) -> dict[str, Any]:
    xmin, ymin, xmax, ymax = box.box
    width, height = xmax - xmin, ymax - ymin
    known = {} if box.score is None else {"score": box.score}
    bbox = [xmin, ymin, width, height]
    return {"image_id": image, "category_id": category, "bbox": bbox, "area": width * height, "iscrowd": 0, **known}


def _label(
    where: str,
    image_id: str,
    size: tuple[int, int],
    boxes: tuple[LabelledBox, ...],
    reader: str,
    source: str,
) -> ImageLabel:
    try:
        return ImageLabel(image_id, size, "boxes" if boxes else "no_finding", boxes, reader, source)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _objects(where: str, values: dict[str, Any], key: str) -> list[dict[str, Any]]:
    entries = values.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{where}: expected COCO's {key} as a list of objects, got {shown(entries)}")
    return entries


def _key(where: str, entry: dict[str, Any], key: str) -> int | str:
    value = _without_fraction(entry.get(key))
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise InputError(f"{where}: expected {key} as a whole number or text, got {shown(value)}")
    return value


def _whole(where: str, image: dict[str, Any], key: str) -> int:
    value = _without_fraction(image.get(key))
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_SIDE:
        raise InputError(f"{where}: expected an image's {key} from 1 to {MAX_SIDE}, got {shown(value)}")
    return value


def _without_fraction(value: Any) -> Any:
    """1024 for 1024.0: JSON has one kind of number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _category_name(where: str, entry: dict[str, Any]) -> str:
    try:
        return "_".join(checked_text(entry.get("name"), "a category's name", 64).split())
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _image_ids(where: str, images: list[dict[str, Any]]) -> list[str]:
    own = [image.get("image_id") for image in images]
    if all(isinstance(name, str) for name in own):
        names = [str(name) for name in own]
    else:
        files = [image.get("file_name") for image in images]
        if not all(isinstance(name, str) and name for name in files):
            raise InputError(f"{where}: expected a file_name for every image")
        names = unique_ids([str(name) for name in files])
    if len(set(names)) < len(names):
        raise InputError(f"{where}: expected each image once, got one twice")
    return names


def _coco_boxes(
    where: str, annotations: list[dict[str, Any]], size: tuple[int, int], names: Mapping[int | str, str]
) -> tuple[LabelledBox, ...]:
    found: list[Any] = []
    for annotation in annotations:
        if annotation.get("iscrowd", 0) != 0:
            raise InputError(f"{where}: expected boxes of single findings, got a crowd region")
        bbox: Any = annotation.get("bbox")
        usable = isinstance(bbox, list) and len(bbox) == 4
        if not usable or not all(type(edge) in (int, float) and abs(edge) < FAR for edge in bbox):  # no bool
            raise InputError(f"{where}: expected bbox as [x, y, width, height], got {shown(bbox)}")
        found.append(bbox)
    inside = check_boxes(where, xywh_to_xyxy(found).astype(np.float64), *size)
    try:
        labels = [names[_key(where, annotation, "category_id")] for annotation in annotations]
        return tuple(
            LabelledBox(tuple(box), label, annotation.get("score"))
            for box, label, annotation in zip(inside.tolist(), labels, annotations, strict=True)
        )
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
