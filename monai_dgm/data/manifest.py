"""A folder of radiographs described by a CSV manifest, as a MONAI datalist.

One row per image. Columns: ``image`` (path in the folder) and ``label`` (normal | lung_opacity | other_abnormal, or 0 |
1) are required; further columns: image_id, category, patient_id, width and height of the stored image, opacity_boxes
(JSON list of [xmin, ymin, xmax, ymax] in its pixels), lung_mask, normal, opacity_mask (paths in the folder), fold,
label_source, source, view, sex, age, upright_ok. Other columns are ignored, with a warning where the name of one is
nearly that of a column that is missing.
"""

from __future__ import annotations

import csv
import difflib
import json
import math
import os
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_dgm.data.listing import unique_ids
from monai_dgm.errors import InputError
from monai_dgm.readers.read import image_shape

CATEGORIES = ("normal", "lung_opacity", "other_abnormal")
REQUIRED = ("image", "label")
FILES = ("lung_mask", "normal", "opacity_mask")
TEXTS = ("label_source", "source", "view", "sex")
OTHERS = ("image_id", "category", "patient_id", "width", "height", "opacity_boxes", "fold", "age", "upright_ok")
COLUMNS = (*REQUIRED, *FILES, *TEXTS, *OTHERS)
NEARLY = 0.85  # similarity of two names, see difflib.SequenceMatcher.ratio: "patient" is patient_id, "findings" is none
BOX_TOLERANCE = 0.5  # pixels: boxes that were rescaled and rounded may exceed the image by this, and are clipped


def load_manifest(folder: str | os.PathLike[str], manifest: str = "manifest.csv") -> list[dict[str, Any]]:
    """Read ``folder/manifest`` into a datalist.

    Rows whose ``upright_ok`` is False are left out, with a warning. Where some rows have a patient_id, a warning says
    how many have none: each counts as a patient of its own. A warning names columns such as "PatientID" that are not
    used, since nothing has the name patient_id, and rows that have more values than there are columns.

    Args:
        folder: folder that the paths in the manifest are relative to.
        manifest: name of the CSV file in it.

    Returns:
        one dictionary per image: image, image_id, patient_id (image_id where unknown), label (0 normal, 1 abnormal),
        category, opacity_boxes float32 (N, 4), and, None where unknown, shape ((rows, cols) that the boxes are for, of
        width and height), label_source, source, view, sex, age, fold, lung_mask, normal, opacity_mask.

    Raises:
        InputError: naming file, row and expectation: no manifest, a missing column or file, a column that occurs twice,
            an unknown label, a box without area or outside its image, an image that occurs
            twice, no rows.
    """
    path = Path(folder).absolute() / manifest
    rows = _read_rows(path)
    datalist: list[dict[str, Any]] = []
    turned = unnamed = 0
    seen: dict[str, int] = {}
    for line, row in rows:
        where = f"{path}, row {line}"
        if not _parse_upright(where, row.get("upright_ok", "")):
            turned += 1
            continue
        item = _parse_row(where, path.parent, row)
        if item["image"] in seen:
            raise InputError(f"{where}: expected each image once, {row['image']} is also in row {seen[item['image']]}")
        seen[item["image"]] = line
        unnamed += row["label"] == "1" and not row.get("category") and not len(item["opacity_boxes"])
        datalist.append(item)
    if not datalist:
        raise InputError(f"{path}: expected at least one usable row, found none")
    if turned:
        warnings.warn(f"{path}: {turned} images left out, their upright_ok is False", stacklevel=2)
    if unnamed:
        warnings.warn(
            f"{path}: {unnamed} images of label 1 without category and opacity_boxes, taken for other_abnormal",
            stacklevel=2,
        )
    _fill_ids(path, datalist)
    return datalist


