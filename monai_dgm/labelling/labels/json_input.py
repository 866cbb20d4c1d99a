"""Reading of JSON from outside, and checks by pydantic models; every error is an InputError of one line.

A message states what was expected, and of what came its type and size. It never repeats text from outside.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from monai_dgm.errors import InputError, in_one_line

__all__ = [
    "CLOSED",
    "Number",
    "Text",
    "Whole",
    "checked",
    "describe_value",
    "input_errors",
    "parse_json",
    "read_json",
    "without_fraction",
]

T = TypeVar("T")

CLOSED = ConfigDict(extra="forbid")
"""Settings of a model that takes no unknown key."""

_PLAIN = BeforeValidator(lambda value: value.item() if hasattr(value, "dtype") and not value.shape else value)
Number = Annotated[float, _PLAIN, Field(strict=True, allow_inf_nan=False)]
"""A finite number, also one of NumPy's; no text and no truth value."""


def without_fraction(value: Any) -> Any:
    """1024 for 1024.0, as JSON has one kind of number; any other value as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(without_fraction), _PLAIN, Field(strict=True)]
"""A whole number, also one of NumPy's or 3.0; no text and no truth value."""
Text = Annotated[str, Field(strict=True)]
"""Text, and nothing that could be turned into it."""

# what pydantic expected, by the type of its error; {limits} are filled from the error's context
_EXPECTED = {
    "bool_type": "true or false",
    "finite_number": "a finite number",
    "float_type": "a number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "int_type": "a whole number",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "missing": "a value",
    "missing_argument": "a value",
    "string_pattern_mismatch": "text of the form {pattern}",
    "string_too_long": "at most {max_length} characters",
    "string_too_short": "at least {min_length} characters",
    "string_type": "text",
    "too_long": "at most {max_length} items",
    "too_short": "at least {min_length} items",
}
_OBJECTS = ("dataclass_type", "dataclass_exact_type", "dict_type", "model_type", "model_attributes_type")
_LISTS = ("list_type", "tuple_type")
_UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")


def parse_json(document: str | bytes, where: str, max_bytes: int, allow_nan: bool = False) -> Any:
    """The value of a JSON document.

    Args:
        document: text, or bytes in UTF-8.
        where: name of the document, for the message.
        max_bytes: a longer document is refused before it is parsed.
        allow_nan: accept NaN and Infinity, which Python writes and the JSON standard does not have.

    Raises:
        InputError: too long, not UTF-8, not JSON, nested too deeply, or an object with one key twice.
    """
    length = len(document)
    if length > max_bytes:
        raise InputError(f"{where}: expected a document of at most {max_bytes} bytes, got {length}")
    try:
        text = document.decode("utf-8-sig") if isinstance(document, bytes) else document
        return json.loads(
            text, parse_constant=float if allow_nan else _refuse_constant, object_pairs_hook=_object_of_pairs
        )
    except UnicodeDecodeError:
        raise InputError(f"{where}: expected JSON in UTF-8, got other bytes") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: expected JSON, got {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise InputError(f"{where}: expected JSON of a few levels, got one nested too deeply") from None
    except ValueError as error:  # our own hooks, and numbers of thousands of digits
        reason = str(error) if isinstance(error, InputError) else "a number that is too long"
        raise InputError(f"{where}: expected JSON, got {reason}") from None


def read_json(path: str | os.PathLike[str], max_bytes: int) -> Any:
    """The value of a JSON file; the message of an error names the file.

    Raises:
        InputError: as :func:`parse_json`, or a file that cannot be read.
    """
    try:
        with open(path, "rb") as stream:
            return parse_json(stream.read(max_bytes + 1), str(Path(path)), max_bytes)
    except OSError as error:
        raise InputError(f"{path}: expected a JSON file ({error.strerror})") from error


def checked(model: Any, value: Any, where: str = "") -> Any:
    """``value`` as a pydantic model, dataclass or annotated type.

    Args:
        model: the type.
        value: of a JSON document.
        where: name of the document, for the message.

    Raises:
        InputError: anything else.
    """
    try:
        return _adapter(model).validate_python(value)
    except ValidationError as error:
        raise InputError(f"{where}: {_in_words(error)}" if where else _in_words(error)) from None


def input_errors(cls: type[T]) -> type[T]:
    """Decorates a pydantic dataclass: its constructor raises InputError in one line in place of ValidationError."""
    validate: Callable[..., None] = cls.__init__

    @functools.wraps(validate)
    def construct(self: T, *args: Any, **values: Any) -> None:
        try:
            validate(self, *args, **values)
        except ValidationError as error:
            raise InputError(_in_words(error)) from None

    cls.__init__ = construct  # type: ignore[method-assign, assignment]
    return cls


@functools.cache
def _adapter(model: Any) -> TypeAdapter[Any]:
    return TypeAdapter(model)


def _in_words(error: ValidationError) -> str:
    """The first of the errors: where, what was expected, and what came."""
    first = error.errors(include_url=False)[0]
    kind, context = first["type"], first.get("ctx", {})
    path = first["loc"][:-1] if kind in _UNKNOWN_KEY else first["loc"]  # an unknown key is text from outside
    prefix = ".".join(map(str, path)) + ": " if path else ""
    if kind == "value_error":
        return prefix + in_one_line(context["error"])
    if kind in _UNKNOWN_KEY:
        return f"{prefix}expected no other key, got one that is unknown"
    came = "none" if kind.startswith("missing") else describe_value(first["input"])
    return f"{prefix}expected {_expected(kind, context)}, got {came}"


def _expected(kind: str, context: Mapping[str, Any]) -> str:
    if kind in _OBJECTS:
        return "an object"
    if kind in _LISTS:
        return "a list"
    return _EXPECTED.get(kind, "another value").format_map(context)


def describe_value(value: Any) -> str:
    """Description of a value for a message: a number itself, of other values type and size, never text from outside."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, (int, float)):
        return f"{value:.6g}" if isinstance(value, float) or abs(value) < 10**15 else "a very large number"
    if isinstance(value, (str, list, tuple)):
        return f"{'text' if isinstance(value, str) else 'a list'} of length {len(value)}"
    return "an object" if isinstance(value, dict) else type(value).__name__


def _refuse_constant(name: str) -> float:
    raise InputError(name)


def _object_of_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise InputError("an object with one key twice")
    return values
