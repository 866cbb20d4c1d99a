"""Modality LUT (PS3.3 C.11.1), VOI LUT and window (C.11.2) of a data set, as tables over its stored values.

A stored value has at most 16 bits, so each transformation is a table with one entry for each of them. What the standard
leaves to the reader is decided as DCMTK's ``dcm2pnm`` does:

- An element or item without value is absent. Rescale needs both Slope and Intercept.
- A modality LUT goes before rescale, a VOI LUT before a window, the first of several is taken.
- The first value mapped is signed where the values that are looked up can be negative (C.11.1.1, C.11.2.1.1), whatever
  value representation it was written in.
- Entries of 8 bits may be packed two to a word or one to a word; of 9 to 16 bits they are words.
- A window rises with the modality value (C.11.2.1.2), also where the rescale slope is negative. LINEAR is the function
  of a window that names none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from monai_dgm.readers.dicom.data_set import BIG_ENDIAN
from monai_dgm.readers.dicom.image_pixel import ImagePixel, described

FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


class UnusableLUT(ValueError):
    """What is wrong with a transformation, in words without values of the file."""


@dataclass(frozen=True)
class LookupTable:
    """One item of a Modality or VOI LUT Sequence.

    Args:
        first: first value mapped; what lies below gets the first entry, what lies beyond the last gets the last.
        entries: uint16 (N,).
        bits: of an entry, 8 to 16.
    """

    first: int
    entries: NDArray[np.uint16]
    bits: int

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The entries of values, which are rounded to whole numbers first."""
        places = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        return self.entries[places.astype(np.int64)].astype(np.float64)


@dataclass(frozen=True)
class ValueTable:
    """A value for each stored value of an image.

    Args:
        values: float64, of the stored values from the lowest to the highest.
        low, high: the range that the values can take, shown as black and white.
    """

    values: NDArray[np.float64]
    low: float
    high: float


def modality_table(dataset: pydicom.Dataset, image: ImagePixel) -> ValueTable:
    """Modality values of all stored values: of the modality LUT, else of the rescale, else the stored values.

    Raises:
        UnusableLUT: a table or a rescale that is none.
    """
    lowest, highest = image.stored_range
    stored = np.arange(lowest, highest + 1, dtype=np.float64)
    table = _first_table(dataset, "ModalityLUTSequence", image.signed, image)
    if table is not None:
        return ValueTable(table(stored), 0.0, float((1 << table.bits) - 1))
    slope, intercept = (_number(dataset, key) for key in ("RescaleSlope", "RescaleIntercept"))
    if slope is None or intercept is None:
        return ValueTable(stored, float(lowest), float(highest))
    values = stored * slope + intercept
    return ValueTable(values, float(values.min()), float(values.max()))


def voi_table(dataset: pydicom.Dataset, image: ImagePixel, modality: ValueTable) -> ValueTable | None:
    """Values of interest of all stored values: of the VOI LUT, else of the window; None where there is neither.

    A window's output has the range of the modality values, so that an image is on one scale with and without it.

    Raises:
        UnusableLUT: a table, a window or a function that is none.
    """
    table = _first_table(dataset, "VOILUTSequence", modality.low < 0, image)
    if table is not None:
        return ValueTable(table(modality.values), 0.0, float((1 << table.bits) - 1))
    center, width = (_number(dataset, key) for key in ("WindowCenter", "WindowWidth"))
    if center is None or width is None:
        return None
    function = str(_value(dataset, "VOILUTFunction") or "LINEAR").strip().upper()
    unit = window(modality.values, center, width, function)
    return ValueTable(unit * (modality.high - modality.low) + modality.low, modality.low, modality.high)


def window(values: NDArray[np.float64], center: float, width: float, function: str = "LINEAR") -> NDArray[np.float64]:
    """A window (C.11.2.1.2 and C.11.2.1.3) as values in [0, 1].

    Args:
        values: modality values.
        center, width: Window Center and Window Width.
        function: VOI LUT Function, "LINEAR", "LINEAR_EXACT" or "SIGMOID".

    Raises:
        UnusableLUT: a function that the standard does not know, or a width that it forbids.
    """
    if function not in FUNCTIONS:
        raise UnusableLUT(f"{described('VOILUTFunction')} is none of {', '.join(FUNCTIONS)}")
    if not width > 0 or (function == "LINEAR" and width < 1):
        raise UnusableLUT(f"{described('WindowWidth')} is below {1 if function == 'LINEAR' else 0}")
    if function == "SIGMOID":
        return 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - center) / width, -700.0, 700.0)))
    if function == "LINEAR_EXACT":
        return np.clip((values - center) / width + 0.5, 0.0, 1.0)
    middle = center - 0.5
    if width == 1:
        return (values > middle).astype(np.float64)
    return np.clip((values - middle) / (width - 1.0) + 0.5, 0.0, 1.0)


