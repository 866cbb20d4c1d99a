"""What the Image Pixel module (PS3.3 C.7.6.3) says of a greyscale image, read once and checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pydicom
from pydicom.datadict import dictionary_description, tag_for_keyword

from monai_dgm.errors import InputError
from monai_dgm.readers.radiograph import check_shape

GREY = ("MONOCHROME1", "MONOCHROME2")


@dataclass(frozen=True)
class ImagePixel:
    """The description of the pixels of one greyscale image.

    Args:
        rows, cols: size in pixels.
        photometric: "MONOCHROME1" or "MONOCHROME2".
        allocated: bits of a pixel cell, 8 or 16.
        stored: bits of it that hold the value.
        high_bit: place of the highest of these.
        signed: whether the value is a two's complement.
        syntax: Transfer Syntax UID.
        padding: lowest and highest stored value that is padding, or None.
        sign_known: False where Pixel Representation is missing.
    """

    rows: int
    cols: int
    photometric: str
    allocated: int
    stored: int
    high_bit: int
    signed: bool
    syntax: str
    padding: tuple[int, int] | None = None
    sign_known: bool = True

    @property
    def cell_bytes(self) -> int:
        """Bytes of a pixel cell."""
        return self.allocated // 8

    @property
    def num_bytes(self) -> int:
        """Bytes of the native pixel data."""
        return self.rows * self.cols * self.cell_bytes

    @property
    def stored_range(self) -> tuple[int, int]:
        """The lowest and the highest value that Bits Stored can hold."""
        if self.signed:
            return -(1 << (self.stored - 1)), (1 << (self.stored - 1)) - 1
        return 0, (1 << self.stored) - 1


def described(keyword: str) -> str:
    """An element in the words of the standard: name and tag."""
    tag = tag_for_keyword(keyword) or 0
    return f"{dictionary_description(tag)} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def shown_code(text: str) -> str:
    """A code string or UID of a header as it may stand in a message: itself where it is one, else no word of it."""
    return text if re.fullmatch(r"[A-Za-z0-9_. ]{1,80}", text) else "other characters"


def single_value(name: str, dataset: pydicom.Dataset, keyword: str) -> Any:
    """The one value of an element; None where it is missing or empty.

    Raises:
        InputError: several values, or an element that is damaged.
    """
    try:
        value = dataset.get(keyword)
    except Exception as error:  # pydicom looks into an element when it is asked for it, and fails in many ways
        raise InputError(f"{name}: expected a header that is whole, {described(keyword)} is damaged") from error
    if isinstance(value, str | bytes | int | float) or value is None:
        return None if value in ("", b"") else value
    try:
        values = list(value)
    except TypeError:
        return value
    if len(values) > 1:
        raise InputError(f"{name}: expected one value of {described(keyword)}, got {len(values)}")
    return values[0] if values else None


def whole_number(name: str, dataset: pydicom.Dataset, keyword: str, default: int | None = None) -> int | None:
    """The value of an element as a whole number; ``default`` where it is missing or empty.

    Raises:
        InputError: several values, or one that is no whole number.
    """
    value = single_value(name, dataset, keyword)
    if value is None:
        return default
    try:
        number = float(value)
        if number == int(number):
            return int(number)
    except (TypeError, ValueError, OverflowError):
        pass
    raise InputError(f"{name}: expected a whole number as {described(keyword)}, got another value")


def read_image_pixel(name: str, dataset: pydicom.Dataset, max_pixels: float) -> ImagePixel:
    """The Image Pixel module of a single greyscale image.

    Samples per Pixel is 1 and High Bit one less than Bits Stored where they are missing.

    Raises:
        InputError: an element that is missing or damaged, colour, several frames, other than 8 or 16 bits allocated, or
            a size that no radiograph has.
    """
    numbers = {key: whole_number(name, dataset, key) for key in ("Rows", "Columns", "BitsAllocated", "BitsStored")}
    missing = [key for key, number in numbers.items() if number is None]
    if missing:
        raise InputError(f"{name}: expected a DICOM image, its header lacks {', '.join(missing)}")
    rows, cols, allocated, stored = (number or 0 for number in numbers.values())
    photometric = str(single_value(name, dataset, "PhotometricInterpretation") or "nothing").strip()[:16]
    samples = whole_number(name, dataset, "SamplesPerPixel", 1)
    if photometric not in GREY or samples != 1:
        also = f" of {samples} samples" if photometric in GREY else ""
        got = shown_code(photometric)
        raise InputError(f"{name}: expected a greyscale image (MONOCHROME1 or MONOCHROME2), got {got}{also}")
    frames = whole_number(name, dataset, "NumberOfFrames", 1) or 1
    if frames != 1:
        raise InputError(f"{name}: expected a single image, got {frames} frames")
    if allocated not in (8, 16) or not 2 <= stored <= allocated:
        raise InputError(f"{name}: expected 8 or 16 bits a pixel, got {stored} bits stored in {allocated}")
    check_shape(name, rows, cols, max_pixels)
    high_bit = whole_number(name, dataset, "HighBit", stored - 1) or 0
    representation = whole_number(name, dataset, "PixelRepresentation")
    signed = representation == 1
    return ImagePixel(
        rows=rows,
        cols=cols,
        photometric=photometric,
        allocated=allocated,
        stored=stored,
        high_bit=high_bit if stored - 1 <= high_bit < allocated else stored - 1,
        signed=signed,
        syntax=str(dataset.file_meta.TransferSyntaxUID),
        padding=_padding(name, dataset, allocated, signed),
        sign_known=representation is not None,
    )


def _padding(name: str, dataset: pydicom.Dataset, allocated: int, signed: bool) -> tuple[int, int] | None:
    """Pixel Padding Value, or from it to Pixel Padding Range Limit (C.7.5.1.1.2), whichever of the two is lower."""
    ends = []
    for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        number = whole_number(name, dataset, keyword)
        if number is None:
            break
        if signed and number >= 1 << (allocated - 1):
            number -= 1 << allocated  # written as unsigned although the pixels are signed
        elif not signed and number < 0:
            number += 1 << allocated  # and the other way round
        ends.append(number)
    return (min(ends), max(ends)) if ends else None