def _read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            columns = reader.fieldnames or []
            found = [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise InputError(f"{path}: expected a CSV manifest ({error.strerror})") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a CSV manifest in UTF-8 ({error})") from error
    _check_columns(path, list(columns))
    longer = [line for line, values in found if any(value.strip() for value in values.get(None) or ())]
    if longer:  # a comma in a text moves what follows it
        rows = f"{len(longer)} rows have more values than columns, first row {longer[0]}"
        warnings.warn(f"{path}: {rows}; texts with commas need quotes", stacklevel=3)
    return [(line, _clean(values)) for line, values in found]


def _check_columns(path: Path, columns: list[str]) -> None:
    twice = sorted({column for column in columns if column in COLUMNS and columns.count(column) > 1})
    if twice:
        raise InputError(f"{path}: expected each column once, got {', '.join(twice)} more often")
    known = {_plain(name): name for name in COLUMNS if name not in columns}
    others = {column: _plain(column) for column in columns if column not in COLUMNS}
    near = {column: difflib.get_close_matches(name, known, 1, NEARLY) for column, name in others.items()}
    pairs = [f"{column!r} (is it {known[match[0]]}?)" for column, match in near.items() if match]
    missing = [column for column in REQUIRED if column not in columns]
    if missing:
        more = f"; got {', '.join(pairs)}" if pairs else ""
        more = ", separated by commas" if len(columns) == 1 and re.search("[;\t]", columns[0]) else more
        raise InputError(f"{path}: expected the columns {', '.join(REQUIRED)}, missing: {', '.join(missing)}{more}")
    if pairs:
        warnings.warn(f"{path}: columns that are not used: {', '.join(pairs)}", stacklevel=4)


def _plain(column: str) -> str:
    return re.sub("[^a-z0-9]", "", column.lower())


def _clean(row: dict[Any, Any]) -> dict[str, str]:
    # a row longer than the header has the key None, a shorter one the value None
    return {key: (value or "").strip() for key, value in row.items() if isinstance(key, str)}


def _parse_row(where: str, folder: Path, row: dict[str, str]) -> dict[str, Any]:
    if not row["image"]:
        raise InputError(f"{where}: expected a path in the column image, got nothing")
    item: dict[str, Any] = {"image": _existing(where, folder, "image", row["image"])}
    item["shape"] = _parse_shape(row)
    boxes = _parse_boxes(where, row.get("opacity_boxes", ""), item)
    label, category = _parse_label(where, row, len(boxes) > 0)
    item.update(image_id=row.get("image_id") or None, patient_id=row.get("patient_id") or None)
    item.update(label=label, category=category, opacity_boxes=boxes)
    item.update({name: row.get(name) or None for name in TEXTS})
    item["age"] = _parse_age(row.get("age", ""))
    item["fold"] = _parse_fold(where, row.get("fold", ""))
    item.update({name: _existing(where, folder, name, row[name]) if row.get(name) else None for name in FILES})
    return item


def _existing(where: str, folder: Path, column: str, value: str) -> str:
    file = os.path.normpath(folder / value)
    if "\0" in value or not os.path.isfile(file):
        raise InputError(f"{where}: expected a file in the column {column}, there is no {value!r} in {folder}")
    return file


def _parse_label(where: str, row: dict[str, str], has_boxes: bool) -> tuple[int, str]:
    label, category = row["label"], row.get("category", "")
    if label in CATEGORIES:
        category = category or label
        label = str(int(label != "normal"))
    if label not in ("0", "1"):
        raise InputError(f"{where}: expected a label of {', '.join(CATEGORIES)}, 0 or 1, got {label!r}")
    if not category:
        category = "normal" if label == "0" else "lung_opacity" if has_boxes else "other_abnormal"
    if category not in CATEGORIES:
        raise InputError(f"{where}: expected a category of {', '.join(CATEGORIES)}, got {category!r}")
    if (label == "0") != (category == "normal"):
        raise InputError(f"{where}: expected label and category to agree, got {row['label']} and {category}")
    if category == "normal" and has_boxes:
        raise InputError(f"{where}: expected no opacity_boxes on a normal image")
    return int(label), category


def _parse_upright(where: str, text: str) -> bool:
    values = {"": True, "true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in values:
        raise InputError(f"{where}: expected upright_ok as True or False, got {text!r}")
    return values[text.lower()]


def _parse_shape(row: dict[str, str]) -> tuple[int, int] | None:
    try:
        return int(float(row["height"])), int(float(row["width"]))
    except (KeyError, ValueError, OverflowError):
        return None


def _parse_boxes(where: str, text: str, item: dict[str, Any]) -> NDArray[np.float32]:
    expected = f"{where}: expected opacity_boxes as a JSON list of [xmin, ymin, xmax, ymax]"
    if not text:
        return np.zeros((0, 4), dtype=np.float32)
    try:
        boxes = np.asarray(json.loads(text), dtype=np.float64)
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise InputError(f"{expected}, got {text[:80]!r}") from None
    if boxes.size == 0:
        return np.zeros((0, 4), dtype=np.float32)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
        raise InputError(f"{expected}, got {text[:80]!r}")
    return clip_boxes(where, boxes, *(item["shape"] or image_shape(item["image"])))


def clip_boxes(where: str, boxes: NDArray[Any], rows: int, cols: int) -> NDArray[np.float32]:
    """Boxes (N, 4) as float32, clipped to an image of ``rows`` x ``cols`` pixels.

    Raises:
        InputError: a box without area, or more than half a pixel outside the image.
    """
    limit = np.asarray([cols, rows, cols, rows], dtype=np.float64)
    for box in boxes:
        if not (box[0] < box[2] and box[1] < box[3]):
            raise InputError(f"{where}: expected xmin < xmax and ymin < ymax, got the box {box.tolist()}")
        if (box < -BOX_TOLERANCE).any() or (box > limit + BOX_TOLERANCE).any():
            raise InputError(f"{where}: expected boxes inside the image of {cols} x {rows} pixels, got {box.tolist()}")
    return np.clip(boxes, 0.0, limit).astype(np.float32).reshape(-1, 4)


def _parse_age(text: str) -> int | None:
    digits = text.rstrip("Yy")  # DICOM writes 060Y
    try:
        age = float(digits)
    except ValueError:
        return None
    return int(age) if math.isfinite(age) else None


def _parse_fold(where: str, text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal():
        raise InputError(f"{where}: expected a fold as a whole number, got {text!r}")
    return int(text)


def _fill_ids(path: Path, datalist: list[dict[str, Any]]) -> None:
    given = [item["image_id"] for item in datalist if item["image_id"]]
    if given and len(given) < len(datalist):
        raise InputError(f"{path}: expected an image_id in every row or in none, got {len(given)} of {len(datalist)}")
    if len(set(given)) < len(given):
        twice = next(name for name in given if given.count(name) > 1)
        raise InputError(f"{path}: expected each image_id once, {twice!r} occurs more often")
    if not given:
        base = path.parent
        for item, name in zip(datalist, unique_ids([os.path.relpath(i["image"], base) for i in datalist]), strict=True):
            item["image_id"] = name
    alone = [item for item in datalist if not item["patient_id"]]
    if 0 < len(alone) < len(datalist):
        warnings.warn(
            f"{path}: {len(alone)} images without patient_id, each counts as a patient's only one", stacklevel=3
        )
    for item in alone:
        item["patient_id"] = item["image_id"]