def _first_table(dataset: pydicom.Dataset, keyword: str, signed_input: bool, image: ImagePixel) -> LookupTable | None:
    """The first item of a LUT sequence; None where the sequence or its item is empty."""
    sequence = _value(dataset, keyword)
    if not sequence:
        return None
    if not isinstance(sequence, pydicom.Sequence):
        raise UnusableLUT(f"{described(keyword)} is no sequence")
    descriptor, data = (_value(sequence[0], key) for key in ("LUTDescriptor", "LUTData"))
    if _is_empty(descriptor) and _is_empty(data):
        return None
    if _is_empty(descriptor) or _is_empty(data):
        raise UnusableLUT(f"{described(keyword)} has a LUT Descriptor or LUT Data only")
    number, first, bits = _descriptor(descriptor)
    if not 8 <= bits <= 16:
        raise UnusableLUT(f"{described(keyword)} has {bits} bits an entry")
    number = number & 0xFFFF or 1 << 16
    first &= 0xFFFF
    if signed_input and first >= 1 << 15:
        first -= 1 << 16
    entries = _entries(keyword, data, number, bits, image.syntax == BIG_ENDIAN)
    return LookupTable(first, entries, max(bits, int(entries.max()).bit_length()))  # descriptors that say 8 for more


def _descriptor(value: Any) -> tuple[int, int, int]:
    if isinstance(value, bytes):
        value = np.frombuffer(value[: len(value) // 2 * 2], "<u2").tolist()
    try:
        number, first, bits = (int(part) for part in value)
    except (TypeError, ValueError):
        raise UnusableLUT(f"{described('LUTDescriptor')} has other than three whole numbers") from None
    return number, first, bits


def _entries(keyword: str, data: Any, number: int, bits: int, big: bool) -> NDArray[np.uint16]:
    """The entries of LUT Data, in one of the ways that files hold them."""
    if isinstance(data, bytes | bytearray):
        raw = bytes(data)
        if bits == 8 and number <= len(raw) < 2 * number:  # packed: the first entry is in the lower byte of a word
            words = np.frombuffer(raw + b"\0" * (len(raw) % 2), ">u2" if big else "<u2")
            return words.astype("<u2").view("u1")[:number].astype(np.uint16)
        values = np.frombuffer(raw[: len(raw) // 2 * 2], ">u2" if big else "<u2")
    else:
        try:
            values = np.atleast_1d(np.asarray(data)).astype(np.int64) & 0xFFFF
        except (TypeError, ValueError, OverflowError):
            raise UnusableLUT(f"{described(keyword)} has entries that are no whole numbers") from None
        if bits == 8 and number > 1 and len(values) == (number + 1) // 2:  # packed, read as words
            return values.astype("<u2").view("u1")[:number].astype(np.uint16)
    if len(values) < number:
        raise UnusableLUT(f"{described(keyword)} has {len(values)} entries, its descriptor says {number}")
    return values[:number].astype(np.uint16)


def _value(dataset: pydicom.Dataset, keyword: str) -> Any:
    try:
        return dataset.get(keyword)
    except Exception as error:  # pydicom looks into an element when it is asked for it, and fails in many ways
        raise UnusableLUT(f"{described(keyword)} is damaged") from error


def _number(dataset: pydicom.Dataset, keyword: str) -> float | None:
    """The first value of a decimal string; None where there is none."""
    value = _value(dataset, keyword)
    if _is_empty(value):
        return None
    try:
        first = value if isinstance(value, str | float | int) else next(iter(value))
        number = float(first)
    except (TypeError, ValueError, OverflowError, StopIteration):
        raise UnusableLUT(f"{described(keyword)} is no number") from None
    if not np.isfinite(number) or abs(number) > 1e12:
        raise UnusableLUT(f"{described(keyword)} is no number that an image can have")
    return number


def _is_empty(value: Any) -> bool:
    if value is None:
        return True
    try:
        return len(value) == 0
    except TypeError:
        return False
