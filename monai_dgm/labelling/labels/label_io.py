"""Labels for other programs and from them: COCO's detection JSON, and the CSV of the RSNA challenge.

Both hold one label per image: of several readers, export the consensus (:mod:`monai_dgm.labelling.labels.consensus`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel

from monai_dgm.data.listing import unique_ids
from monai_dgm.data.manifest import clip_boxes
from monai_dgm.data.rsna import BOX_COLUMNS
from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.image_label import (
    OPACITY,
    BoxName,
    Edge,
    ImageLabel,
    LabelledBox,
    Score,
    Side,
    make_boxes,
)
from monai_dgm.labelling.labels.json_input import checked, describe_value, parse_json, without_fraction

__all__ = ["labels_to_coco", "labels_to_rsna_csv", "parse_coco", "rsna_boxes_to_labels"]


def _checked_id(value: Any) -> int | str:
    value = without_fraction(value)
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise InputError(f"expected a whole number or text, got {describe_value(value)}")
    return value


Id = Annotated[Any, AfterValidator(_checked_id)]


class _Category(BaseModel):
    id: Id
    name: BoxName


class _Image(BaseModel):
    id: Id
    width: Side
    height: Side
    file_name: Any = None
    image_id: Any = None


class _Annotation(BaseModel):
    image_id: Id
    category_id: Id
    bbox: tuple[Edge, Edge, Edge, Edge]
    iscrowd: Literal[0] = 0
    score: Score | None = None


class _Coco(BaseModel):
    """The keys of COCO's file that are read; others are ignored."""

    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


