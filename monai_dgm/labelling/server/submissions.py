"""Labels that readers submit, one per image and reader, and the model's boxes that the readers saw."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.image_label import OPACITY, ImageLabel, LabelledBox
from monai_dgm.labelling.labels.label_store import LabelStore
from monai_dgm.labelling.labels.markups import boxes_to_markups, markups_to_boxes
from monai_dgm.labelling.labels.reader_boxes import BoxReading, with_model_boxes
from monai_dgm.transforms.placement import Placement

__all__ = ["MODEL_READER", "Submissions", "Submitted", "in_short", "label_of_reading"]

MODEL_READER = "model"  # stands for a reader where boxes were computed in advance, as by a batch


@dataclass(frozen=True)
class Submitted:
    """A label that was stored.

    Attributes:
        label: as stored.
        number: how many labels the reader has submitted for the image.
        ignored: parts of the document that were left out, one line each.
    """

    label: ImageLabel
    number: int
    ignored: tuple[str, ...]


def label_of_reading(
    reading: BoxReading, image_id: str, placement: Placement, reader: str, source: str, shown: ImageLabel | None
) -> ImageLabel:
    """The label that a markups document stands for.

    Args:
        reading: of the document.
        image_id: the radiograph.
        placement: its size.
        reader: name of the reader.
        source: program that it comes from.
        shown: the model's boxes that the reader started from.

    Raises:
        InputError: something in the document cannot be understood, or it leaves open what it says: storing the rest
            would say that the reader meant no more than that.
    """
    if reading.problems:
        more = f" (and {len(reading.problems) - 1} more)" if len(reading.problems) > 1 else ""
        raise InputError(f"label: {reading.problems[0]}{more}; nothing was stored")
    if reading.status is None:
        reason = reading.ignored[0] if reading.ignored else "no box"
        raise InputError(f"label: expected boxes, or an empty list for no finding, got {reason}; nothing was stored")
    label = ImageLabel(
        image_id=image_id,
        size=(placement.rows, placement.cols),
        status="boxes" if reading.boxes else "no_finding",
        boxes=tuple(LabelledBox(box.box, box.label or OPACITY, box.score) for box in reading.boxes),
        reader=reader,
        source=source,
    )
    return with_model_boxes(label, shown)


def in_short(labels: Iterable[ImageLabel]) -> list[dict[str, Any]]:
    """Reader, status, number of boxes and time of labels, as plain values for JSON."""
    return [
        {"reader": label.reader, "status": label.status, "boxes": len(label.boxes), "time": label.time}
        for label in labels
    ]


class Submissions:
    """Labels and the model's boxes in one folder. Safe with several threads of one server.

    Args:
        folder: in which ``labels/`` and ``predictions/`` are made.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.labels = LabelStore(Path(folder) / "labels")
        self.predictions = LabelStore(Path(folder) / "predictions")
        self.damaged: list[str] = []
        self._lock = threading.Lock()
        self._current: dict[str, tuple[ImageLabel, ...]] = {}  # of each reader, the latest last
        for label in self.labels.list(bad=self.damaged):
            self._current[label.image_id] = self._with(label)

    def submit(
        self, document: str | bytes, image_id: str, placement: Placement, reader: str, source: str = "slicer"
    ) -> Submitted:
        """Read a markups document and store it as the reader's label of the image.

        Raises:
            InputError: a document that is none, or as :func:`label_of_reading`; nothing is stored then.
        """
        shown = self.shown(image_id, reader)
        reading = markups_to_boxes(document, placement, None if shown is None else shown.boxes)
        return self.keep(label_of_reading(reading, image_id, placement, reader, source, shown), reading.ignored)

    def keep(self, label: ImageLabel, ignored: Sequence[str] = ()) -> Submitted:
        """Store a label."""
        number = self.labels.put(label)
        current = self.labels.get(label.image_id, label.reader) or label  # the older one where both say the same
        with self._lock:
            self._current[label.image_id] = self._with(current)
        return Submitted(current, number, tuple(ignored))

    def remove(self, image_id: str, reader: str | None = None) -> int:
        """Delete the labels of one reader for an image, or of all readers; returns the number of files.

        Raises:
            InputError: not an id, or not a name.
        """
        with self._lock:
            removed = self.labels.remove(image_id, reader)
            kept = tuple(label for label in self._current.pop(image_id, ()) if reader not in (None, label.reader))
            if kept:
                self._current[image_id] = kept
        return removed

    def forget(self, image_id: str) -> int:
        """Delete the model's boxes of an image; returns the number of files."""
        return self.predictions.remove(image_id)

    def remember(
        self, boxes: Sequence[LabelledBox], image_id: str, placement: Placement, reader: str, version: str
    ) -> None:
        """Store the model's boxes that a reader sees."""
        size = (placement.rows, placement.cols)
        kept = ImageLabel(
            image_id, size, "boxes" if boxes else "no_finding", tuple(boxes), reader, "model", model_version=version
        )
        self.predictions.put(kept)

    def shown(self, image_id: str, reader: str) -> ImageLabel | None:
        """The model's boxes that the reader saw last, else those that were computed in advance."""
        try:
            found = self.predictions.get(image_id, reader)
            return found or self.predictions.get(image_id, MODEL_READER)
        except InputError:  # a damaged file is treated as missing
            return None

    def of_image(self, image_id: str) -> list[ImageLabel]:
        """The current label of each reader, the latest last."""
        with self._lock:
            return list(self._current.get(image_id, ()))

    def by_image(self) -> dict[str, tuple[ImageLabel, ...]]:
        """As :meth:`of_image`, for all images that have a label."""
        with self._lock:
            return dict(self._current)

    def all(self) -> list[ImageLabel]:
        """The current labels of all images and readers."""
        with self._lock:
            return [label for found in self._current.values() for label in found]

    def labelled(self) -> set[str]:
        """Ids of the images that have a label."""
        with self._lock:
            return set(self._current)

    def markups(self, image_id: str, placement: Placement) -> bytes | None:
        """The latest label of an image as a markups document for 3D Slicer; None without a label of this size."""
        found = self.of_image(image_id)
        if not found or found[-1].size != (placement.rows, placement.cols):
            return None
        return json.dumps(boxes_to_markups(found[-1].boxes, placement), allow_nan=False).encode("utf-8")

    def _with(self, label: ImageLabel) -> tuple[ImageLabel, ...]:
        """The current labels of an image when this one is its reader's."""
        others = (other for other in self._current.get(label.image_id, ()) if other.reader != label.reader)
        return tuple(sorted((*others, label), key=lambda item: item.time))
