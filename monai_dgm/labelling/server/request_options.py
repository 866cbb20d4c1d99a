"""Values of a request: options of the models, image ids, names of readers. They are checked before they are used.

Messages of errors never repeat text from the request.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.image_label import MAX_IMAGE_ID, checked_reader, checked_text
from monai_dgm.labelling.labels.json_input import Number, Whole, checked, describe_value, parse_json
from monai_dgm.labelling.server.http_errors import UnknownError
from monai_dgm.transforms.saliency import ThresholdRule

__all__ = [
    "CHOICES",
    "MAPS",
    "DecomposeOptions",
    "DetectOptions",
    "PanelBool",
    "PanelFloat",
    "PanelInt",
    "anonymous_reader",
    "checked_image_id",
    "checked_new_id",
    "describe_errors",
    "known_name",
    "options_of",
    "parse_params",
    "reader_of",
]

MAX_PARAMS_BYTES = 200_000  # 3D Slicer's panel sends the whole configuration of a model, a few kB
_NUMBER = re.compile(r"[+-]?[0-9]{1,12}(\.[0-9]{0,12})?")
_NEW_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.)){0,126}[A-Za-z0-9_-]|[A-Za-z0-9]")

THRESHOLDS = ("otsu", "li", "quantile", "fixed")
MAX_THRESHOLD = 2.0

Options = TypeVar("Options", bound=BaseModel)


def _as_number(value: Any) -> Any:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _as_bool(value: Any) -> Any:
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


PanelInt = Annotated[Whole, BeforeValidator(_as_number)]
"""A whole number in a request, also as text, since the table of options in 3D Slicer's panel holds only text."""
PanelFloat = Annotated[Number, BeforeValidator(_as_number)]
"""As :data:`PanelInt`, but any finite number."""
PanelBool = Annotated[bool, BeforeValidator(_as_bool), Field(strict=True)]
"""A truth value in a request, also as text: "true" or "false" in any case."""


def _checked_threshold(value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not 0 <= value <= MAX_THRESHOLD:
            raise ValueError(f"expected a number from 0 to {MAX_THRESHOLD:g}, got {describe_value(value)}")
    elif not isinstance(value, str) or value not in THRESHOLDS:
        raise ValueError(f"expected one of {', '.join(THRESHOLDS)}, or a number, got {describe_value(value)}")
    return value


class DetectOptions(BaseModel):
    """Options of the detection.

    Attributes:
        score_threshold: lowest score of the boxes; None for that of the detector's training.
        despite_remarks: give the boxes of a radiograph that may be no frontal chest radiograph, too.
    """

    score_threshold: PanelFloat | None = Field(None, ge=0, le=1)
    despite_remarks: bool = False


class DecomposeOptions(BaseModel):
    """Options of the decomposition.

    Attributes:
        map: one of :data:`MAPS`, the content of the file.
        threshold: one of :data:`THRESHOLDS`, or a number.
        fixed_threshold: used where ``threshold`` is "fixed"; in units of the [-1, 1] scale.
    """

    map: Literal["saliency", "heat", "lungs", "normal", "residue", "uncertainty", "overlay"] = "saliency"
    threshold: Annotated[Any, BeforeValidator(_as_number), AfterValidator(_checked_threshold)] = "otsu"
    fixed_threshold: PanelFloat = Field(0.1, ge=0, le=MAX_THRESHOLD)

    @property
    def saliency_threshold(self) -> ThresholdRule | float:
        """The rule, or the number, that makes the saliency mask."""
        value: ThresholdRule | float = self.fixed_threshold if self.threshold == "fixed" else self.threshold
        return value


MAPS: tuple[str, ...] = get_args(DecomposeOptions.model_fields["map"].annotation)
CHOICES = {"map": list(MAPS), "threshold": list(THRESHOLDS)}
"""The choices of each option with a default, as the configuration of a model shows them."""


def options_of(model: type[Options], params: Mapping[str, Any]) -> Options:
    """Options of a model from the ``params`` of a request, which has other values, too.

    A value that is empty, or the list of all choices, means the default: 3D Slicer's panel sends both.

    Raises:
        InputError: a value that does not fit.
    """
    given = {name: params[name] for name in model.model_fields if params.get(name) not in (None, "")}
    options: Options = checked(model, {name: value for name, value in given.items() if value != CHOICES.get(name)})
    return options


def describe_errors(errors: Sequence[Mapping[str, Any]], skip: int = 0) -> str:
    """The first of pydantic's errors in one line, without the input: "max_epochs: input should be ...".

    Args:
        errors: "loc" is the path to the value, "msg" the text.
        skip: parts of "loc" to leave out; FastAPI puts "query" or "body" first.
    """
    first = errors[0]
    part = first["loc"][skip] if len(first["loc"]) > skip else None
    name = part if isinstance(part, str) else "request"
    text = str(first["msg"])
    return f"{name}: {text[:1].lower()}{text[1:]}"


def parse_params(document: str | bytes | None) -> dict[str, Any]:
    """The JSON object in a field ``params``; empty if there is no such field.

    Raises:
        InputError: not a JSON object, or too long.
    """
    if not document:
        return {}
    values = parse_json(document, "params", MAX_PARAMS_BYTES)
    if not isinstance(values, dict):
        raise InputError(f"params: expected a JSON object, got {describe_value(values)}")
    return values


def checked_image_id(value: Any) -> str:
    """An image id: 1 to 256 characters without control characters. It is looked up, and never part of a path.

    Raises:
        InputError: anything else.
    """
    return checked_text(value, "an image id", MAX_IMAGE_ID)


def checked_new_id(value: Any) -> str:
    """The id of a new image, which becomes the name of its file: letters, digits, ``.``, ``_`` and ``-``.

    Raises:
        InputError: anything else, such as a path.
    """
    text = checked_image_id(value)
    if not _NEW_ID.fullmatch(text):
        raise InputError("expected the id of a new image as 1 to 128 letters, digits, dots, _ and -, got another")
    return text


def known_name(value: Any, names: Collection[str], what: str) -> str:
    """``value``, if it is one of ``names``.

    Args:
        value: from the request.
        names: allowed values.
        what: what they are, for the message: "a model".

    Raises:
        UnknownError: another value.
    """
    if not isinstance(value, str) or value not in names:
        raise UnknownError(f"expected {what} of {', '.join(sorted(names))}, got another")
    return value


def anonymous_reader(client_id: Any) -> str:
    """Name of the reader where users do not log in: the client's name for itself, "anonymous" if it has none.

    Raises:
        InputError: not text, or not allowed as a name.
    """
    return "anonymous" if client_id in (None, "") else checked_reader(client_id)


def reader_of(params: Mapping[str, Any], user: str | None) -> str:
    """Name of the reader.

    Args:
        params: of the request: "reader", else "client_id", which 3D Slicer's panel sends.
        user: name of the login, which is then the reader; None where users do not log in.

    Raises:
        InputError: as :func:`anonymous_reader`.
    """
    return checked_reader(user) if user else anonymous_reader(params.get("reader") or params.get("client_id"))
