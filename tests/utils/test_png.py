from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from monai_dgm.utils.png import encode_png


@pytest.mark.parametrize(
    ("shape", "kind"), [((7, 5), np.uint8), ((1, 1), np.uint8), ((6, 9), np.uint16), ((4, 3, 3), np.uint8)]
)
def test_pillow_reads_what_was_written(shape: tuple[int, ...], kind: type) -> None:
    levels = np.random.default_rng(0).integers(0, np.iinfo(kind).max, shape, kind, endpoint=True)
    content = encode_png(levels, "Not for diagnosis.")
    Image.open(io.BytesIO(content)).verify()  # checksums
    picture = Image.open(io.BytesIO(content))
    assert picture.text == {"Description": "Not for diagnosis."}
    assert np.array_equal(np.asarray(picture), levels)


def test_levels_that_are_not_contiguous_are_written_as_they_look() -> None:
    levels = np.arange(12, dtype=np.uint16).reshape(3, 4).T[::-1]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode_png(levels)))), levels)
