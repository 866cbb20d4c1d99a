"""Shapes from the first bytes of compressed streams."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from monai_dgm.readers.dicom.stream import StreamShape, stream_shape


def encoded(mode: str, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (50, 30)).save(buffer, format=kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("mode", "components"), [("L", 1), ("RGB", 3)])
@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {}), ("JPEG", {"progressive": True, "comment": b"\xff\xd8\xff"}), ("JPEG2000", {"no_jp2": True})],
)
def test_shape_without_decoding(mode: str, components: int, kind: str, options: dict[str, object]) -> None:
    stream = encoded(mode, kind, **options)
    assert stream_shape(b"\xfe\xff\x00\xe0\0\0\0\0" + stream) == StreamShape(30, 50, components)


def test_jpeg_ls() -> None:
    jpeg_ls = pytest.importorskip("jpeg_ls")
    stream = bytes(jpeg_ls.encode_array(np.zeros((30, 50), np.uint16)))
    assert stream_shape(stream) == StreamShape(30, 50, 1)


def test_nothing_is_known_of_other_or_damaged_streams() -> None:
    whole = encoded("L", "JPEG")
    assert stream_shape(b"") is None and stream_shape(b"\x02\0\0\0 run lengths") is None
    for length in range(0, 160, 7):
        assert stream_shape(whole[:length]) in (None, StreamShape(30, 50, 1))
    assert stream_shape(encoded("L", "JPEG2000", no_jp2=True)[:30]) is None
