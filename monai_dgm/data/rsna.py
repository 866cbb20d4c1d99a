"""The RSNA Pneumonia Detection Challenge (2018) as downloaded: the paper's data, with its hold-out rebuilt.

The folder holds ``stage_2_train_images/*.dcm``, ``stage_2_train_labels.csv`` (a row a box, or one without: patientId,
x, y, width, height, Target) and ``stage_2_detailed_class_info.csv`` (patientId, class). ``stage_2_test_images`` has no
labels and is not used. The challenge's patientId is one an image.

The 1,000 images that the paper holds out are the first-stage test set of the challenge, appended in its second stage to
the labels: the last 1,000 patients in the order of the file, 353 of them with opacities.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_dgm.data.manifest import clip_boxes
from monai_dgm.errors import InputError
from monai_dgm.readers.read import image_shape

LABELS = "stage_2_train_labels.csv"
CLASSES = "stage_2_detailed_class_info.csv"
IMAGES = "stage_2_train_images"
NUM_HOLD_OUT = 1000
BOX_COLUMNS = ("patientId", "x", "y", "width", "height", "Target")
CATEGORY_OF_CLASS = {
    "Normal": "normal",
    "Lung Opacity": "lung_opacity",
    "No Lung Opacity / Not Normal": "other_abnormal",
}


def load_rsna(folder: str | os.PathLike[str], num_hold_out: int = NUM_HOLD_OUT) -> list[dict[str, Any]]:
    """The challenge's training images as a datalist, in the order of its label file.

    Args:
        folder: the unpacked download.
        num_hold_out: patients at the end of the label file that make the section "hold_out"; 1,000 in the paper.

    Returns:
        a dictionary for each image: image, image_id and patient_id (the challenge's patientId), label, category,
        opacity_boxes float32 (N, 4), label_source, source, section ("development" or "hold_out").

    Raises:
        InputError: a missing file or column, a class that is not known, files that contradict each other, an image that
            is missing, a box outside its image, or not more patients than ``num_hold_out``; names file and expectation.
    """
    root = Path(folder).absolute()
    boxes = read_boxes(root / LABELS)
    categories = read_categories(root / CLASSES)
    held_out = hold_out(list(boxes), num_hold_out)
    datalist = []
    for patient, patient_boxes in boxes.items():
        if patient not in categories:
            raise InputError(f"{root / CLASSES}: expected a class for every patient of {LABELS}, {patient} has none")
        category = categories[patient]
        if (category == "lung_opacity") != (len(patient_boxes) > 0):
            raise InputError(
                f"{root / LABELS}: expected boxes where {CLASSES} says Lung Opacity, {patient} contradicts"
            )
        image = root / IMAGES / f"{patient}.dcm"
        if not image.is_file():
            raise InputError(f"{image}: no such file, expected the image of a patient in {LABELS}")
        inside = _boxes_inside(root, patient, np.asarray(patient_boxes, dtype=np.float64).reshape(-1, 4), image)
        datalist.append(
            {
                "image": str(image),
                "image_id": patient,
                "patient_id": patient,
                "label": int(category != "normal"),
                "category": category,
                "opacity_boxes": inside,
                "label_source": "RSNA radiologists",
                "source": "rsna",
                "section": "hold_out" if patient in held_out else "development",
            }
        )
    return datalist


def _boxes_inside(root: Path, patient: str, boxes: NDArray[np.float64], image: Path) -> NDArray[np.float32]:
    """Boxes clipped to their image, whose size is read from its header.

    Reduced copies of the data keep the boxes of the original 1024 x 1024 pixels. An image that cannot be read keeps its
    boxes: the error is reported when it is decoded.
    """
    if not len(boxes):
        return boxes.astype(np.float32)
    try:
        rows, cols = image_shape(image)
    except InputError:
        return boxes.astype(np.float32)
    return clip_boxes(f"{root / LABELS}, {patient}", boxes, rows, cols)


def hold_out(patients: list[str], number: int = NUM_HOLD_OUT) -> set[str]:
    """The last ``number`` of the ``patients``, which are in the order of the challenge's label file.

    Raises:
        InputError: not more patients than that.
    """
    if not 0 < number < len(patients):
        raise InputError(f"expected more than {number} patients, to hold {number} out, got {len(patients)}")
    return set(patients[-number:])


def read_boxes(path: Path) -> dict[str, list[list[float]]]:
    """Boxes [xmin, ymin, xmax, ymax] in original pixels by patient, patients in the order of the label file.

    Raises:
        InputError: no such file, a missing column, or a row that contradicts itself.
    """
    return _boxes_of(str(path), _rows(path, BOX_COLUMNS))


def parse_boxes(document: bytes, where: str) -> dict[str, list[list[float]]]:
    """As :func:`read_boxes`, of a file's content; ``where`` is what it is, for the message.

    Raises:
        InputError: as :func:`read_boxes`, or bytes that are not UTF-8.
    """
    try:
        stream = io.StringIO(document.decode("utf-8-sig"), newline="")
        rows = _checked_rows(where, stream, BOX_COLUMNS)
    except (csv.Error, UnicodeDecodeError):
        raise InputError(f"{where}: expected a CSV file in UTF-8") from None
    return _boxes_of(where, rows)


def read_categories(path: Path) -> dict[str, str]:
    """Category by patient.

    Raises:
        InputError: no such file, a missing column, a class that is not known, or two for one patient.
    """
    categories: dict[str, str] = {}
    for line, row in _rows(path, ("patientId", "class")):
        category = CATEGORY_OF_CLASS.get(row["class"])
        if category is None:
            known = ", ".join(f'"{name}"' for name in CATEGORY_OF_CLASS)
            raise InputError(f"{path}, row {line}: expected a class of {known}, got {row['class']!r}")
        if categories.setdefault(row["patientId"], category) != category:
            raise InputError(f"{path}, row {line}: expected one class a patient, {row['patientId']} has two")
    return categories


def _boxes_of(where: str, rows: list[tuple[int, dict[str, str]]]) -> dict[str, list[list[float]]]:
    boxes: dict[str, list[list[float]]] = {}
    for line, row in rows:
        patient_boxes = boxes.setdefault(row["patientId"], [])
        if row["Target"] not in ("0", "1"):
            raise InputError(f"{where}, row {line}: expected Target 0 or 1, got another")
        if row["Target"] == "0":
            continue
        try:
            x, y, width, height = (float(row[key]) for key in ("x", "y", "width", "height"))
        except ValueError:
            raise InputError(f"{where}, row {line}: expected a box as x, y, width and height in pixels") from None
        inside = min(x, y) >= 0 and min(width, height) > 0
        if not inside or not all(math.isfinite(value) for value in (x, y, width, height)):
            raise InputError(f"{where}, row {line}: expected a box inside the image, got {[x, y, width, height]}")
        patient_boxes.append([x, y, x + width, y + height])
    return boxes


def _rows(path: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            return _checked_rows(str(path), stream, columns)
    except OSError as error:
        raise InputError(f"{path}: expected a file of the RSNA challenge ({error.strerror})") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a CSV file in UTF-8 ({error})") from error


def _checked_rows(where: str, stream: Iterable[str], columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    reader = csv.DictReader(stream)
    missing = [column for column in columns if column not in (reader.fieldnames or [])]
    if missing:
        raise InputError(f"{where}: expected the columns {', '.join(columns)}, missing: {', '.join(missing)}")
    rows = [(reader.line_num, {column: (row[column] or "").strip() for column in columns}) for row in reader]
    if not rows:
        raise InputError(f"{where}: expected rows, found none")
    return rows
