"""The data set of a DICOM file (PS3.10) up to its Pixel Data, and the Pixel Data element by itself (PS3.5 A).

pydicom reads the elements. Three things are done here, because its versions differ in them or end with an error:

- A Transfer Syntax UID that is missing, empty or has several values. The encoding is then taken from the first element.
- Pixel Data. Its length is compared with what the header needs before anything of it is read, and compressed data whose
  Sequence Delimitation Item is missing are kept as far as they go.
- Lengths beyond the end of the file, which reserve no memory.
"""

from __future__ import annotations

import io
import os
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.uid import UID

from monai_dgm.errors import InputError

IMPLICIT, EXPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
_UNDEFINED = 0xFFFFFFFF
_ITEM, _DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_PIXEL_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)  # Float, Double Float and plain Pixel Data
_LAST_TAG = 0xFFFFFFFF


@dataclass(frozen=True)
class PixelData:
    """The element Pixel Data (7FE0,0010).

    Args:
        vr: "OB" or "OW"; "OW" in Implicit VR.
        length: as the element says; None where it is undefined, as for compressed data.
        value: bytes of native data, as many as the file has of the ``length``; without them for compressed data.
        fragments: of compressed data, without the Basic Offset Table.
        complete: False where compressed data end before their Sequence Delimitation Item.
    """

    vr: str
    length: int | None
    value: bytes
    fragments: tuple[bytes, ...] = ()
    complete: bool = True

    @property
    def is_compressed(self) -> bool:
        """Whether the value is a sequence of fragments (PS3.5 A.4)."""
        return self.length is None


class BoundedFile(io.RawIOBase):
    """A file, or its content, whose ``read`` asks for no more bytes than are left.

    A length of 4 GB in a small file reserves nothing.
    """

    def __init__(self, path: str, content: bytes | None = None) -> None:
        super().__init__()
        self._stream: BinaryIO = open(path, "rb") if content is None else io.BytesIO(content)  # noqa: SIM115  closed below
        self.size = os.fstat(self._stream.fileno()).st_size if content is None else len(content)
        self.name = "file"  # pydicom repeats it in its remarks

    def read(self, size: int = -1) -> bytes:
        left = max(0, self.size - self._stream.tell())
        return self._stream.read(left if size is None or size < 0 else min(size, left))

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._stream.close()
        super().close()


def read_data_set(name: str, stream: BoundedFile, last_tag: int = _LAST_TAG) -> pydicom.Dataset:
    """The elements before Pixel Data, with a transfer syntax in ``file_meta``; ``stream`` is left at Pixel Data.

    Args:
        name: file, for messages.
        stream: the file, at its beginning.
        last_tag: do not read beyond it.

    Raises:
        InputError: not DICOM, damaged, or deflated as a whole.
    """
    try:
        syntax = _read_transfer_syntax(stream) or _guess_syntax(stream)
        if syntax == DEFLATED:  # has to be inflated before anything is known of its size
            raise InputError(f"{name}: expected DICOM that is not deflated as a whole ({UID(syntax).name})")
        implicit, little = syntax == IMPLICIT, syntax != BIG_ENDIAN
        dataset = read_dataset(
            cast(Any, stream),
            implicit,
            little,
            stop_when=lambda tag, vr, length: int(tag) in _PIXEL_TAGS or int(tag) > last_tag,
        )
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{name}: expected a readable DICOM file ({error.strerror or 'cut short'})") from error
    except struct.error as error:
        raise InputError(f"{name}: expected a whole DICOM file, it ends within an element") from error
    except Exception as error:  # pydicom's message can quote patient data: its type must do
        raise InputError(f"{name}: expected a DICOM file, it is damaged ({type(error).__name__})") from error
    if len(dataset) == 0:
        raise InputError(f"{name}: expected a DICOM file, found no data elements")
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    return dataset


def read_pixel_data(name: str, stream: BoundedFile, needed: int, limit: int) -> PixelData:
    """The element at which :func:`read_data_set` has left ``stream``.

    Args:
        name: file, for messages.
        stream: the file.
        needed: bytes of native data to be read at most.
        limit: bytes of compressed data that are read.

    Raises:
        InputError: no Pixel Data there, fewer bytes than an element's head, or compressed data beyond ``limit``.
    """
    head = stream.read(8)
    if head[:4] not in (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10"):
        raise InputError(f"{name}: expected a DICOM image, it has no Pixel Data (7FE0,0010)")
    order = ">" if head[0] == 0x7F else "<"
    if head[4:6] in (b"OB", b"OW", b"UN"):  # read as a length these would be odd, which none is
        vr = head[4:6].decode()
        more = stream.read(4)
    else:
        vr, more = "OW", head[4:8]
    if len(more) < 4:
        raise InputError(f"{name}: expected a whole DICOM file, it ends within Pixel Data (7FE0,0010)")
    (length,) = struct.unpack(f"{order}I", more)
    if length != _UNDEFINED:
        return PixelData(vr, length, stream.read(min(length, needed + needed % 2)))
    fragments, complete = _read_fragments(name, stream, limit)
    return PixelData(vr, None, b"", fragments, complete)


def _read_fragments(name: str, stream: BoundedFile, limit: int) -> tuple[tuple[bytes, ...], bool]:
    items: list[bytes] = []
    total = 0
    while True:
        head = stream.read(8)
        if head[:4] == _DELIMITER:
            return tuple(items[1:]), True
        if len(head) < 8 or head[:4] != _ITEM:
            return tuple(items[1:]), False
        (length,) = struct.unpack("<I", head[4:])
        total += length
        if total > limit and stream.tell() + length <= stream.size:
            raise InputError(f"{name}: expected at most {limit} bytes of compressed pixel data, its file holds more")
        value = stream.read(length)
        items.append(value)
        if len(value) < length:
            return tuple(items[1:]), False


def _read_transfer_syntax(stream: BoundedFile) -> str | None:
    """Transfer Syntax UID of the File Meta Information (PS3.10 7.1), its first value; None where there is none.

    ``stream`` is left behind the File Meta Information, or at the first element where there is none.
    """
    start = 132 if stream.read(132)[128:] == b"DICM" else 0
    stream.seek(start)
    group = stream.read(2)
    stream.seek(start)
    if group != b"\x02\x00":
        return None
    meta = read_dataset(cast(Any, stream), False, True, stop_when=lambda tag, vr, length: int(tag) >> 16 != 2)
    try:
        value: Any = meta.get("TransferSyntaxUID")
    except Exception:  # an element that is damaged is as good as missing
        return None
    values = [value] if isinstance(value, str) else value or []
    return next((text for text in (str(one).strip("\0 ") for one in values) if text), None)


def _guess_syntax(stream: BoundedFile) -> str:
    """The encoding of a data set that does not say, from its first element: as PS3.10 7.1 without meta information."""
    place = stream.tell()
    head = stream.read(6)
    stream.seek(place)
    if len(head) < 6 or not (head[4:6].isalpha() and head[4:6].isupper()):
        return IMPLICIT
    return BIG_ENDIAN if head[0] == 0 and head[1] != 0 else EXPLICIT  # its group is 0002 to 00FF
