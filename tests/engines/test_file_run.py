"""What a run over files says of a header."""

from __future__ import annotations

import numpy as np
import pytest

from monai_dgm.engines.file_run import question_radiograph
from monai_dgm.readers.radiograph import Radiograph


@pytest.mark.parametrize(
    ("header", "remarks"),
    [
        ((None, None, None), 0),
        (("DX", "CHEST", "PA"), 0),
        (("CR", "PORTABLE CHEST", "AP"), 0),
        (("CT", "CHEST", None), 1),
        (("CR", "HIP", "LL"), 2),
    ],
)
def test_headers_that_speak_against_a_frontal_chest_radiograph(
    header: tuple[str | None, str | None, str | None], remarks: int
) -> None:
    radiograph = Radiograph(np.zeros((8, 8), dtype=np.float32), None, "dicom", *header, bits=12)
    assert len(question_radiograph(radiograph)) == remarks
