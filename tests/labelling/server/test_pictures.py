from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from monai_dgm.labelling.server.analysis import RadiographAnalysis
from monai_dgm.labelling.server.http_errors import UnknownError
from monai_dgm.labelling.server.pictures import PICTURES, picture, picture_png


def test_pictures_cover_the_radiograph(analysis: RadiographAnalysis) -> None:
    normal, residue = (picture(analysis, "a", name) for name in PICTURES)
    assert normal.dtype == residue.dtype == np.uint8
    assert residue.shape == (*normal.shape, 3)
    assert normal.shape[1] / normal.shape[0] == pytest.approx(120 / 90, rel=0.01)
    assert residue.std(axis=2).max() > 0  # a residue has colours


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_says_what_it_is(analysis: RadiographAnalysis, name: str) -> None:
    shown = Image.open(io.BytesIO(picture_png(analysis, "a", name)))
    assert "not for diagnosis" in shown.info["Description"]
    plain = np.asarray(Image.fromarray(picture(analysis, "a", name)).resize(shown.size))
    strip = slice(0, shown.height // 20)
    assert (np.asarray(shown)[strip] != plain[strip]).mean() > 0.2  # the warning


def test_another_name_is_refused(analysis: RadiographAnalysis) -> None:
    with pytest.raises(UnknownError):
        picture(analysis, "a", "../normal")
