"""Checks of the values in a request, before they are used. Messages of errors never repeat text from the request."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator

from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.image_label import MAX_IMAGE_ID, checked_reader, checked_text
from monai_dgm.labelling.labels.json_input import Number, Whole, parse_json, shown
from monai_dgm.labelling.server.http_errors import UnknownError

__all__ = [
    "PanelFloat",
    "PanelInt",
    "anonymous_reader",
    "checked_choice",
    "checked_image_id",
    "checked_new_id",
    "checked_number",
    "describe_errors",
    "known_name",
    "parse_params",
    "reader_of",
]

MAX_PARAMS_BYTES = 200_000  # 3D Slicer's panel sends the whole configuration of a model, a few kB
_NUMBER = re.compile(r"[+-]?[0-9]{1,12}(\.[0-9]{0,12})?")
_NEW_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.)){0,126}[A-Za-z0-9_-]|[A-Za-z0-9]")


def _as_number(value: Any) -> Any:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


PanelInt = Annotated[Whole, BeforeValidator(_as_number)]
"""A whole number in a request, also as text, since the table of options in 3D Slicer's panel holds only text."""
PanelFloat = Annotated[Number, BeforeValidator(_as_number)]
"""As :data:`PanelInt`, but any finite number."""


def describe_errors(errors: Sequence[Mapping[str, Any]], skip: int = 0) -> str:
    """The first of pydantic's errors in one line, without the input: "max_epochs: input should be ...".

    Args:
        errors: "loc" is the path to the value, "msg" the text.
        skip: parts of "loc" to leave out; FastAPI puts "query" or "body" first.
    """
    first = errors[0]
    place = first["loc"][skip] if len(first["loc"]) > skip else None
    name = place if isinstance(place, str) else "request"
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
        raise InputError(f"params: expected a JSON object, got {shown(values)}")
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


def checked_choice(params: Mapping[str, Any], key: str, choices: Sequence[str], default: str) -> str:
    """An option that is one of ``choices``. The list of all choices, as in a model's configuration, means the default.

    Raises:
        InputError: anything else.
    """
    value = params.get(key)
    if value is None or value == list(choices):
        return default
    if not isinstance(value, str) or value not in choices:
        raise InputError(f"{key}: expected one of {', '.join(choices)}, got {shown(value)}")
    return value


def checked_number(params: Mapping[str, Any], key: str, low: float, high: float, default: float) -> float:
    """An option that is a number in [low, high], also as text, since the panel's table of options holds only text.

    Raises:
        InputError: anything else.
    """
    value = params.get(key)
    if value is None or value == "":
        return default
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not numeric or not low <= value <= high:
        raise InputError(f"{key}: expected a number from {low:g} to {high:g}, got {shown(value)}")
    return float(value)


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
