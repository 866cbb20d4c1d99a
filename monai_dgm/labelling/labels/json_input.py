"""JSON from outside, read so that whatever is wrong with it is one line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from monai_dgm.errors import InputError


def parse_json(document: str | bytes, where: str, max_bytes: int, allow_nan: bool = False) -> Any:
    """The value of a JSON document.

    Args:
        document: text, or bytes in UTF-8.
        where: what it is, for the message.
        max_bytes: refuse a longer one before it is parsed.
        allow_nan: let NaN and Infinity pass, which Python's own writer makes and JSON does not know.

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


def shown(value: Any) -> str:
    """A value of a document as it may stand in a message: its type and, of numbers, itself; never text from outside."""
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