def labels_to_coco(labels: Sequence[ImageLabel]) -> dict[str, Any]:
    """Labels as COCO's object detection format, plain values for JSON.

    Boxes become ``bbox`` [x, y, width, height] in original pixels; an image without annotations is a confirmed
    negative. Beside COCO's own keys, an image has "image_id" (ours, also its ``file_name``) and an annotation "score"
    where known.

    Args:
        labels: one per image.

    Raises:
        InputError: several labels of one image.
    """
    ordered = _one_per_image(labels)
    names = sorted({box.label or OPACITY for label in ordered for box in label.boxes} | {OPACITY})
    categories = {name: number for number, name in enumerate(names, 1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, label in enumerate(ordered, 1):
        size = {"width": label.size[1], "height": label.size[0]}
        images.append({"id": number, "file_name": label.image_id, **size, "image_id": label.image_id})
        for box in label.boxes:
            entry = {"id": len(annotations) + 1, "image_id": number, "category_id": categories[box.label or OPACITY]}
            annotations.append({**entry, **_coco_box(box)})
    return {
        "info": {"description": "opacity boxes of monai-dgm"},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
    }


def parse_coco(document: bytes, where: str, max_bytes: int, reader: str, source: str = "import") -> list[ImageLabel]:
    """Labels of a COCO file, in the order of its images.

    An image without annotations becomes a confirmed negative. Its id is "image_id" where :func:`labels_to_coco` wrote
    the file, else its file name without suffix (with folders, where names repeat). Boxes are clipped to the image when
    they reach out by at most half a pixel.

    Args:
        document: the file's content.
        where: name of the document, for the message.
        max_bytes: a longer document is refused.
        reader: who drew the boxes.
        source: of the labels.

    Raises:
        InputError: what is wrong with it: too long, not COCO, a box outside its image, an image or category that is not
            listed, a crowd region.
    """
    coco: _Coco = checked(_Coco, parse_json(document, where, max_bytes), where)
    names = {category.id: "_".join(category.name.split()) for category in coco.categories}
    by_image: dict[int | str, list[_Annotation]] = {image.id: [] for image in coco.images}
    if len(by_image) != len(coco.images) or len(names) != len(coco.categories):
        raise InputError(f"{where}: expected each id of an image or category once")
    for annotation in coco.annotations:
        if annotation.image_id not in by_image or annotation.category_id not in names:
            raise InputError(f"{where}: expected annotations of images and categories that the file lists")
        by_image[annotation.image_id].append(annotation)
    labels = []
    for image_id, image in zip(_image_ids(where, coco.images), coco.images, strict=True):
        found = by_image[image.id]
        corners = [(x, y, x + width, y + height) for x, y, width, height in (one.bbox for one in found)]
        known = [names[one.category_id] for one in found], [one.score for one in found]
        labels.append(_label(where, image_id, (image.height, image.width), corners, *known, reader, source))
    return labels


def labels_to_rsna_csv(labels: Sequence[ImageLabel]) -> str:
    """Labels as ``stage_2_train_labels.csv`` of the RSNA challenge: one row per box with Target 1, and for a confirmed
    negative a row without box with Target 0; x and y are the upper left corner in original pixels.

    Raises:
        InputError: several labels of one image.
    """
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(BOX_COLUMNS)
    for label in _one_per_image(labels):
        for box in label.boxes:
            xmin, ymin, xmax, ymax = box.box
            writer.writerow([label.image_id, xmin, ymin, xmax - xmin, ymax - ymin, 1])
        if not label.boxes:
            writer.writerow([label.image_id, "", "", "", "", 0])
    return stream.getvalue()


def rsna_boxes_to_labels(
    where: str,
    boxes_by_image: Mapping[str, Sequence[Sequence[float]]],
    sizes: Mapping[str, tuple[int, int]],
    reader: str,
    source: str = "import",
) -> list[ImageLabel]:
    """Labels of a CSV in the challenge's form, in the order of the file.

    Args:
        where: name of the document, for the message.
        boxes_by_image: as :func:`monai_dgm.data.rsna.parse_boxes` gives them.
        sizes: (rows, cols) of every image by its patientId, which the file does not say (1024 x 1024 in the challenge).
        reader: who drew the boxes.
        source: of the labels.

    Raises:
        InputError: an image without size, or a box outside its image.
    """
    labels = []
    for image_id, boxes in boxes_by_image.items():
        if image_id not in sizes:
            raise InputError(f"{where}: expected images whose size is known, one is not among the {len(sizes)} given")
        names = [OPACITY] * len(boxes)
        labels.append(_label(where, image_id, sizes[image_id], boxes, names, [None] * len(boxes), reader, source))
    return labels


def _one_per_image(labels: Sequence[ImageLabel]) -> list[ImageLabel]:
    if len({label.image_id for label in labels}) < len(labels):
        raise InputError("expected one label per image, got several of one: take their consensus first")
    return sorted(labels, key=lambda label: label.image_id)


def _coco_box(box: LabelledBox) -> dict[str, Any]:
    xmin, ymin, xmax, ymax = box.box
    width, height = xmax - xmin, ymax - ymin
    values = {"bbox": [xmin, ymin, width, height], "area": width * height, "iscrowd": 0}
    return values if box.score is None else {**values, "score": box.score}


def _label(
    where: str,
    image_id: str,
    size: tuple[int, int],
    corners: Iterable[Sequence[float]],
    names: Sequence[str],
    scores: Sequence[float | None],
    reader: str,
    source: str,
) -> ImageLabel:
    inside = clip_boxes(where, np.array(list(corners), dtype=np.float64).reshape(-1, 4), *size)
    try:
        boxes = make_boxes(inside, names, scores)
        return ImageLabel(image_id, size, "boxes" if boxes else "no_finding", boxes, reader, source)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _image_ids(where: str, images: Sequence[_Image]) -> list[str]:
    names = [image.image_id for image in images]
    if not all(isinstance(name, str) for name in names):
        files = [image.file_name for image in images]
        if not all(isinstance(name, str) and name for name in files):
            raise InputError(f"{where}: expected a file_name for every image")
        names = unique_ids(files)
    if len(set(names)) < len(names):
        raise InputError(f"{where}: expected each image once, got one twice")
    return names
