"""The label of one radiograph by one reader.

Every way in (Slicer, OHIF, a report from the archive, an import) ends in this form, and everything after it (consensus,
export, training) starts from it. As JSON, ``schema_version`` 1::

    {"schema_version": 1, "image_id": "1.2.840.5", "size": [rows, cols], "status": "boxes",
     "boxes": [{"box": [xmin, ymin, xmax, ymax], "label": "lung_opacity", "score": 0.87}],
     "reader": "reader one", "time": "2026-03-01T09:30:00.000000Z", "source": "slicer",
     "model_boxes": [{"box": [...], "label": "lung_opacity", "score": 0.87}], "model_version": "7"}

Boxes are in pixels of the original radiograph, x to the right, y down, continuous edges. ``status`` "no_finding" is a
confirmed negative: a reader looked and found nothing. ``model_boxes`` are those the reader started from, null where
there was no model; ``score`` is the model's.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import field
from datetime import datetime, timezone
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.json_input import CLOSED, Number, Text, Whole, checked, describe_value, input_errors
from monai_dgm.readers.radiograph import MAX_SIDE
from monai_dgm.transforms.boxes import check_boxes

SCHEMA_VERSION = 1
ADJUDICATION = "adjudication"  # source of a label that decides between readers
OPACITY = "lung_opacity"  # the one finding that the detector knows
MAX_BOXES = 200
FAR = 1e9  # no number of a label is as large
MAX_IMAGE_ID = MAX_READER = MAX_VERSION = 256  # characters
MAX_NAME = 64
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
_KEYS = ("image_id", "size", "status", "boxes", "reader", "time", "source", "model_boxes", "model_version")


def utc_now() -> str:
    """The present time in the form of labels: ISO 8601, UTC, microseconds."""
    return _time_text(datetime.now(timezone.utc))


def checked_text(value: Any, name: str, max_length: int) -> str:
    """``value`` when it is text of 1 to ``max_length`` characters, none of them control characters.

    The message does not repeat it: an id may identify a patient.

    Raises:
        InputError: any other value.
    """
    if not isinstance(value, str):
        raise InputError(f"expected {name} as text, got {describe_value(value)}")
    if not 1 <= len(value) <= max_length:
        raise InputError(f"expected {name} of 1 to {max_length} characters, got {len(value)}")
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in value):
        raise InputError(f"expected {name} without control characters")
    return value


def checked_reader(value: Any) -> str:
    """A reader's name as it is stored: without blanks around it, in Unicode's form NFC, so that one name is one reader.

    Raises:
        InputError: as :func:`checked_text`.
    """
    name = checked_text(value, "a reader", MAX_READER).strip()
    return checked_text(unicodedata.normalize("NFC", name), "a reader", MAX_READER)


def _checked_time(text: str) -> str:
    if not _TIME.fullmatch(text):
        raise InputError("expected a time in ISO 8601 with a time zone, such as 2026-03-01T09:30:00Z")
    head, zone = (text[:-1], "+00:00") if text.endswith("Z") else (text[:-6], text[-6:])
    whole, _, fraction = head.partition(".")
    try:
        moment = datetime.fromisoformat(f"{whole}.{fraction:0<6}{zone}").astimezone(timezone.utc)
    except (ValueError, OverflowError):
        raise InputError("expected a time in ISO 8601 that exists, got another") from None
    return _time_text(moment)


def _time_text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


Edge = Annotated[Number, Field(gt=-FAR, lt=FAR)]
Side = Annotated[Whole, Field(ge=1, le=MAX_SIDE)]
Score = Annotated[Number, Field(ge=0, le=1)]
BoxName = Annotated[Text, AfterValidator(lambda text: checked_text(text, "the label of a box", MAX_NAME))]
Version = Annotated[Text, AfterValidator(lambda text: checked_text(text, "a model version", MAX_VERSION))]


@input_errors
@dataclass(frozen=True, config=CLOSED)
class LabelledBox:
    """One box.

    Args:
        box: (xmin, ymin, xmax, ymax) in pixels of the original radiograph.
        label: the finding, such as "lung_opacity"; None where not known.
        score: the model's score in [0, 1] where the box came from the model, else None.

    Raises:
        InputError: a value that is not as described.
    """

    box: tuple[Edge, Edge, Edge, Edge]
    label: BoxName | None = None
    score: Score | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {"box": list(self.box), "label": self.label, "score": self.score}

    @classmethod
    def from_dict(cls, values: Any) -> LabelledBox:
        """The box that :meth:`as_dict` wrote; "label" and "score" may be missing.

        Raises:
            InputError: any other value.
        """
        found: LabelledBox = checked(cls, values)
        return found


Boxes = Annotated[tuple[LabelledBox, ...], Field(max_length=MAX_BOXES)]


@input_errors
@dataclass(frozen=True, config=CLOSED)
class ImageLabel:
    """The label of one radiograph by one reader.

    Args:
        image_id: id of the radiograph, 1 to 256 characters.
        size: (rows, cols) of the original in pixels.
        status: "boxes" (at least one) or "no_finding" (none, confirmed).
        boxes: the reader's boxes, inside the image.
        reader: name, 1 to 256 characters; stored in Unicode's form NFC, without blanks around it.
        source: where the label came from: "slicer", "ohif", "ohif_report", "import", "consensus", "adjudication" or
            another short word.
        time: ISO 8601 with a time zone, stored in UTC; now by default.
        model_boxes: the boxes that the reader started from; None where there was no model.
        model_version: of the model that drew those.

    Raises:
        InputError: a value that is not as described.
    """

    image_id: Annotated[Text, AfterValidator(lambda text: checked_text(text, "an image id", MAX_IMAGE_ID))]
    size: tuple[Side, Side]
    status: Literal["boxes", "no_finding"]
    boxes: Boxes
    reader: Annotated[Text, AfterValidator(checked_reader)]
    source: Annotated[Text, Field(pattern="^[a-z0-9_]{1,32}$")]
    time: Annotated[Text, AfterValidator(_checked_time)] = field(default_factory=utc_now)
    model_boxes: Boxes | None = None
    model_version: Version | None = None

    def __post_init__(self) -> None:
        check_boxes([box.box for box in self.boxes], self.size, "boxes")
        check_boxes([box.box for box in self.model_boxes or ()], self.size, "model_boxes")
        if (self.status == "boxes") != (len(self.boxes) > 0):
            raise InputError(f"expected status boxes with boxes, no_finding without; got {len(self.boxes)} boxes")

    @property
    def boxes_array(self) -> NDArray[np.float32]:
        """The boxes as float32 (N, 4)."""
        return as_array(self.boxes)

    def as_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold, see the module."""
        models = None if self.model_boxes is None else [box.as_dict() for box in self.model_boxes]
        values = {key: getattr(self, key) for key in _KEYS}
        values.update(size=list(self.size), boxes=[box.as_dict() for box in self.boxes], model_boxes=models)
        return {"schema_version": SCHEMA_VERSION, **values}

    @classmethod
    def from_dict(cls, values: Any, where: str = "label") -> ImageLabel:
        """The label that :meth:`as_dict` wrote.

        Args:
            values: the value of a JSON document.
            where: name of the document, for the message.

        Raises:
            InputError: anything else: a key too many or too few, another schema version, a value out of range.
        """
        if not isinstance(values, dict):
            raise InputError(f"{where}: expected a label as a JSON object, got {describe_value(values)}")
        version = values.get("schema_version")
        if version != SCHEMA_VERSION or isinstance(version, bool):
            raise InputError(f"{where}: expected schema_version {SCHEMA_VERSION}, got {describe_value(version)}")
        missing = [key for key in _KEYS if key not in values]
        if missing:
            raise InputError(f"{where}: expected the keys of a label, missing {', '.join(missing)}")
        label: ImageLabel = checked(
            cls, {key: value for key, value in values.items() if key != "schema_version"}, where
        )
        return label


def make_boxes(
    boxes: ArrayLike, labels: Iterable[str | None] | None = None, scores: Iterable[float | None] | None = None
) -> tuple[LabelledBox, ...]:
    """Boxes (N, 4), with N labels and N scores where known, as :class:`LabelledBox`.

    Raises:
        InputError: not (N, 4), or a label or score out of range.
    """
    array = np.asarray(boxes, dtype=np.float64)
    if array.size and (array.ndim != 2 or array.shape[1] != 4):
        raise InputError(f"expected boxes of shape (N, 4), got {array.shape}")
    rows = array.reshape(-1, 4).tolist()
    names: list[Any] = [None] * len(rows) if labels is None else list(labels)
    values: list[Any] = [None] * len(rows) if scores is None else list(scores)
    if not len(rows) == len(names) == len(values):
        raise InputError(f"expected a label and a score per box, got {len(names)} and {len(values)} for {len(rows)}")
    return tuple(LabelledBox(tuple(row), *rest) for row, *rest in zip(rows, names, values, strict=True))


def as_array(boxes: Iterable[LabelledBox]) -> NDArray[np.float32]:
    """Boxes as float32 (N, 4)."""
    return np.asarray([box.box for box in boxes], dtype=np.float32).reshape(-1, 4)
